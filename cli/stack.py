"""Everything on one machine: NATS, a control plane and nodes as supervised children.

Owns what runs, in which order, with whose identity and where its files are. `up` and `demo` differ
only in what they ask for. Never touches a session.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from cli import settings_file
from cli.embedded.server import EmbeddedNats, EmbeddedSettings
from cli.parts import BusAccess, ControlPlaneFile, Listen
from cli.processes import ChildSpec, Supervised, blazz_argv, supervise
from control_plane.config import ControlPlaneSettings
from control_plane.core.rate_limit import RatePolicy
from control_plane.vault.master_keys import ensure_key_file
from control_plane.vault.settings import StoreKind, VaultSettings
from schemas.states import EngineKind
from swarm_node.config import BusAccess as NodeBusAccess
from swarm_node.config import NodeSettings
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.loopback.settings import LoopbackSettings
from swarm_node.vault.settings import VaultSettings as NodeVaultSettings

CONTROL_PLANE: Final = "control-plane"
INFO_FILE: Final = "stack.json"
_START_PACE: Final[Mapping[EngineKind, Mapping[str, Any]]] = {
    EngineKind.CHROMIUM: {},
    # Without a browser a start costs next to nothing.
    EngineKind.LOOPBACK: {"start_spacing_s": 0.0, "starts_at_once_max": 8},
}
MASTER_KEY_FILE: Final = "master-key"
"""Without it no snapshot can be opened: it belongs into a backup, but not beside the store's."""


class NodePlan(msgspec.Struct, frozen=True):
    """One node to run."""

    node_id: str
    region: str = "local"
    sessions_max: int = 30
    launcher: tuple[str, ...] = ()
    """Words before the node's own command: a program that prepares its surroundings and then
    becomes it, such as `unshare --mount …`."""
    data_dir: Path | None = None
    """Where its files are; by default below the plan's directory."""


class StackPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and where its files are."""

    data_dir: Path
    nodes: tuple[NodePlan, ...]
    control_planes: int = 1
    """How many replicas; the first listens on `port`, the others where there is room."""
    host: str = "127.0.0.1"
    port: int = 8080
    engine: EngineKind = EngineKind.CHROMIUM
    chromium: ChromiumSettings = ChromiumSettings()
    loopback: LoopbackSettings = LoopbackSettings()
    temp_dir: Path | None = None
    """Where the children's temporary files go; by default where the system puts them."""
    mongo_uri_file: Path | None = None
    """Keep snapshots in MongoDB; None: on the bus itself."""
    node_vault: NodeVaultSettings = NodeVaultSettings()
    """How often the nodes capture their sessions' state."""
    services: ControlPlaneSettings = ControlPlaneSettings()
    """What every replica is told, but for its name, engine and vault, which stand here."""
    rate: RatePolicy = Listen().rate
    """What one API key may ask of one replica."""
    child_env: Mapping[str, Mapping[str, str]] = {}
    """More of the environment, by process name."""
    control_plane_bus: Callable[[str, str], str] | None = None
    """From a replica's process name and the bus's address to the one that it is given instead."""
    node_bus: Callable[[str, str], str] | None = None
    """From a node's id and the bus's address to the address that the node is given instead."""


class StackInfo(msgspec.Struct, frozen=True):
    """How others find a running stack; stands in its data directory, without a secret."""

    api_url: str
    api_key_file: str
    nats_url: str
    viewer: str
    viewer_seed_file: str


