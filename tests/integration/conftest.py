"""Fixtures that every integration test may ask for."""

from tests.integration.nats_fixture import bus, nats

__all__ = ["bus", "nats"]
