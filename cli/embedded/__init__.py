"""The embedded nats-server: a supervised child process, for one machine and for tests."""