class Stack:
    """A running stack."""

    def __init__(
        self, info: StackInfo, children: Mapping[str, Supervised], nats: EmbeddedNats
    ) -> None:
        self.info = info
        self.children = children
        self.nats = nats

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
    await asyncio.to_thread(ensure_key_file, plan.data_dir / MASTER_KEY_FILE)
    async with EmbeddedNats(plan.data_dir / "nats", EmbeddedSettings()) as nats:
        specs = [
            _control_plane_spec(plan, nats, key_file, number, plan.port if number == 1 else 0)
            for number in range(1, plan.control_planes + 1)
        ]
        for node in plan.nodes:
            identity = await nats.add_node(node.node_id)
            url = nats.url if plan.node_bus is None else plan.node_bus(node.node_id, nats.url)
            specs.append(_node_spec(plan, node, url, identity.seed_file))
        respawned = {} if on_respawn is None else {"on_respawn": on_respawn}
        async with supervise(specs, **respawned) as children:
            # Should one have to be started again, people must find it where it was.
            for number in range(1, plan.control_planes + 1):
                there = children[control_plane_name(number)].child.facts["port"]
                _control_plane_spec(plan, nats, key_file, number, there)
            port = children[CONTROL_PLANE].child.facts["port"]
            info = StackInfo(
                api_url=f"http://{_reachable(plan.host)}:{port}",
                api_key_file=str(key_file),
                nats_url=nats.url,
                viewer=nats.viewer.name,
                viewer_seed_file=nats.viewer.seed_file,
            )
            settings_file.write(plan.data_dir / INFO_FILE, info)
            yield Stack(info, children, nats)


def read_info(data_dir: Path) -> StackInfo | None:
    """What a stack wrote there; None if none ever ran."""
    path = data_dir / INFO_FILE
    if not path.is_file():
        return None
    return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), StackInfo)


def control_plane_name(number: int) -> str:
    """The name of a control plane's process, from 1."""
    return CONTROL_PLANE if number == 1 else f"{CONTROL_PLANE}-{number}"


def _control_plane_spec(
    plan: StackPlan, nats: EmbeddedNats, key_file: Path, number: int, port: int
) -> ChildSpec:
    name = control_plane_name(number)
    url = nats.url if plan.control_plane_bus is None else plan.control_plane_bus(name, nats.url)
    settings = ControlPlaneFile(
        bus=BusAccess(
            servers=(url,),
            identity=nats.control_plane.name,
            nkey_seed_file=nats.control_plane.seed_file,
        ),
        http=Listen(host=plan.host, port=port, rate=plan.rate),
        services=msgspec.structs.replace(
            plan.services,
            replica=f"{CONTROL_PLANE}-{number}",
            default_engine=plan.engine,
            vault=VaultSettings(
                store=StoreKind.JETSTREAM if plan.mongo_uri_file is None else StoreKind.MONGO,
                master_key_file=plan.data_dir / MASTER_KEY_FILE,
                mongo_uri_file=plan.mongo_uri_file,
            ),
        ),
        bootstrap_key_file=key_file,
    )
    return _spec(plan, name, "control-plane", settings)


def _node_spec(plan: StackPlan, node: NodePlan, nats_url: str, seed_file: str) -> ChildSpec:
    settings = NodeSettings(
        node_id=node.node_id,
        region=node.region,
        data_dir=node.data_dir or plan.data_dir / "nodes" / node.node_id,
        sessions_max=node.sessions_max,
        engines=(plan.engine,),
        bus=NodeBusAccess(servers=(nats_url,), nkey_seed_file=seed_file),
        vault=plan.node_vault,
        **_START_PACE[plan.engine],
        chromium=plan.chromium,
        loopback=plan.loopback,
    )
    return _spec(plan, node.node_id, "node", settings, node.launcher)


def _spec(
    plan: StackPlan,
    name: str,
    command: str,
    settings: msgspec.Struct,
    launcher: tuple[str, ...] = (),
) -> ChildSpec:
    run_dir = plan.data_dir / "run"
    config = settings_file.write(run_dir / f"{name}.json", settings)
    env = {} if plan.temp_dir is None else {"TMPDIR": str(plan.temp_dir)}
    env = {**env, **plan.child_env.get(name, {})}
    argv = (*launcher, *blazz_argv(command, "--config", str(config)))
    return ChildSpec(name, argv, run_dir, env)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
