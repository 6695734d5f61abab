"""Commits: an atomic batch to the fleet bucket, folded into the state at once.

Owns the batch's way into memory (an answer to a caller does not wait for the watch) and the pause
between two tries of a compare-and-set. Never decides what is written.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from control_plane.core.backoff import delay_s
from control_plane.state.fleet_state import FleetState
from schemas.keys import capacity_key
from schemas.records import CapacityRecord
from schemas.transport.kv import Bucket, Delete, Entry, Put

T = TypeVar("T", bound=msgspec.Struct)

TRIES_MAX: Final = 24
_PAUSE_MIN_S: Final = 0.005
_PAUSE_MAX_S: Final = 0.2


class Commits:
    """The fleet bucket and the state that mirrors it."""

    def __init__(self, bucket: Bucket, state: FleetState) -> None:
        self.bucket = bucket
        self.state = state

    async def read(self, key: str, kind: type[T]) -> Entry[T]:
        """A key's newest value, learnt by the state too."""
        entry = await self.bucket.get(key, kind)
        if entry.value is not None:
            self._fold(key, entry.value, entry.revision)
        return entry

    async def write(self, changes: Sequence[Put | Delete]) -> None:
        """All or none. Raises `Conflict`, `nats_unavailable`, `timeout`."""
        last = await self.bucket.batch(changes)
        for number, change in enumerate(changes):
            revision = last - (len(changes) - 1 - number)
            self._fold(change.key, change.value if isinstance(change, Put) else None, revision)

    async def place_taken(self, node_id: str) -> Put | None:
        """The write that takes one place on a node, by the newest count; None if it is full."""
        capacity = await self.read(capacity_key(node_id), CapacityRecord)
        reserved = capacity.value.reserved if capacity.value else 0
        node = self.state.node(node_id, time.monotonic())
        if node is None or reserved >= node.sessions_max:
            return None
        return _count(capacity, node_id, reserved + 1)

    async def place_given_back(self, node_id: str) -> Put:
        """The write that gives one place on a node back."""
        capacity = await self.read(capacity_key(node_id), CapacityRecord)
        reserved = capacity.value.reserved if capacity.value else 0
        return _count(capacity, node_id, max(0, reserved - 1))

    async def pause(self, attempt: int) -> None:
        """Before the next try of a compare-and-set that lost."""
        await asyncio.sleep(
            delay_s(attempt, random.random(), min_s=_PAUSE_MIN_S, max_s=_PAUSE_MAX_S)
        )

    def _fold(self, key: str, value: msgspec.Struct | None, revision: int) -> None:
        raw = None if value is None else msgspec.json.encode(value)
        self.state.fold(key, raw, revision, now=time.monotonic())


def _count(capacity: Entry[CapacityRecord], node_id: str, reserved: int) -> Put:
    return Put(
        key=capacity.key,
        value=CapacityRecord(node_id, reserved),
        expect_revision=capacity.revision,
    )
