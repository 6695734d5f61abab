"""The reconciler's loop: the leader turns what is wanted into commands to nodes.

Owns the lease, the wake-ups, what is in flight and the backoff. Never decides what is to be done
(`core.reconcile` does) and never writes a record itself (`state.fleet_writer` does). Every step
is checked again against newer state right before it is carried out; a refusal is normal.
"""

import asyncio
import random
import time
from typing import Final

import structlog

from control_plane import metrics
from control_plane.config import ReconcilerSettings
from control_plane.core import reconcile
from control_plane.core.backoff import delay_s
from control_plane.core.reconcile import Step, StepKind
from control_plane.node_commands import NodeCommands
from control_plane.ports import SnapshotAdmission
from control_plane.state.fleet_state import FleetState
from control_plane.state.fleet_writer import FleetWriter
from schemas import log_keys
from schemas.commands import DestroySession, StartSession, StopSession
from schemas.errors import BlazzError, ErrorCode
from schemas.records import Assignment, LeaseRecord
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.lease import Lease, LeaseSpec, hold

log = structlog.get_logger()

LEASE_KIND: Final = "leader"
LEASE_NAME: Final = "reconciler"
LOGOUT_TRIES: Final = 3
"""A deleted session is unlinked at WhatsApp; one that cannot reach it for so many tries is
destroyed all the same: its keys go, and the phone shows a dead device."""
_HELD_MAX: Final = 100_000


class Reconciler:
    """One replica's reconciler; `run` holds the lease or waits for it, for ever."""

    def __init__(
        self,
        bus: Bus,
        state: FleetState,
        writer: FleetWriter,
        nodes: NodeCommands,
        settings: ReconcilerSettings,
        snapshots: SnapshotAdmission,
    ) -> None:
        self._bus = bus
        self._state = state
        self._writer = writer
        self._nodes = nodes
        self._settings = settings
        self._snapshots = snapshots
        self._wake = asyncio.Event()
        self._busy: dict[str, Step] = {}
        # By session, the latest step alone: once another was taken, the one before is free again,
        # so that stop and start in quick succession do not wait for each other.
        self._held: dict[str, tuple[Step, float]] = {}
        self._failures: dict[Step, int] = {}

    async def run(self, me: LeaseRecord) -> None:
        """Lead whenever the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, LEASE_NAME, self._bus.settings.profile)
        forget = self._state.on_change(lambda _session_id: self._wake.set())
        try:
            while True:
                try:
                    async with hold(self._bus, spec, me) as lease:
                        await self._lead(lease)
                except BlazzError as error:
                    if error.code is not ErrorCode.LEASE_LOST:
                        raise
                    log.warning("reconciler.lease_lost", detail=error.detail)
        finally:
            forget()

    async def _lead(self, lease: Lease) -> None:
        self._busy.clear()
        async with Background() as commands:
            while True:
                self._wake.clear()
                # Without a whole view a missing record would look like a wish.
                if lease.still_held() and self._state.synced:
                    self._begin_due(lease, commands)
                await asyncio.sleep(self._settings.plan_gap_s)
                await self._next_wake()

    async def _next_wake(self) -> None:
        """Until something changed, a backoff ends or the sweep is due."""
        now = time.monotonic()
        due = [at for _step, at in self._held.values() if at > now]
        pause_s = min([self._settings.sweep_s, *(at - now for at in due)])
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _begin_due(self, lease: Lease, commands: Background) -> None:
        now = time.monotonic()
        self._held = {session: row for session, row in self._held.items() if row[1] > now}
        plan = reconcile.plan(
            self._state.snapshot(now),
            self._busy,
            dict(self._held.values()),
            now,
            self._settings.stagger,
        )
        metrics.STARTS_WAITING.set(plan.starts_waiting)
        for step in plan.steps:
            if len(self._busy) >= self._settings.commands_max:
                break
            self._busy[step.session_id] = step
            commands.start(self._carry_out(lease, step), name=f"reconcile {step.kind}")

    async def _carry_out(self, lease: Lease, step: Step) -> None:
        code = "ok"
        try:
            if lease.still_held() and reconcile.still_wanted(
                self._state.snapshot_of(step.session_id, time.monotonic()), step
            ):
                await self._apply(step)
            self._failures.pop(step, None)
            self._hold(step, self._settings.settle_s)
        except BlazzError as error:
            code = error.code
            self._hold_after(step, error)
        except Exception:
            # One session's fault must not end the leadership over all the others.
            code = ErrorCode.INTERNAL
            log.exception("reconcile.step_crashed", step=step.kind)
            self._hold_after(step, BlazzError(code))
        finally:
            self._busy.pop(step.session_id, None)
            self._wake.set()
            metrics.COMMANDS.labels(kind=step.kind, code=code).inc()

    async def _apply(self, step: Step) -> None:
        assignment = self._state.assignment(step.session_id)
        match step.kind:
            case StepKind.FORGET:
                await self._writer.forget(step.tenant_id, step.session_id)
            case StepKind.RAISE_EPOCH:
                assert assignment is not None
                await self._writer.raise_epoch(assignment)
            case StepKind.START:
                await self._start(_assigned(step))
            case StepKind.STOP:
                command = StopSession(session_id=step.session_id, epoch=step.epoch)
                await self._nodes.ask(_assigned(step), "stop", command)
            case StepKind.DESTROY:
                reachable = self._failures.get(step, 0) < LOGOUT_TRIES
                await self._destroy(_assigned(step), logout=reachable)
                await self._writer.forget(step.tenant_id, step.session_id)

    async def _start(self, assignment: Assignment) -> None:
        record = self._state.session(assignment.tenant_id, assignment.session_id)
        if record is None:
            return
        data_key, generations = await self._snapshots.admission(
            assignment.tenant_id, assignment.session_id
        )
        command = StartSession(
            session_id=assignment.session_id,
            epoch=assignment.epoch,
            tenant_id=assignment.tenant_id,
            engine=record.engine,
            data_key=data_key,
            generations=generations,
        )
        await self._nodes.ask(assignment, "start", command)

    async def _destroy(self, assignment: Assignment, *, logout: bool) -> None:
        command = DestroySession(
            session_id=assignment.session_id, epoch=assignment.epoch, logout=logout
        )
        try:
            await self._nodes.ask(assignment, "destroy_session", command)
        except BlazzError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise

    def _hold(self, step: Step, for_s: float) -> None:
        if len(self._held) < _HELD_MAX:
            self._held[step.session_id] = (step, time.monotonic() + for_s)

    def _hold_after(self, step: Step, error: BlazzError) -> None:
        failures = self._failures.get(step, 0) + 1
        if len(self._failures) >= _HELD_MAX:
            self._failures.clear()
        self._failures[step] = failures
        settings = self._settings
        pause_s = delay_s(
            failures,
            random.random(),
            min_s=settings.backoff_min_s,
            max_s=settings.backoff_max_s,
        )
        self._hold(step, pause_s)
        log.warning(
            "reconcile.step_failed",
            step=step.kind,
            attempt=failures,
            **{
                log_keys.SESSION: step.session_id,
                log_keys.NODE: step.node_id,
                log_keys.EPOCH: step.epoch,
                log_keys.CODE: error.code,
                log_keys.DETAIL: error.detail,
            },
        )


def _assigned(step: Step) -> Assignment:
    assert step.node_id is not None
    return Assignment(step.session_id, step.tenant_id, step.node_id, step.epoch)
