"""The HTTP API that customers call."""
