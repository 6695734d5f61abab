"""Brings what is observed to what is desired, session by session."""
