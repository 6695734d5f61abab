"""The runner: one session's owner on this node.

Owns the session's state (through the table, nowhere else), its engine and the order of what
happens to it: commands, engine events, probe results and timers all pass through one mailbox, so
nothing races. Each step carries out the table's effects: those that end an engine before the new
state is told to anybody, those that start one after it. Never talks to the bus or a browser, and
never takes a fenced session up again by itself.

Calls that only go through to the engine (send, codes, media) are in `calls.py`.
"""

import asyncio
import random
import time
from collections.abc import Sequence

import structlog

from schemas import events, log_keys
from schemas.commands import SessionAnswer
from schemas.errors import BlazzError, ErrorCode
from schemas.records import SessionLoad
from schemas.states import SessionState
from schemas.transport.background import Background
from swarm_node.core import backoff
from swarm_node.core.session_table import Effect, Event, IllegalTransitionError, step
from swarm_node.engines import contract
from swarm_node.engines.contract import Engine, EngineEvent, Identity
from swarm_node.outbox.outbox import SessionOutbox
from swarm_node.session.code_board import CodeBoard
from swarm_node.session.engine_slot import EngineSlot, MakeEngine
from swarm_node.session.event_data import StateBearing, event_data
from swarm_node.session.mailbox import Mailbox, Order, Probed, RelaunchDue, Saw, Verb
from swarm_node.session.news import Observe, OnTransition, StateNews
from swarm_node.session.observed import RunnerIdentity
from swarm_node.session.prober import Prober
from swarm_node.session.safekeeping import NotKept, Safekeeping
from swarm_node.session.start_gate import StartGate
from swarm_node.session.timings import SessionTimings
from swarm_node.session.unlinking import unlink

log = structlog.get_logger()

_LINKED = (SessionState.SYNCING, SessionState.ONLINE, SessionState.DEGRADED)
_LET_GO = (SessionState.STOPPED, SessionState.MOVING)
# What a broken profile does to a browser; other failures say nothing about the profile.
_CRASHES = (
    ErrorCode.BROWSER_CRASHED,
    ErrorCode.BROWSER_OUT_OF_MEMORY,
    ErrorCode.BROWSER_START_FAILED,
)


