"""`blazz bench snapshot`: what a running session's snapshots cost, idle and busy, in Chromium.

Owns what is measured: bytes and CPU time of the node's own capture and seal, made here of the live
profile, every few seconds; beside each the same profile's IndexedDB and Local Storage zipped whole,
which is what whatsapp-web.js's RemoteAuth stores every time. What the node itself has stored
meanwhile (with the page's localStorage, read from the page) is read from the session's pointer.
Never writes to the profile.
"""

import asyncio
import io
import secrets
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.report import at_most, percentile, print_report
from bench.stage import Linked, Stage, link_session, open_stage
from cli.exit_codes import Exit
from cli.stack import NodePlan
from sandbox.phone import Phone
from schemas.api_messages import NewMessage
from schemas.keys import snapshot_key
from schemas.resources import FLEET
from schemas.snapshots import SnapshotPointer
from schemas.states import EngineKind
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from swarm_node.core.snapshot_delta import FileMark
from swarm_node.core.snapshot_format import Header, encode
from swarm_node.engines.chromium.profile_files import SNAPSHOT_FILES
from swarm_node.vault.capture import capture
from swarm_node.vault.sealing import KEY_BYTES, NONCE_BYTES, seal

NODE: Final = "bench-node"
OWNER, FRIEND = "15550000001", "15559990000"
HISTORY_MESSAGES: Final = 1_000
"""Written before the link, so that the profile is not an empty one."""
INBOUND_PER_S: Final = 10.0
SETTLE_S: Final = 15.0
_ZIPPED: Final = ("IndexedDB", "Local Storage")
_KB: Final = 1024


class SnapshotOptions(msgspec.Struct, frozen=True):
    """What the command line said."""

    quiet: bool
    captures: int
    period_s: float


class Cost(msgspec.Struct, frozen=True):
    """One way to save one moment: what would be stored, and what it took."""

    size_bytes: int
    plain_bytes: int
    cpu_s: float


class Saver:
    """Captures one live profile again and again, as its node does."""

    def __init__(self, profile_dir: Path) -> None:
        self._profile_dir = profile_dir
        self._marks: dict[str, FileMark] = {}
        self._key = secrets.token_bytes(KEY_BYTES)

    def save(self) -> Cost:
        """Everything that changed since the last time, compressed and sealed. Blocking."""
        began = time.thread_time()
        found = capture(self._profile_dir, SNAPSHOT_FILES, self._marks)
        self._marks = found.marks
        if not found.parts:
            return Cost(0, 0, time.thread_time() - began)
        plain = encode(Header(EngineKind.CHROMIUM, found.parts), found.blobs)
        sealed = seal(
            plain, key=self._key, bound_to=b"bench", nonce=secrets.token_bytes(NONCE_BYTES)
        )
        return Cost(len(sealed), len(plain), time.thread_time() - began)

    def zip_whole(self) -> Cost:
        """The whole storage, zipped. Blocking."""
        began = time.thread_time()
        packed, plain_bytes = io.BytesIO(), 0
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in _ZIPPED:
                for path in sorted((self._profile_dir / "Default" / part).rglob("*")):
                    if path.is_file():
                        data = path.read_bytes()
                        plain_bytes += len(data)
                        archive.writestr(str(path.relative_to(self._profile_dir)), data)
        return Cost(packed.tell(), plain_bytes, time.thread_time() - began)


async def run_snapshot(options: SnapshotOptions, stop: asyncio.Event) -> Exit:
    """Measure, and print the one line."""
    async with open_stage("chromium", (NodePlan(NODE, "local", 2),)) as stage:
        friend = await stage.book.create(FRIEND)
        owner = await stage.book.create(OWNER)
        await _write_history(owner, friend)
        linked = await link_session(stage, OWNER, owner)
        _say(options, f"online after {linked.to_online_s:.1f} s, with {HISTORY_MESSAGES} messages")
        await asyncio.sleep(SETTLE_S)
        saver = Saver(_profile(stage, linked))
        baseline = await asyncio.to_thread(saver.save)
        idle, idle_zip = await _rounds(saver, options, stop, "idle")
        async with Background() as tasks:
            tasks.start(_talk(stage, linked, friend), name="traffic")
            busy, busy_zip = await _rounds(saver, options, stop, "busy")
        stored = await _stored_by_node(stage, linked)
    if stop.is_set():
        return Exit.INTERRUPTED
    figures = {
        "history_messages": HISTORY_MESSAGES,
        "period_s": options.period_s,
        "busy_messages_per_s": INBOUND_PER_S + 1,
        "baseline": _figures([baseline]),
        "idle": {"snapshot": _figures(idle), "zip": _figures(idle_zip)},
        "busy": {"snapshot": _figures(busy), "zip": _figures(busy_zip)},
        "stored_by_node": stored,
    }
    goals = [
        at_most("idle: KB a snapshot, p50", 10.0, _middle_kb(idle), "KB"),
        at_most("idle: of the zip's bytes", 0.1, _share(idle, idle_zip), "of 1"),
        at_most("busy: of the zip's bytes", 0.5, _share(busy, busy_zip), "of 1"),
        at_most("busy: of the zip's CPU", 1.0, _cpu_share(busy, busy_zip), "of 1"),
    ]
    print_report("snapshot", figures, goals)
    return Exit.OK


