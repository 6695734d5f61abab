"""`blazz key` and `blazz session` as an operator runs them, on a fleet that runs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import settings_file
from cli.embedded.server import EmbeddedNats
from cli.exit_codes import Exit
from cli.parts import BusAccess, ControlPlaneFile
from control_plane.vault.master_keys import ensure_key_file, read_keys
from control_plane.vault.pointers import Pointers
from control_plane.vault.settings import VaultSettings
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import SessionView
from schemas.api_snapshots import GenerationView
from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import GenerationUse, SnapshotGeneration
from schemas.states import SessionState
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
from tests.integration.control_fixture import (
    SETTINGS,
    TENANT,
    book,
    control_plane,
    in_state,
    linked,
    nats,
    node,
    sandbox,
)
from tests.integration.nats_fixture import QUICK, SCALE
from tests.integration.test_vault import flip_a_bit
from tests.waiting import eventually

__all__ = ["book", "nats", "sandbox"]

NUMBER = "15550001"


@pytest.fixture
async def config(nats: EmbeddedNats, tmp_path: Path) -> Path:
    """A control plane's settings file, for a vault on the bus itself."""
    key_file = tmp_path / "master-key"
    ensure_key_file(key_file)
    settings = ControlPlaneFile(
        bus=BusAccess(
            servers=(nats.url,),
            identity=nats.control_plane.name,
            nkey_seed_file=nats.control_plane.seed_file,
        ),
        store_scale=SCALE,
        services=msgspec.structs.replace(SETTINGS, vault=VaultSettings(master_key_file=key_file)),
    )
    async with Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus:
        await ensure_all(bus, scale=SCALE)
    return settings_file.write(tmp_path / "control-plane.json", settings)


def settings_of(config: Path) -> ControlPlaneFile:
    return settings_file.load(ControlPlaneFile, config, {})


async def blazz(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def answer(*words: str) -> Any:
    code, out, err = await blazz(*words, "--json")
    assert code == Exit.OK, err
    return json.loads(out)


@pytest.fixture
async def kept(
    nats: EmbeddedNats, sandbox: Sandbox, book: PhoneBook, config: Path, tmp_path: Path
) -> AsyncIterator[SessionView]:
    """A session that was linked and stopped cleanly: its state is in the vault."""
    async with (
        control_plane(nats, settings_of(config).services) as services,
        node(nats, sandbox, tmp_path),
    ):
        view, _phone = await linked(services, book, NUMBER)
        await services.sessions.stop(TENANT, view.session_id)
        stopped = await in_state(services, view, SessionState.STOPPED, timeout_s=30)

        async def told() -> GenerationView | None:
            kept = await services.snapshots.generations(TENANT, view.session_id)
            return kept.generations[0] if kept.generations else None

        newest = await eventually(told, timeout_s=15)
        assert (newest.use, newest.clean, newest.epoch) == (GenerationUse.CURRENT, True, view.epoch)
        assert newest.size_bytes > 0
        with pytest.raises(BlazzError) as refused:
            await services.snapshots.generations("rival", view.session_id)
        assert refused.value.code is ErrorCode.SESSION_NOT_FOUND
        yield stopped


async def newest_generation(nats: EmbeddedNats, session_id: str) -> SnapshotGeneration:
    async with Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus:
        held = await Pointers(bus).read(TENANT, session_id)
    return held.pointer.generations[0]


async def test_drills_and_rotates(nats: EmbeddedNats, kept: SessionView, config: Path) -> None:
    with_config = ("--config", str(config))
    drill = ("session", "drill", kept.session_id, *with_config)
    found = await answer(*drill)
    assert found["ok"] is True
    assert found["files"] > 0
    assert found["generation"] == (await newest_generation(nats, kept.session_id)).generation

    key_file = settings_of(config).services.vault.master_key_file  # type: ignore[union-attr]
    assert key_file is not None
    before = read_keys(key_file)
    done = await answer("key", "rotate", *with_config)
    assert (done["key_made"], done["rewrapped"], done["older_keys_left"]) == (True, 1, 1)
    assert read_keys(key_file)[1].key_id == before[0].key_id
    retired = await answer("key", "rotate", "--retire", *with_config)
    assert (retired["key_made"], retired["older_keys_left"]) == (False, 0)
    # What was sealed before the rotation still opens.
    assert (await answer(*drill))["ok"] is True


async def test_a_drill_of_a_damaged_snapshot_fails(
    nats: EmbeddedNats, kept: SessionView, config: Path
) -> None:
    newest = await newest_generation(nats, kept.session_id)
    async with Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus:
        await flip_a_bit(bus, newest.objects[0].name, b"not the sealed bytes")
    code, out, err = await blazz("session", "drill", kept.session_id, "--config", str(config))
    assert code == Exit.FAILED
    assert "snapshot_corrupt" in err
    assert out == ""


async def test_says_what_is_missing(config: Path, tmp_path: Path) -> None:
    nobody = "ses_" + "0" * 26
    code, _, err = await blazz("session", "drill", nobody, "--config", str(config))
    assert code == Exit.NOT_FOUND
    assert "snapshot_not_found" in err
    code, _, err = await blazz("session", "drill", nobody, "--data-dir", str(tmp_path / "no"))
    assert code == Exit.USAGE
    assert "--data-dir" in err
    code, _, err = await blazz("key", "rotate", "--config", str(config))
    assert code == Exit.OK
    key_file = settings_of(config).services.vault.master_key_file  # type: ignore[union-attr]
    assert key_file is not None
    key_file.unlink()
    code, _, err = await blazz("key", "rotate", "--config", str(config))
    assert code == Exit.FAILED
    assert "master_key_missing" in err


async def test_a_control_plane_without_its_key_says_so_and_ends(config: Path) -> None:
    key_file = settings_of(config).services.vault.master_key_file  # type: ignore[union-attr]
    assert key_file is not None
    key_file.chmod(0o644)
    code, out, err = await blazz("control-plane", "--config", str(config))
    assert code == Exit.FAILED
    assert "master_key_missing" in out + err
    assert "chmod 600" in out + err


async def test_rotates_by_hand_written_order(kept: SessionView, config: Path) -> None:
    """On several machines the new key is put first by hand; `rotate` then makes no other."""
    from control_plane.vault.master_keys import MasterKey, write_keys

    key_file = settings_of(config).services.vault.master_key_file  # type: ignore[union-attr]
    assert key_file is not None
    new = MasterKey.make()
    write_keys(key_file, [new, *read_keys(key_file)])
    done = await answer("key", "rotate", "--config", str(config))
    assert (done["key_made"], done["active_key_id"], done["rewrapped"]) == (False, new.key_id, 1)
