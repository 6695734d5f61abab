"""`blazz identity …`: the fleet's NATS operator, accounts and credentials."""
