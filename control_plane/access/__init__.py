"""Who may do what: API keys, link tokens, idempotency keys."""
