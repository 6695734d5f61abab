"""The node, put together: from settings to a running node and its clean end.

Owns the composition and the order of starting and stopping. Never holds logic of a part.
"""

import asyncio
import importlib.metadata
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
import uuid_utils

from schemas import log_keys
from schemas.commands import (
    AskTold,
    FetchMedia,
    MediaChunk,
    Pong,
    RenewCredential,
    Renewed,
    Told,
)
from schemas.events import Event
from schemas.keys import assignment_key, observed_key
from schemas.records import Assignment, LeaseRecord, NodeRecord, SessionObserved
from schemas.resources import FLEET
from schemas.states import SessionState
from schemas.subjects import event as event_subject
from schemas.subjects import node_media, node_renew, node_told, node_vault
from schemas.timing import PROFILES
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Fence, Put
from schemas.transport.typed import publish_durable, request
from swarm_node.command_inbox import CommandInbox
from swarm_node.config import NodeSettings
from swarm_node.credentials import NodeCredential
from swarm_node.data_dir import DataDir
from swarm_node.engines.registry import EngineRegistry, open_registry
from swarm_node.heartbeat import Pulse
from swarm_node.http import About, Readiness, listening
from swarm_node.metrics import NodeMetrics
from swarm_node.node_lease import NodeLease
from swarm_node.outbox.journal import EventJournal
from swarm_node.outbox.outbox import EventOutbox
from swarm_node.session.observed import ObservedWriter
from swarm_node.supervisor import Supervisor
from swarm_node.vault.metrics import VaultMetrics
from swarm_node.vault.node_vault import NodeVault
from swarm_node.vitals import NodeVitals

log = structlog.get_logger()

T = TypeVar("T")
_FAREWELL_S = 3.0
_MEDIA_TIMEOUT_S = 20.0
_TOLD_TIMEOUT_S = 10.0


async def run_node(
    settings: NodeSettings,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[Callable[[], NodeVitals]], None] | None = None,
) -> None:
    """Run a node until `stop` is set, then end it cleanly. `on_ready` is called once commands are
    answered, with what tells how the node is.

    Raises `data_dir_locked`, `nats_unavailable`, `config_invalid`, `node_id_in_use`,
    `port_in_use`, `browser_missing`, `wa_js_missing`.
    """
    data = DataDir(settings.data_dir)
    with data.locked():
        bus_settings = settings.bus_settings()
        credential = _credential(settings, data)
        if credential is not None:
            await asyncio.to_thread(credential.choose)
            bus_settings = msgspec.structs.replace(bus_settings, creds_file=str(credential.kept))
        async with (
            open_registry(settings, data) as engines,
            Bus.connect(bus_settings) as bus,
            _Node(settings, data, engines, bus).running() as node,
            _renewed(credential, node),
        ):
            if on_ready is not None:
                on_ready(node.vitals)
            await stop.wait()
            log.info("node.stopping", **{log_keys.NODE: settings.node_id})
            await node.stop()


def _credential(settings: NodeSettings, data: DataDir) -> NodeCredential | None:
    configured = settings.bus.creds_file
    if configured is None:
        return None
    return NodeCredential(settings.node_id, Path(configured), data.credential)


@asynccontextmanager
async def _renewed(credential: NodeCredential | None, node: "_Node") -> AsyncIterator[None]:
    """For the block, keep the credential renewed, where there is one."""
    async with Background() as tasks:
        if credential is not None:
            work = credential.keep_renewed(node.ask_renewal, node.metrics.set_credential_end)
            tasks.start(work, name="credential")
        yield


