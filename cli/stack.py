"""Everything on one machine: NATS, a control plane and nodes as supervised children.

Owns what runs, in which order, with whose identity and where its files are. `up` and `demo` differ
only in what they ask for. Never touches a session.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from cli import settings_file
from cli.embedded.server import EmbeddedNats, EmbeddedSettings
from cli.parts import BusAccess, ControlPlaneFile, Listen
from cli.processes import ChildSpec, Supervised, blazz_argv, supervise
from control_plane.config import ControlPlaneSettings
from schemas.states import EngineKind
from swarm_node.config import BusAccess as NodeBusAccess
from swarm_node.config import NodeSettings
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.loopback.settings import LoopbackSettings

CONTROL_PLANE: Final = "control-plane"
INFO_FILE: Final = "stack.json"


class NodePlan(msgspec.Struct, frozen=True):
    """One node to run."""

    node_id: str
    region: str = "local"
    sessions_max: int = 30


class StackPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and where its files are."""

    data_dir: Path
    nodes: tuple[NodePlan, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    engine: EngineKind = EngineKind.CHROMIUM
    chromium: ChromiumSettings = ChromiumSettings()
    loopback: LoopbackSettings = LoopbackSettings()
    temp_dir: Path | None = None
    """Where the children's temporary files go; by default where the system puts them."""


class StackInfo(msgspec.Struct, frozen=True):
    """How others find a running stack; stands in its data directory, without a secret."""

    api_url: str
    api_key_file: str
    nats_url: str
    viewer: str
    viewer_seed_file: str


class Stack:
    """A running stack."""

    def __init__(self, info: StackInfo, children: Mapping[str, Supervised]) -> None:
        self.info = info
        self.children = children

    @property
    def api_url(self) -> str:
        """Where the API and the link page are."""
        return self.info.api_url

    @property
    def api_key(self) -> str:
        """The bootstrap key."""
        return Path(self.info.api_key_file).read_text(encoding="utf-8").strip()

    def node(self, node_id: str) -> Supervised:
        """A node's process."""
        return self.children[node_id]


@asynccontextmanager
async def open_stack(
    plan: StackPlan, on_respawn: Callable[[str], Awaitable[None]] | None = None
) -> AsyncIterator[Stack]:
    """Run it for the block: ready when entered, stopped in the opposite order at the end.

    Raises `data_dir_locked`, `port_in_use`, `browser_missing`, `wa_js_missing`, `timeout`.
    """
    plan.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file = plan.data_dir / "api-key"
    async with EmbeddedNats(plan.data_dir / "nats", EmbeddedSettings()) as nats:
        specs = [_control_plane_spec(plan, nats, key_file)]
        for node in plan.nodes:
            identity = await nats.add_node(node.node_id)
            specs.append(_node_spec(plan, node, nats.url, identity.seed_file))
        respawned = {} if on_respawn is None else {"on_respawn": on_respawn}
        async with supervise(specs, **respawned) as children:
            port = children[CONTROL_PLANE].child.facts["port"]
            if plan.port == 0:
                # Should it have to be started again, people must find it where it was.
                _control_plane_spec(msgspec.structs.replace(plan, port=port), nats, key_file)
            info = StackInfo(
                api_url=f"http://{_reachable(plan.host)}:{port}",
                api_key_file=str(key_file),
                nats_url=nats.url,
                viewer=nats.viewer.name,
                viewer_seed_file=nats.viewer.seed_file,
            )
            settings_file.write(plan.data_dir / INFO_FILE, info)
            yield Stack(info, children)


def read_info(data_dir: Path) -> StackInfo | None:
    """What a stack wrote there; None if none ever ran."""
    path = data_dir / INFO_FILE
    if not path.is_file():
        return None
    return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), StackInfo)


def _control_plane_spec(plan: StackPlan, nats: EmbeddedNats, key_file: Path) -> ChildSpec:
    settings = ControlPlaneFile(
        bus=BusAccess(
            servers=(nats.url,),
            identity=nats.control_plane.name,
            nkey_seed_file=nats.control_plane.seed_file,
        ),
        http=Listen(host=plan.host, port=plan.port),
        services=ControlPlaneSettings(default_engine=plan.engine),
        bootstrap_key_file=key_file,
    )
    return _spec(plan, CONTROL_PLANE, "control-plane", settings)


def _node_spec(plan: StackPlan, node: NodePlan, nats_url: str, seed_file: str) -> ChildSpec:
    settings = NodeSettings(
        node_id=node.node_id,
        region=node.region,
        data_dir=plan.data_dir / "nodes" / node.node_id,
        sessions_max=node.sessions_max,
        engines=(plan.engine,),
        bus=NodeBusAccess(servers=(nats_url,), nkey_seed_file=seed_file),
        chromium=plan.chromium,
        loopback=plan.loopback,
    )
    return _spec(plan, node.node_id, "node", settings)


def _spec(plan: StackPlan, name: str, command: str, settings: msgspec.Struct) -> ChildSpec:
    run_dir = plan.data_dir / "run"
    config = settings_file.write(run_dir / f"{name}.json", settings)
    env = {} if plan.temp_dir is None else {"TMPDIR": str(plan.temp_dir)}
    return ChildSpec(name, blazz_argv(command, "--config", str(config)), run_dir, env)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