async def _rounds(
    saver: Saver, options: SnapshotOptions, stop: asyncio.Event, name: str
) -> tuple[list[Cost], list[Cost]]:
    saved, zipped = [], []
    for number in range(1, options.captures + 1):
        await asyncio.sleep(options.period_s)
        if stop.is_set():
            break
        saved.append(await asyncio.to_thread(saver.save))
        zipped.append(await asyncio.to_thread(saver.zip_whole))
        _say(
            options,
            f"{name} {number}: {saved[-1].size_bytes / _KB:.1f} KB in "
            f"{saved[-1].cpu_s * 1000:.0f} ms, zip {zipped[-1].size_bytes / _KB:.1f} KB in "
            f"{zipped[-1].cpu_s * 1000:.0f} ms",
        )
    return saved, zipped


async def _write_history(owner: Phone, friend: Phone) -> None:
    for number in range(HISTORY_MESSAGES):
        sender, to = (friend, owner) if number % 2 else (owner, friend)
        await sender.send_text(to.wid, f"message {number} {secrets.token_hex(30)}")


async def _talk(stage: Stage, linked: Linked, friend: Phone) -> None:
    """Messages in, and one out for every ten, until cancelled."""
    number = 0
    while True:
        number += 1
        text = f"busy {number} {secrets.token_hex(30)}"
        await friend.send_text(linked.phone.wid, text)
        if number % INBOUND_PER_S == 0:
            await stage.api.send(
                linked.session.session_id, NewMessage(to=friend.wid, text=f"answer {number}")
            )
        await asyncio.sleep(1 / INBOUND_PER_S)


async def _stored_by_node(stage: Stage, linked: Linked) -> dict[str, Any]:
    """Sizes of what the node committed in this time."""
    nats = stage.stack.nats
    async with Bus.connect(nats.bus_settings(nats.control_plane)) as bus:
        key = snapshot_key(linked.session.session_id)
        pointer = (await Bucket(bus, FLEET).get(key, SnapshotPointer)).value
    objects = [one for kept in (pointer.generations if pointer else ()) for one in kept.objects]
    return {
        "objects": len(objects),
        "baselines_bytes": [one.size_bytes for one in objects if one.baseline],
        "deltas_bytes": [one.size_bytes for one in objects if not one.baseline],
    }


def _profile(stage: Stage, linked: Linked) -> Path:
    nodes = stage.temp_dir.parent / "data" / "nodes"
    return nodes / NODE / "profiles" / linked.session.session_id


def _figures(costs: Sequence[Cost]) -> dict[str, Any]:
    return {
        "kb": _spread([cost.size_bytes / _KB for cost in costs]),
        "plain_kb": _spread([cost.plain_bytes / _KB for cost in costs]),
        "cpu_ms": _spread([cost.cpu_s * 1000 for cost in costs]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(values, 0.5), 1),
        "max": round(max(values), 1),
        "sum": round(sum(values), 1),
    }


def _middle_kb(costs: Sequence[Cost]) -> float:
    return percentile([cost.size_bytes / _KB for cost in costs], 0.5)


def _share(saved: Sequence[Cost], zipped: Sequence[Cost]) -> float:
    return sum(c.size_bytes for c in saved) / max(1, sum(c.size_bytes for c in zipped))


def _cpu_share(saved: Sequence[Cost], zipped: Sequence[Cost]) -> float:
    return sum(c.cpu_s for c in saved) / max(1e-9, sum(c.cpu_s for c in zipped))


def _say(options: SnapshotOptions, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
