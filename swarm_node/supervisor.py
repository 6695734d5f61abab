"""The supervisor: the sessions this node holds, and who may come in.

Owns the runners' lifetimes, admission, epochs and fencing of all. Passive: it starts what the
control plane tells it to start and nothing by itself. Never looks into a session's state machine.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
import structlog

from schemas import log_keys
from schemas.commands import (
    Admission,
    Command,
    CreateSession,
    DestroySession,
    MoveSession,
    SessionAnswer,
    StartSession,
)
from schemas.errors import BlazzError, ErrorCode
from schemas.records import SessionLoad
from schemas.states import EngineKind, SessionState
from schemas.transport.background import Background
from swarm_node.config import NodeSettings
from swarm_node.core import admission, epochs
from swarm_node.data_dir import DataDir
from swarm_node.engines.contract import Engine, EngineSpec
from swarm_node.engines.registry import EngineRegistry
from swarm_node.metrics import NodeMetrics
from swarm_node.outbox.outbox import EventOutbox, SessionOutbox
from swarm_node.session.calls import SessionCalls
from swarm_node.session.mailbox import Verb
from swarm_node.session.media import AskChunk, MediaCache, MediaFetcher
from swarm_node.session.observed import ObservedWriter, RunnerIdentity
from swarm_node.session.runner import SessionRunner
from swarm_node.session.safekeeping import Safekeeping
from swarm_node.session.start_gate import StartGate

log = structlog.get_logger()

_AT_REST_KEPT_MAX = 2
"""How many times `sessions_max` sessions at rest are remembered; the oldest go first."""
_RELEASED_MAX = 10_000
"""How many sessions that moved away are remembered with their epoch."""
REASON_MOVING = "moving"
_LOOPBACK_STARTS_MAX = 16


class Held(msgspec.Struct, frozen=True):
    """A session this node holds."""

    runner: SessionRunner
    calls: SessionCalls
    task: asyncio.Task[None]


class Supervisor:
    """The sessions of one node; used as `async with`."""

    def __init__(
        self,
        settings: NodeSettings,
        *,
        incarnation: str,
        data: DataDir,
        engines: EngineRegistry,
        observed: ObservedWriter,
        metrics: NodeMetrics,
        outbox: EventOutbox,
        ask_media: AskChunk,
        may_act: Callable[[], bool],
        keeping: Callable[[Admission], Safekeeping | None] = lambda _admission: None,
    ) -> None:
        self._settings = settings
        self._incarnation = incarnation
        self._data = data
        self._engines = engines
        self._observed = observed
        self._metrics = metrics
        self._outbox = outbox
        self._may_act = may_act
        self._keeping = keeping
        self._fetcher = MediaFetcher(settings.node_id, data.scratch, ask_media)
        self._cache = MediaCache()
        self._gates = {
            EngineKind.CHROMIUM: StartGate(
                spacing_s=settings.start_spacing_s, at_once_max=settings.starts_at_once_max
            ),
            EngineKind.LOOPBACK: StartGate(spacing_s=0.0, at_once_max=_LOOPBACK_STARTS_MAX),
        }
        self._held: dict[str, Held] = {}
        self._admitting: set[str] = set()
        self._released: dict[str, int] = {}
        self._doors: dict[str, asyncio.Lock] = {}
        self._tasks = Background()
        self._stopping = False
        self._fences = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold sessions for the block. `stop_all` first is the clean end."""
        async with self._tasks:
            yield

    # What stands where ----------------------------------------------------------------------------

    def loads(self) -> tuple[SessionLoad, ...]:
        """Every session's line in a heartbeat."""
        return tuple(held.runner.load() for held in self._held.values())

    def engines_running(self) -> int:
        """How many places are taken: engines, and those about to be started."""
        running = {key for key, held in self._held.items() if held.runner.state.holds_engine}
        return len(running | self._admitting)

    def calls(self, command: Command) -> SessionCalls:
        """The calls of the session a command names. Raises `session_not_found`, `stale_epoch`."""
        return self._find(command).calls

    def _find(self, command: Command) -> Held:
        self._check_lease()
        held = self._held.get(command.session_id)
        if held is None:
            raise BlazzError(ErrorCode.SESSION_NOT_FOUND, "this node does not hold the session")
        epochs.on_command(held.runner.who.epoch, command.epoch)
        return held

    def _check_lease(self, fences: int | None = None) -> None:
        """Raise unless it is held and, given `fences`, never was lost since that was counted."""
        if not self._may_act() or fences not in (None, self._fences):
            raise BlazzError(ErrorCode.LEASE_LOST, "the node has no lease")

    # Commands -----------------------------------------------------------------------------------

    async def start(self, command: CreateSession | StartSession) -> SessionAnswer:
        """Admit the session if it isn't here, and start it; answers at `starting`.

        A newer epoch replaces the one held. Raises `node_at_capacity`, `stale_epoch`,
        `unsupported_by_engine`, `lease_lost`, `shutting_down`.
        """
        factory = self._engines.factory(command.engine)
        fences = self._fences
        async with self._door(command.session_id):
            self._check_lease(fences)
            held = self._held.get(command.session_id)
            epochs.on_released(self._released.get(command.session_id), command.epoch)
            verdict = epochs.on_admission(held.runner.who.epoch if held else None, command.epoch)
            self._observed.fence(command.session_id, command.epoch, command.assignment_revision)
            with self._place(command.session_id):
                if held is not None and verdict is epochs.Verdict.REPLACE:
                    await held.runner.order(Verb.STOP, reason="replaced_by_newer_epoch")
                    await self._let_go(held)
                    held = None
                if held is None:
                    await self._make_room()
                    # Ending took its time: the session may have been fenced, and be elsewhere.
                    self._check_lease(fences)
                    held = self._admit(command, factory)
                else:
                    # Whoever asks has not seen where it stands.
                    self._observed.again(command.session_id)
                return await held.runner.order(Verb.START)

    async def obey(self, verb: Verb, command: Command) -> SessionAnswer:
        """Stop, restart or log out a session that is here."""
        if verb is not Verb.RESTART:
            return await self._find(command).runner.order(verb)
        async with self._door(command.session_id):
            held = self._find(command)
            with self._place(command.session_id):
                return await held.runner.order(verb)

    async def destroy(self, command: DestroySession) -> SessionAnswer:
        """End the session and delete what is kept of it here. A session that is not here is
        destroyed too: a node that restarted may still have its profile."""
        async with self._door(command.session_id):
            self._check_lease()
            held = self._held.get(command.session_id)
            if held is not None:
                epochs.on_command(held.runner.who.epoch, command.epoch)
                if command.logout and held.runner.linked:
                    await held.runner.order(Verb.LOGOUT)
                await held.runner.order(Verb.STOP, reason="destroyed")
                await self._let_go(held)
            await asyncio.to_thread(self._data.delete_session, command.session_id)
            self._observed.forget(command.session_id)
        self._doors.pop(command.session_id, None)
        return SessionAnswer(
            session_id=command.session_id, epoch=command.epoch, state=SessionState.STOPPED
        )

    async def move(self, command: MoveSession) -> SessionAnswer:
        """Stop the session and let go of it: it goes to another node under the next epoch. From
        then on this epoch starts nothing here, however late a command for it comes.

        Safe to repeat; a session that is not here (the node restarted) is let go too.
        """
        async with self._door(command.session_id):
            self._check_lease()
            held = self._held.get(command.session_id)
            if held is not None:
                epochs.on_command(held.runner.who.epoch, command.epoch)
                await held.runner.order(Verb.MOVE, reason=REASON_MOVING)
                await self._let_go(held)
            self._note_released(command.session_id, command.epoch)
        return SessionAnswer(
            session_id=command.session_id,
            epoch=command.epoch,
            state=SessionState.MOVING,
            reason=REASON_MOVING,
        )

    def _note_released(self, session_id: str, epoch: int) -> None:
        self._released[session_id] = max(epoch, self._released.pop(session_id, 0))
        if len(self._released) > _RELEASED_MAX:
            del self._released[next(iter(self._released))]

    # All at once ----------------------------------------------------------------------------------

    async def fence_all(self) -> None:
        """The lease is lost: every engine dies now. Bounded, in parallel, never raises."""
        self._fences += 1
        await self._for_all(self._fence_one, at_once_max=len(self._held) or 1)

    async def stop_all(self) -> None:
        """The node stops: take nothing new, stop every session cleanly, publish what is left."""
        self._stopping = True
        await self._for_all(self._stop_one, at_once_max=self._settings.stops_at_once_max)

    async def _for_all(self, act: Callable[[Held], Awaitable[None]], *, at_once_max: int) -> None:
        places = asyncio.Semaphore(at_once_max)

        async def one(held: Held) -> None:
            async with places:
                try:
                    await act(held)
                except BlazzError as error:
                    log.warning("session.end_failed", **{log_keys.CODE: error.code})

        async with asyncio.TaskGroup() as group:
            for held in list(self._held.values()):
                group.create_task(one(held))

    def supersede(self, session_id: str, epoch: int) -> None:
        """The session was placed elsewhere while this node did not know: its engine dies now."""
        held = self._held.get(session_id)
        if held is not None and held.runner.who.epoch == epoch:
            self._tasks.start(self._end_superseded(held), name=f"supersede {session_id}")

    async def _end_superseded(self, held: Held) -> None:
        try:
            await held.runner.fence()
        except BlazzError as error:
            log.info("session.end_failed", **{log_keys.CODE: error.code})
        self._note_released(held.runner.who.session_id, held.runner.who.epoch)
        await self._let_go(held)

    async def _fence_one(self, held: Held) -> None:
        await held.runner.fence()

    async def _stop_one(self, held: Held) -> None:
        if held.runner.state.holds_engine:
            await held.runner.order(Verb.STOP, reason="node_stopping")
        await self._let_go(held)

    # Coming and going --------------------------------------------------------------------

    @contextmanager
    def _place(self, session_id: str) -> Iterator[None]:
        """A place for an engine that is about to start; one that runs has its place already."""
        held = self._held.get(session_id)
        if self._stopping or held is None or not held.runner.state.holds_engine:
            admission.admit(
                running=self.engines_running(),
                sessions_max=self._settings.sessions_max,
                stopping=self._stopping,
            )
        self._admitting.add(session_id)
        try:
            yield
        finally:
            self._admitting.discard(session_id)

    def _door(self, session_id: str) -> asyncio.Lock:
        """One at a time may bring a session in or out."""
        return self._doors.setdefault(session_id, asyncio.Lock())

    def _admit(
        self, command: CreateSession | StartSession, factory: Callable[[EngineSpec], Engine]
    ) -> Held:
        outbox = self._outbox.of(
            tenant_id=command.tenant_id,
            session_id=command.session_id,
            epoch=command.epoch,
            waiting_max=self._settings.session.events_waiting_max,
        )
        runner = self._runner(command, factory, outbox)
        task = self._tasks.start(self._run(runner), name=f"session {command.session_id}")
        task.add_done_callback(lambda _: outbox.close())
        held = Held(runner, SessionCalls(runner, self._fetcher, self._cache), task)
        self._held[command.session_id] = held
        log.info(
            "session.admitted",
            **{
                log_keys.TENANT: command.tenant_id,
                log_keys.SESSION: command.session_id,
                log_keys.EPOCH: command.epoch,
            },
        )
        return held

    def _runner(
        self,
        command: CreateSession | StartSession,
        factory: Callable[[EngineSpec], Engine],
        outbox: SessionOutbox,
    ) -> SessionRunner:
        spec = EngineSpec(
            session_id=command.session_id,
            tenant_id=command.tenant_id,
            epoch=command.epoch,
            profile_dir=self._data.profile(command.session_id),
            proxy=command.proxy,
        )
        timer = _OnlineTimer(self._metrics)

        def on_transition(before: SessionState, after: SessionState, reason: str | None) -> None:
            self._metrics.count_transition(before, after, reason)
            timer.note(after)

        return SessionRunner(
            RunnerIdentity(
                session_id=command.session_id,
                tenant_id=command.tenant_id,
                epoch=command.epoch,
                node_id=self._settings.node_id,
                incarnation=self._incarnation,
            ),
            make_engine=lambda storage: factory(
                msgspec.structs.replace(spec, page_storage=storage)
            ),
            outbox=outbox,
            gate=self._gates[command.engine],
            timings=self._settings.session,
            observe=self._observed.observe,
            on_transition=on_transition,
            keeping=self._keeping(command),
        )

    async def _run(self, runner: SessionRunner) -> None:
        """One session's crash is its own: the node and the others go on."""
        try:
            await runner.run()
        except Exception:
            log.exception("session.runner_failed", **{log_keys.SESSION: runner.who.session_id})
            held = self._held.get(runner.who.session_id)
            if held is not None and held.runner is runner:
                del self._held[runner.who.session_id]

    async def _let_go(self, held: Held) -> None:
        await held.runner.finish()
        held.task.cancel()
        await asyncio.wait({held.task})
        if self._held.get(held.runner.who.session_id) is held:
            del self._held[held.runner.who.session_id]

    async def _make_room(self) -> None:
        """Forget sessions long at rest, so that memory stays bounded; their profiles stay."""
        at_rest = [h for h in self._held.values() if not h.runner.state.holds_engine]
        at_rest = [h for h in at_rest if h.runner.who.session_id not in self._admitting]
        if len(at_rest) >= _AT_REST_KEPT_MAX * max(1, self._settings.sessions_max):
            await self._let_go(min(at_rest, key=lambda held: held.runner.since))


class _OnlineTimer:
    """Measures one session's ways to online."""

    def __init__(self, metrics: NodeMetrics) -> None:
        self._metrics = metrics
        self._began_s: float | None = None
        self._anew = False

    def note(self, state: SessionState) -> None:
        """The session entered a state."""
        now_s = time.monotonic()
        if state is SessionState.STARTING:
            self._began_s, self._anew = now_s, False
        elif state is SessionState.PAIRING and not self._anew:
            self._began_s, self._anew = now_s, True
        elif state is SessionState.ONLINE and self._began_s is not None:
            self._metrics.time_to_online(now_s - self._began_s, linked_anew=self._anew)
            self._began_s = None
