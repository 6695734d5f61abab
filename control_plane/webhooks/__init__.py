"""Webhooks: events delivered to customers' servers, at least once, under ids that never change."""
