"""Real nats-servers for tests: started in some 40 ms, one a test, so that no test sees another's
streams.

The fixtures `nats` and `bus` are in reach of every integration test (see `conftest.py`).
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats, EmbeddedSettings
from schemas.timing import FAST, TimingProfile
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all

SCALE: Final = 0.05
SETTINGS: Final = EmbeddedSettings(storage_scale=SCALE, lock_wait_s=0.3, respawn_delay_min_s=0.02)
QUICK: Final[TimingProfile] = msgspec.structs.replace(
    FAST,
    name="test",
    self_ping_interval_s=0.3,
    self_ping_timeout_s=0.6,
    redial_delay_min_s=0.02,
    redial_delay_max_s=0.2,
    fetch_timeout_s=1.0,
    lease_ttl_s=2.0,
    lease_renew_s=0.3,
    resync_jitter_s=0.05,
)


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    async with EmbeddedNats(tmp_path / "nats", SETTINGS) as server:
        yield server


@pytest.fixture
async def bus(nats: EmbeddedNats) -> AsyncIterator[Bus]:
    """A control plane's connection, with every stream and bucket made."""
    settings = nats.bus_settings(nats.control_plane, profile=QUICK)
    async with Bus.connect(settings) as connected:
        await ensure_all(connected, scale=SCALE)
        yield connected
