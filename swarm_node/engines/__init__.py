"""What runs one session: the engine contract and its implementations."""
