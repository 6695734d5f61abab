"""The registry's way over NATS: connection, typed messages, streams, buckets, leases."""