class _Node:
    """The parts of a running node."""

    def __init__(
        self, settings: NodeSettings, data: DataDir, engines: EngineRegistry, bus: Bus
    ) -> None:
        self.settings = settings
        self.bus = bus
        self.engines = engines
        self.incarnation = uuid_utils.uuid7().hex
        self.version = _version()
        self.metrics = NodeMetrics(settings.node_id, self.version)
        self.metrics.set_capacity(settings.sessions_max)
        self.fleet = Bucket(bus, FLEET)
        self.observed = ObservedWriter(
            self._write_observed, revise=self._assignment_revision, superseded=self._superseded
        )
        self.lease = NodeLease(
            bus,
            LeaseRecord(
                holder=settings.node_id, incarnation=self.incarnation, acquired_at=time.time()
            ),
            PROFILES[settings.timing],
            on_lost=self._lease_lost,
        )
        self.outbox = EventOutbox(
            settings.node_id,
            EventJournal(data.events),
            publish=self._publish_event,
            ask=self._ask_told,
        )
        self.supervisor = Supervisor(
            settings,
            incarnation=self.incarnation,
            data=data,
            engines=engines,
            observed=self.observed,
            metrics=self.metrics,
            outbox=self.outbox,
            ask_media=self._ask_media,
            may_act=lambda: self.lease.held,
            keeping=NodeVault(
                settings.vault,
                data,
                VaultMetrics(self.metrics.registry),
                node_id=settings.node_id,
                ask=self._ask_vault,
                may_act=lambda: self.lease.held,
                chromium_build=engines.chromium_build,
            ).keeping,
        )
        self.pulse: Pulse | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["_Node"]:
        """Everything, in order: lease, record, commands, pulse. Ended in the opposite order."""
        settings, bus = self.settings, self.bus
        inbox = CommandInbox(self.supervisor, self.metrics, pong=self._pong)
        async with (
            listening(
                settings.http_host,
                settings.http_port,
                about=About(
                    settings.node_id,
                    self.version,
                    self.engines.chromium_build,
                    self.engines.chromium_sandbox,
                    self.engines.session_groups,
                ),
                metrics=self.metrics,
                readiness=lambda: Readiness(bus.connected, self.lease.held),
            ) as http_url,
            Background() as tasks,
            self.outbox.running(),
            self.supervisor.running(),
        ):
            tasks.start(self.lease.run(), name="node lease")
            await self.lease.acquired.wait()
            tasks.start(self.observed.run(), name="observed records")
            self.pulse = pulse = self._pulse(http_url)
            await pulse.announce()
            undo = bus.on_reconnect(pulse.announce_soon)
            try:
                async with inbox.serving(bus, settings.node_id):
                    for work in (
                        pulse.run_announcements(),
                        pulse.run_heartbeats(),
                        pulse.run_memory(),
                    ):
                        tasks.start(work, name="pulse")
                    log.info("node.started", **{log_keys.NODE: settings.node_id}, url=http_url)
                    yield self
            finally:
                undo()

    def vitals(self) -> NodeVitals:
        """How it is, now."""
        loads = self.supervisor.loads()
        return NodeVitals(
            sessions=self.supervisor.engines_running(),
            online=sum(load.state is SessionState.ONLINE for load in loads),
            sessions_max=self.settings.sessions_max,
            bus_connected=self.bus.connected,
            lease_held=self.lease.held,
            turns=(self.bus.turn, *(self.pulse.turns if self.pulse is not None else ())),
        )

    async def stop(self) -> None:
        """Stop the sessions, then say goodbye. New starts are refused from the first moment."""
        await self.supervisor.stop_all()
        await self.observed.flush(_FAREWELL_S)
        if self.pulse is not None:
            await self.pulse.farewell(_FAREWELL_S)
        log.info("node.stopped", **{log_keys.NODE: self.settings.node_id})

    def _pulse(self, http_url: str) -> Pulse:
        settings = self.settings
        record = NodeRecord(
            node_id=settings.node_id,
            incarnation=self.incarnation,
            version=self.version,
            sessions_max=settings.sessions_max,
            engines=self.engines.kinds,
            started_at=time.time(),
            region=settings.region,
            provider=settings.provider,
            address=settings.address,
            http_url=http_url,
            chromium_build=self.engines.chromium_build,
            chromium_sandbox=self.engines.chromium_sandbox,
        )
        return Pulse(
            self.bus,
            record,
            loads=self.supervisor.loads,
            metrics=self.metrics,
            period_s=settings.heartbeat_s or PROFILES[settings.timing].heartbeat_s,
            memory_period_s=settings.memory_period_s,
        )

    def _pong(self) -> Pong:
        return Pong(
            node_id=self.settings.node_id,
            incarnation=self.incarnation,
            sessions=self.supervisor.engines_running(),
            sessions_max=self.settings.sessions_max,
        )

    async def _lease_lost(self) -> None:
        await self.supervisor.fence_all()

    async def _publish_event(self, event: Event) -> None:
        subject = event_subject(event.node_id, event.tenant_id, event.session_id, event.data)
        await publish_durable(self.bus, subject, event, event.event_id)
        self.metrics.count_published(event, time.time() - event.at)

    async def _ask_told(self, tenant_id: str, session_id: str, after_seq: int) -> Told:
        node_id = self.settings.node_id
        ask = AskTold(node_id, tenant_id, session_id, after_seq)
        return await request(self.bus, node_told(node_id), ask, Told, timeout_s=_TOLD_TIMEOUT_S)

    async def _write_observed(
        self, session_id: str, record: SessionObserved | None, revision: int
    ) -> None:
        key = observed_key(self.settings.node_id, session_id)
        if record is None:
            await self.fleet.delete(key)
        else:
            fence = Fence(assignment_key(session_id), revision) if revision else None
            await self.fleet.batch([Put(key=key, value=record, fence=fence)])

    async def _assignment_revision(self, record: SessionObserved) -> int | None:
        held = await self.fleet.get(assignment_key(record.session_id), Assignment)
        mine = held.value is not None and (
            (held.value.node_id, held.value.epoch) == (record.node_id, record.epoch)
        )
        return held.revision if mine else None

    def _superseded(self, session_id: str, epoch: int) -> None:
        self.supervisor.supersede(session_id, epoch)

    async def _ask_media(self, ask: FetchMedia) -> MediaChunk:
        return await request(
            self.bus,
            node_media(self.settings.node_id),
            ask,
            MediaChunk,
            timeout_s=_MEDIA_TIMEOUT_S,
        )

    async def ask_renewal(self, ask: RenewCredential) -> Renewed:
        """A new credential, of the control plane."""
        subject = node_renew(self.settings.node_id)
        return await request(self.bus, subject, ask, Renewed, timeout_s=_TOLD_TIMEOUT_S)

    async def _ask_vault(
        self, act: str, question: msgspec.Struct, answer: type[T], timeout_s: float, /
    ) -> T:
        subject = node_vault(self.settings.node_id, act)
        return await request(self.bus, subject, question, answer, timeout_s=timeout_s)


def _version() -> str:
    try:
        return importlib.metadata.version("blazz")
    except importlib.metadata.PackageNotFoundError:
        return "0"
