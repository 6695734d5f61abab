"""A fleet to break: nats-server, control planes, nodes and the sandbox, each part within reach.

Owns its set-up: every process behind a proxy to the bus, and a directory of checkpoints for each.
The sandbox's switch runs in this very process, out of reach: its log is the ground truth. Never
breaks anything (`chaos_faults`) and never judges (`chaos_judge`).
"""

import asyncio
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.bus_proxy import BusProxy
from bench.chaos_receiver import Receiver
from bench.stage import Linked, Stage, link_sessions, open_stage, wait_kept
from cli.client import Api
from cli.stack import NodePlan, control_plane_name
from control_plane.config import ControlPlaneSettings
from control_plane.core.rate_limit import RatePolicy
from control_plane.outbound.settings import LOOPBACK_TOO
from control_plane.webhooks.settings import WebhookSettings
from sandbox.phone import Phone, PhoneBook
from schemas.states import EngineKind
from schemas.transport.checkpoints import (
    VARIABLE,
    Act,
    At,
    Part,
    armed_file,
    fired_file,
    passed_file,
)
from schemas.transport.connection import BusSettings
from schemas.webhooks import NewWebhook
from swarm_node.core.snapshot_rules import CapturePolicy
from swarm_node.vault.settings import VaultSettings

NODES: Final = ("node-a", "node-b", "node-c")
CONTROL_PLANES: Final = 2
FRIENDS: Final = ("15559990000", "15559990001")
ANSWER_MAX_S: Final = 10.0
NO_LIMIT: Final = RatePolicy(per_s=1_000_000.0, burst=1_000_000)
SERVICES: Final = ControlPlaneSettings(
    outbound=LOOPBACK_TOO,
    # A run has no half hours to wait.
    webhooks=WebhookSettings(ack_wait_s=5.0, schedule_s=(0.0, 0.5, 1.0, *[5.0] * 12)),
)
TOLD: Final = ("message.received", "message.sent", "message.failed", "message.unknown")
"""The events that the receiver is sent."""
QUICK_KEEPING: Final = VaultSettings(policy=CapturePolicy(first_s=0.5))
"""Without a browser a copy is whole from the first moment."""


class Armory:
    """Arms checkpoints of running processes, and sees what became of them."""

    def __init__(self, folder: Path, parts: Mapping[str, Part]) -> None:
        self._folder = folder
        self._parts = parts
        for process in parts:
            (folder / process).mkdir()

    def env(self) -> dict[str, dict[str, str]]:
        """What each process is started with."""
        return {process: {VARIABLE: str(self._folder / process)} for process in self._parts}

    def processes(self, part: Part) -> list[str]:
        """All that pass the steps of a part."""
        return [process for process, whose in self._parts.items() if whose is part]

    def arm(self, process: str, at: At, act: Act, passing: int = 1) -> None:
        """From now on, the so-manyth passing of the step does it."""
        folder = self._folder / process
        fired_file(folder, at).unlink(missing_ok=True)
        draft = folder / "draft"
        draft.write_text(f"{act} {passing}", encoding="ascii")
        draft.rename(armed_file(folder, at))

    def disarm(self, process: str, at: At) -> None:
        """As if it had never been armed, unless it has fired."""
        armed_file(self._folder / process, at).unlink(missing_ok=True)

    def fired(self, process: str, at: At) -> bool:
        """Whether it has fired since it was armed."""
        return fired_file(self._folder / process, at).exists()

    def fired_at(self, process: str, at: At) -> float | None:
        """When it fired (Unix seconds), if it has since it was armed."""
        try:
            return fired_file(self._folder / process, at).stat().st_ctime
        except FileNotFoundError:
            return None

    def passed(self) -> set[At]:
        """The steps that any process has passed."""
        return {
            at
            for at in At
            if any(passed_file(self._folder / process, at).exists() for process in self._parts)
        }


class Fleet(msgspec.Struct, frozen=True):
    """A running fleet."""

    engine: EngineKind
    stage: Stage
    apis: Sequence[Api]
    """One for each control plane."""
    proxies: Mapping[str, BusProxy]
    """By process name."""
    armory: Armory
    linked: Sequence[Linked]
    friends: Sequence[Phone]
    receiver: Receiver
    """A webhook of the tenant sends it the events of `TOLD`."""

    @property
    def book(self) -> PhoneBook:
        """See `WatchedFleet`, also of the others."""
        return self.stage.book

    @property
    def api(self) -> Api:
        """The stage's client."""
        return self.stage.api

    @property
    def bus(self) -> BusSettings:
        """The control plane's own identity."""
        return self.stage.bus

    @property
    def hooked(self) -> Counter[str]:
        """The receiver's counts."""
        return self.receiver.taken


@asynccontextmanager
async def open_fleet(
    engine: EngineKind,
    sessions: int,
    *,
    nodes: Sequence[str] = NODES,
    control_planes: int = CONTROL_PLANES,
) -> AsyncIterator[Fleet]:
    """For the block: all of it, with every session online and kept."""
    parts = {control_plane_name(n): Part.CONTROL_PLANE for n in range(1, control_planes + 1)}
    parts |= dict.fromkeys(nodes, Part.NODE)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="blazz-chaos-"))
    try:
        async with AsyncExitStack() as opened:
            armory = Armory(folder, parts)
            proxies = {name: await opened.enter_async_context(BusProxy()) for name in parts}

            def address(process: str, url: str) -> str:
                proxies[process].target = url
                return proxies[process].url

            stage = await opened.enter_async_context(
                open_stage(
                    engine,
                    tuple(NodePlan(node, sessions_max=sessions + 1) for node in nodes),
                    port=_free_port(),
                    control_planes=control_planes,
                    control_plane_bus=address,
                    node_bus=address,
                    child_env=armory.env(),
                    rate=NO_LIMIT,
                    services=SERVICES,
                    node_vault=(
                        QUICK_KEEPING if engine is EngineKind.LOOPBACK else VaultSettings()
                    ),
                )
            )
            apis = []
            for number in range(1, control_planes + 1):
                port = stage.stack.children[control_plane_name(number)].child.facts["port"]
                api = Api(f"http://127.0.0.1:{port}", stage.stack.api_key, timeout_s=ANSWER_MAX_S)
                apis.append(await opened.enter_async_context(api))
            friends = [await stage.book.create(number) for number in FRIENDS]
            numbers = [f"1555000{number:04}" for number in range(1, sessions + 1)]
            linked = await link_sessions(stage, numbers)
            await wait_kept(stage, linked)
            receiver = await opened.enter_async_context(Receiver())
            hook = NewWebhook(url=receiver.url, events=TOLD)
            await stage.api.call("POST", "/v1/webhooks", msgspec.Raw, body=hook)
            yield Fleet(engine, stage, apis, proxies, armory, linked, friends, receiver)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _free_port() -> int:
    """One that was free a moment ago: a control plane that is killed comes back on its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
