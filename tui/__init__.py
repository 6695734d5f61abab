"""The fleet terminal: watches the fleet over NATS and shows it."""
