"""The durable record of messages and their delivery."""
