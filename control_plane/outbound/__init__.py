"""Requests to addresses that customers name: webhooks, and media by URL."""
