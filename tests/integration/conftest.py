"""Fixtures that every integration test may ask for."""

from tests.integration.nats_fixture import bus, nats
from tests.integration.operator_nats import operator_fleet

__all__ = ["bus", "nats", "operator_fleet"]
