"""A fleet on the lab's hosts: installed by the real playbooks, with WhatsApp's stand-in outside.

Owns its inventory and settings, and the clients that watch it. The stand-in, the customers and the
operator are in this very process, on the lab's own address. Never breaks anything.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.chaos_fleet import FRIENDS, NO_LIMIT
from bench.hosts.lab import Lab
from bench.hosts.plan import OUTSIDE, Host, inventory
from bench.hosts.playbooks import Operator, Recap, connection_vars
from bench.hosts.wheels import LOCK
from bench.stage import Linked, link_sessions, wait_kept
from cli.client import Api
from cli.steps import until
from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings
from schemas.errors import BlazzError, ErrorCode
from schemas.permissions import control_plane_inbox_prefix
from schemas.states import EngineKind, NodeState
from schemas.transport.connection import BusSettings, TlsSettings

API_PORT: Final = 8080
BUS_PORT: Final = 4222
LINK_MAX_S: Final = 240.0
ANSWER_MAX_S: Final = 10.0


class LabFleet(msgspec.Struct, frozen=True):
    """A running fleet; a `WatchedFleet`."""

    engine: EngineKind
    lab: Lab
    operator: Operator
    book: PhoneBook
    api: Api
    apis: Sequence[Api]
    bus: BusSettings
    linked: Sequence[Linked]
    friends: Sequence[Phone]
    hooked: None = None

    @property
    def nodes(self) -> list[Host]:
        """The hosts that hold sessions, in the order of a roll."""
        return self.lab.plan.group("swarm_nodes")

    async def versions(self) -> dict[str, str]:
        """The version that each node says it runs; those that are away are left out."""
        views = (await self.api.nodes()).data
        return {view.node_id: view.version for view in views if view.state is NodeState.ALIVE}

    async def cordoned(self) -> list[str]:
        """The nodes that take no sessions."""
        return sorted(view.node_id for view in (await self.api.nodes()).data if view.cordoned)


class Install(msgspec.Struct, frozen=True):
    """What to install: `wheels` is a directory of them."""

    engine: EngineKind
    sessions: int
    version: str
    wheels: Path
    chromium_build: str
    logs: Path | None
    """Where Ansible's output and the hosts' journals are kept."""


@asynccontextmanager
async def open_lab_fleet(lab: Lab, install: Install) -> AsyncIterator[LabFleet]:
    """For the block: the playbooks run, every session linked, online and kept.

    Raises `internal` with the end of Ansible's words when a playbook fails.
    """
    async with AsyncExitStack() as opened:
        sandbox = await opened.enter_async_context(Sandbox(SandboxSettings(page_host=OUTSIDE)))
        operator = Operator(lab, _inventory(lab, sandbox, install))
        if install.logs is not None:
            opened.push_async_callback(keep_logs, operator, install.logs)
        for playbook in ("make_secrets", "site"):
            must_work(operator, await operator.play(playbook))
        book = await opened.enter_async_context(PhoneBook(sandbox.api_url))
        planes = lab.plan.group("control_plane")
        key_file = "/var/lib/blazz/control-plane/operator.key"
        key = (await lab.on(planes[0], "cat", key_file)).strip()
        apis = [
            await opened.enter_async_context(
                Api(f"http://{host.address}:{API_PORT}", key, timeout_s=ANSWER_MAX_S)
            )
            for host in planes
        ]
        fleet = LabFleet(
            install.engine,
            lab,
            operator,
            book,
            apis[0],
            apis,
            _bus(lab, operator, planes[0]),
            [],
            [await book.create(number) for number in FRIENDS],
        )
        await _all_alive(fleet)
        numbers = [f"1555000{number:04}" for number in range(1, install.sessions + 1)]
        linked = await link_sessions(fleet, numbers, limit_s=LINK_MAX_S)
        await wait_kept(fleet, linked, limit_s=LINK_MAX_S)
        yield msgspec.structs.replace(fleet, linked=linked)


async def keep_logs(operator: Operator, folder: Path) -> None:
    """Copy what Ansible printed and each host's journal to a directory that stays."""
    texts = {"ansible": operator.said()}
    for host in operator.lab.plan.hosts:
        ended = await operator.lab.ssh(host, "journalctl", "--boot", "--no-pager", "--quiet")
        texts[host.name] = ended.stdout

    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / f"{name}.log").write_text(text, encoding="utf-8")

    await asyncio.to_thread(write)


def must_work(operator: Operator, recap: Recap) -> Recap:
    """Refuse to go on after a playbook that failed."""
    if not recap.ok:
        raise BlazzError(
            ErrorCode.INTERNAL,
            f"{recap.playbook}.yml ended with {recap.code}:\n{operator.said(4000)}",
        )
    return recap


async def _all_alive(fleet: LabFleet) -> None:
    wanted = {host.name for host in fleet.nodes}

    async def look() -> bool | None:
        return wanted <= (await fleet.versions()).keys() or None

    async with asyncio.timeout(LINK_MAX_S):
        await until(look)


def _inventory(lab: Lab, sandbox: Sandbox, install: Install) -> dict[str, Any]:
    nodes = lab.plan.group("swarm_nodes")
    host_vars: dict[str, dict[str, Any]] = {
        host.name: {"blazz_api_listen": host.address} for host in lab.plan.group("control_plane")
    }
    # Room for all on the others: what is measured is not a wait for a place.
    host_vars |= {node.name: {"blazz_sessions_max": install.sessions + 1} for node in nodes}
    return inventory(
        lab.plan,
        host_vars,
        {
            **connection_vars(lab),
            "blazz_version": install.version,
            "blazz_wheel_dir": str(install.wheels),
            "blazz_requirements": str(LOCK),
            "blazz_apt_update": False,
            "blazz_command": str(Path(sys.executable).with_name("blazz")),
            "blazz_chromium_build": install.chromium_build,
            "blazz_node_settings": _node_settings(sandbox, install.engine),
            "blazz_control_plane_settings": {
                "http": {"rate": msgspec.to_builtins(NO_LIMIT)},
                "services": {
                    "default_engine": install.engine.value,
                    # Nobody real is written to.
                    "pacing": {"enabled": False},
                },
            },
        },
    )


def _node_settings(sandbox: Sandbox, engine: EngineKind) -> Mapping[str, Any]:
    if engine is EngineKind.CHROMIUM:
        return {"chromium": {"extra_args": sandbox.chromium_args()}}
    return {
        "engines": [engine.value],
        "start_spacing_s": 0.0,
        "starts_at_once_max": 8,
        # Without a browser a copy is whole from the first moment.
        "vault": {"policy": {"first_s": 0.5}},
        "loopback": {
            "link_url": sandbox.link_url,
            "media_url": sandbox.media_base_url,
            "ca_pem": sandbox.ca_pem,
        },
    }


def _bus(lab: Lab, operator: Operator, plane: Host) -> BusSettings:
    """To sign in as the first control plane does."""
    secrets = operator.secrets
    creds = secrets / "identities" / "creds" / f"control-plane.{plane.name}.creds"
    return BusSettings(
        servers=tuple(f"tls://{host.address}:{BUS_PORT}" for host in lab.plan.group("nats")),
        name="bench",
        inbox_prefix=control_plane_inbox_prefix(plane.name),
        creds_file=str(creds),
        tls=TlsSettings(ca_file=str(secrets / "bus-ca.pem")),
    )
