"""What the terminal hears from NATS, as plain values."""