class SessionRunner:
    """One session. `run` is its life; the other methods may be called while it runs."""

    def __init__(
        self,
        who: RunnerIdentity,
        *,
        make_engine: MakeEngine,
        outbox: SessionOutbox,
        gate: StartGate,
        timings: SessionTimings,
        observe: Observe,
        on_transition: OnTransition,
        keeping: Safekeeping | None = None,
    ) -> None:
        self.who = who
        self.timings = timings
        self.state = SessionState.PENDING
        self.reason: str | None = None
        self.since = time.time()
        self.identity: Identity | None = None
        self.codes = CodeBoard()
        self._make_engine = make_engine
        self._outbox = outbox
        self._gate = gate
        self._keeping: Safekeeping = keeping or NotKept()
        self._mailbox = Mailbox(timings.mailbox_max)
        self._slot: EngineSlot | None = None
        self._start_watch: asyncio.Task[None] | None = None
        self._failures = backoff.Failures()
        self._tasks = Background()
        self._prober = Prober(self)
        self._log = log.bind(**who.log_fields)
        self._news = StateNews(
            who,
            keeping=self._keeping,
            log=self._log,
            outbox=outbox,
            observe=observe,
            on_transition=on_transition,
        )

    # What others may see and ask ---------------------------------------------------------------

    @property
    def slot(self) -> EngineSlot | None:
        """The last engine launched, running or not."""
        return self._slot

    @property
    def engine(self) -> Engine | None:
        """The engine that runs now, if any."""
        return None if self._slot is None or self._slot.ending else self._slot.engine

    @property
    def linked(self) -> bool:
        """Whether an account stands behind the running engine."""
        return self.state in _LINKED

    def answer(self) -> SessionAnswer:
        """Where the session stands."""
        return SessionAnswer(
            session_id=self.who.session_id,
            epoch=self.who.epoch,
            state=self.state,
            reason=self.reason,
        )

    def load(self) -> SessionLoad:
        """Its line in a heartbeat."""
        return SessionLoad(
            session_id=self.who.session_id,
            tenant_id=self.who.tenant_id,
            epoch=self.who.epoch,
            state=self.state,
            since=self.since,
        )

    async def order(self, verb: Verb, *, reason: str | None = None) -> SessionAnswer:
        """Have the session started, stopped, restarted or logged out, after what was asked before.

        Answers once the state is reached (`start`: `starting`). Raises `shutting_down` when the
        runner ends first, or what the engine raised.
        """
        return await self._mailbox.order(verb, reason)

    async def fence(self) -> SessionAnswer:
        """The node lost its lease: the engine dies now, whatever else is going on."""
        self._keeping.fence()
        if self._slot is not None:
            await self._slot.kill()
        return await self._mailbox.order(Verb.FENCE)

    async def report(self, data: events.EventData) -> None:
        """Have an event of this session published; returns when a crash can no longer lose it."""
        self._keeping.note_activity()
        await self._outbox.put(data)

    async def probed(self, result: Probed) -> None:
        """The prober's result."""
        await self._mailbox.put(result)

    # Its life ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the session until cancelled, which kills the engine; the clean way is `Verb.STOP`
        and `finish` first."""
        try:
            async with self._tasks:
                for part in (self._prober, self._keeping):
                    self._tasks.start(part.run(), name=type(part).__name__)
                try:
                    while True:
                        await self._take(await self._mailbox.next())
                finally:
                    self._mailbox.close()
                    if self._slot is not None:
                        await self._slot.kill()
        finally:
            self._mailbox.close()

    async def finish(self) -> None:
        """Publish what waits (bounded), before the runner is cancelled."""
        await self._outbox.drain(self.timings.drain_max_s)

    async def _take(self, item: Order | Saw | Probed | RelaunchDue) -> None:
        match item:
            case Order():
                await self._obey(item)
            case Saw(slot=slot, event=event):
                if slot is self._slot and not slot.ending:
                    await self._saw(event)
            case Probed(slot=slot):
                if slot is self._slot and not slot.ending and self.linked:
                    await self._judge(item)
            case RelaunchDue(slot=slot):
                if slot is self._slot and self.state is SessionState.STARTING:
                    self._launch()

    # Orders ----------------------------------------------------------------------------------

    async def _obey(self, order: Order) -> None:
        try:
            await self._carry_out(order.verb, order.reason)
        except BlazzError as error:
            order.refuse(error)
        except IllegalTransitionError as error:
            order.refuse(BlazzError(ErrorCode.ILLEGAL_TRANSITION, str(error)))
        except Exception:
            log.exception("session.order_failed", verb=order.verb)
            order.refuse(BlazzError(ErrorCode.INTERNAL))
        else:
            order.fulfil(self.answer())

    async def _carry_out(self, verb: Verb, reason: str | None) -> None:
        running = self.state.holds_engine
        match verb:
            case Verb.START if not running:
                await self._start()
            case Verb.STOP:
                await self._step(Event.STOP, reason=reason)
            case Verb.MOVE if running:
                await self._step(Event.MOVE, reason=reason)
            case Verb.RESTART:
                if running:
                    await self._step(Event.STOP, reason="restart")
                await self._start()
            case Verb.LOGOUT:
                await self._log_out()
            case Verb.FENCE if running:
                await self._step(Event.LEASE_LOST, reason=ErrorCode.LEASE_LOST)
            case _:
                pass

    async def _start(self) -> None:
        # By somebody's word: what went wrong before is forgiven.
        self._failures = backoff.Failures()
        await self._step(Event.START)

    async def _log_out(self) -> None:
        if self.state is SessionState.LOGGED_OUT:
            return
        await unlink(
            self.engine, self.state, linked=self.linked, call_max_s=self.timings.call_max_s
        )
        await self._step(Event.LOGGED_OUT, reason="logout")

    # What the engine reports -------------------------------------------------------------------

    async def _on_engine_events(self, slot: EngineSlot, seen: Sequence[EngineEvent]) -> None:
        """Runs in the driver's task: plain events go straight to the outbox, which may wait."""
        plain: list[events.EventData] = []
        for event in seen:
            if not isinstance(event, StateBearing):
                self._keeping.note_activity()
                plain.append(event_data(event))
            elif not slot.ending:
                await self._outbox.put(*plain)
                plain.clear()
                await self._mailbox.put(Saw(slot, event))
        await self._outbox.put(*plain)

    async def _saw(self, event: StateBearing) -> None:
        match event:
            case contract.QrShown() | contract.LoggedOut() if self._falls_back():
                # Only asked right after a restore: the link is not in that state of the profile.
                await self._step(Event.RESTORE_FAILED, reason=ErrorCode.RESTORE_FAILED)
            case contract.QrShown():
                self.identity = None
                await self._step(Event.QR_SHOWN, reason=self._keeping.trouble)
                if self.state is SessionState.PAIRING:
                    self.codes.show(event)
                    self._outbox.put_now(
                        events.SessionQr(
                            index=event.index, count=event.count, expires_in_s=event.expires_in_s
                        )
                    )
            case contract.QrExpired():
                self.codes.clear()
                self._outbox.put_now(events.SessionQrIdle())
            case contract.PasskeyAsked():
                await self._step(Event.PASSKEY_ASKED)
            case contract.Linked(identity=identity):
                # Reported from `starting` it was restored from the profile, which is no news.
                news = self.state.needs_link
                self.identity = identity
                await self._step(Event.LINKED)
                if news:
                    self._outbox.put_now(
                        events.SessionLinked(
                            phone=identity.phone, lid=identity.lid, name=identity.name
                        )
                    )
            case contract.ConnectionChanged():
                await self._step(Event.CONNECTION_CHANGED)
            case contract.Replaced():
                await self._step(Event.REPLACED, reason=ErrorCode.STREAM_REPLACED)
            case contract.LoggedOut(reason=reason):
                await self._step(Event.LOGGED_OUT, reason=reason)
            case contract.EngineFailed(code=code, detail=detail):
                self._log.warning("engine.failed", **{log_keys.CODE: code, log_keys.DETAIL: detail})
                await self._failed(code)

    async def _judge(self, result: Probed) -> None:
        if result.error is None:
            ok = result.probe is not None and result.probe.online
            reason = None if ok or result.probe is None else (result.probe.detail or "not_online")
            await self._step(Event.PROBE_OK if ok else Event.PROBE_FAILED, reason=reason)
        elif result.unanswered >= self.timings.probes_unanswered_max and not self._outbox.full:
            # With a full outbox the engine waits for us: it does not hang by itself.
            await self._failed(result.error)
        else:
            await self._step(Event.PROBE_FAILED, reason=result.error)

    async def _failed(self, code: str) -> None:
        policy = self.timings.backoff
        if self._slot is not None and not self._slot.prepared and backoff.is_transient(code):
            self._failures = backoff.waited(self._failures)
        else:
            self._failures = backoff.failed(policy, self._failures, time.monotonic())
        over = backoff.gave_up(policy, self._failures)
        if over and code in _CRASHES and self._falls_back():
            self._failures = backoff.Failures()
            await self._step(Event.RESTORE_FAILED, reason=ErrorCode.RESTORE_FAILED)
        else:
            await self._step(Event.ENGINE_GAVE_UP if over else Event.ENGINE_FAILED, reason=code)

    def _falls_back(self) -> bool:
        return self.state is SessionState.STARTING and self._keeping.fall_back()

    # The table ---------------------------------------------------------------------------------

    async def _step(self, event: Event, *, reason: str | None = None) -> None:
        """Take one step of the table; an engine event that means nothing now is only noted."""
        before = self.state
        try:
            after, effects = step(before, event)
        except IllegalTransitionError:
            if event in (Event.START, Event.STOP, Event.MOVE):
                raise
            self._log.info("session.event_ignored", event_name=event, **{log_keys.STATE: before})
            return
        # Self-loops are routine, except a relaunch: people want to know why it starts again.
        news = after is not before or event in (Event.ENGINE_FAILED, Event.RESTORE_FAILED)
        if news:
            self.state, self.reason, self.since = after, reason, time.time()
        if after is SessionState.LOGGED_OUT:
            self.identity = None
        for effect in effects:
            await self._end_effect(effect)
        if news:
            self._news.tell(before, self.answer(), since=self.since, identity=self.identity)
        for effect in effects:
            self._start_effect(effect)

    async def _end_effect(self, effect: Effect) -> None:
        match effect:
            case Effect.CLEAR_CODES:
                self.codes.clear()
            case Effect.STOP_ENGINE if self._slot is not None:
                await self._slot.stop()
                if self.state in _LET_GO:
                    await self._keeping.keep_last(clean=self._slot.ended_cleanly)
            case Effect.KILL_ENGINE if self._slot is not None:
                await self._slot.kill()
            case Effect.RESET_BACKOFF:
                self._failures = backoff.succeeded(self._failures)
            case _:
                pass

    def _start_effect(self, effect: Effect) -> None:
        match effect:
            case Effect.LAUNCH_ENGINE:
                self._launch()
            case Effect.RELAUNCH_AFTER_BACKOFF:
                self._tasks.start(self._relaunch_later(self._slot), name="relaunch")
            case Effect.PROBE_SOON:
                self._prober.soon()
            case _:
                pass

    def _launch(self) -> None:
        slot = EngineSlot(
            self._prepare, gate=self._gate, timings=self.timings, on_events=self._on_engine_events
        )
        self._slot = slot
        slot.driver = self._tasks.start(slot.drive(), name="engine driver")

    async def _prepare(self) -> Engine:
        engine, slot = self._make_engine(await self._keeping.prepare()), self._slot
        self._keeping.launched(engine)
        assert slot is not None
        if self._start_watch is not None:
            self._start_watch.cancel()
        # Only now: its turn and the vault may take their time.
        self._start_watch = self._tasks.start(self._watch_start(slot), name="start watch")
        return engine

    async def _relaunch_later(self, slot: EngineSlot | None) -> None:
        delay_s = backoff.delay_s(self.timings.backoff, self._failures.in_a_row, random.random())
        self._log.info("session.relaunch_scheduled", delay_s=round(delay_s, 3))
        await asyncio.sleep(delay_s)
        await self._mailbox.put(RelaunchDue(slot))

    async def _watch_start(self, slot: EngineSlot) -> None:
        """The backstop of `starting`: an engine that neither gets ready nor says so has failed."""
        await asyncio.sleep(self.timings.launch_max_s + self.timings.page_ready_max_s)
        if slot is self._slot and not slot.ending and self.state is SessionState.STARTING:
            failed = contract.EngineFailed(ErrorCode.PAGE_NOT_READY, "nothing came of the start")
            await self._mailbox.put(Saw(slot, failed))
