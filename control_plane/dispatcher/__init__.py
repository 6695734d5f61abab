"""Carries outgoing messages from the outbox to the node that holds the session."""
