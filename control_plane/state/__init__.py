"""The control plane's view of the fleet, kept from NATS."""
