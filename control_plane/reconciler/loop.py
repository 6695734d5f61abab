"""The reconciler's loop: the leader turns what is wanted into commands to nodes.

Owns the lease, the wake-ups, what is in flight and the backoff. Never decides what is to be done
(`core.reconcile` does) nor how a step is carried out (`acts` does). Every step
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
from control_plane.core.fleet import FleetSnapshot
from control_plane.core.needs import Step
from control_plane.reconciler.acts import Acts
from control_plane.state.fleet_state import FleetState
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.records import LeaseRecord
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.lease import Lease, LeaseSpec, lead

log = structlog.get_logger()

LEASE_KIND: Final = "leader"
LEASE_NAME: Final = "reconciler"
_HELD_MAX: Final = 100_000
_LOOK_MIN_S: Final = 0.1
"""A verdict that is due, but frozen, is looked at this often."""


class Reconciler:
    """One replica's reconciler; `run` holds the lease or waits for it, for ever."""

    def __init__(
        self, bus: Bus, state: FleetState, acts: Acts, settings: ReconcilerSettings
    ) -> None:
        self._bus = bus
        self._state = state
        self._acts = acts
        self._settings = settings
        self._wake = asyncio.Event()
        self._busy: dict[str, Step] = {}
        # By session, the latest step alone: once another was taken, the one before is free again,
        # so that stop and start in quick succession do not wait for each other.
        self._held: dict[str, tuple[Step, float]] = {}
        self._failures: dict[Step, int] = {}
        self._look_again_at = 0.0
        self._gone: set[str] = set()

    async def run(self, me: LeaseRecord) -> None:
        """Lead whenever the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, LEASE_NAME, self._bus.settings.profile)
        forget = self._state.on_change(lambda _session_id: self._wake.set())
        try:
            await lead(self._bus, spec, me, self._lead)
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
        if self._look_again_at > now:
            due.append(self._look_again_at)
        pause_s = min([self._settings.sweep_s, *(at - now for at in due)])
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _begin_due(self, lease: Lease, commands: Background) -> None:
        now = time.monotonic()
        self._held = {session: row for session, row in self._held.items() if row[1] > now}
        fleet = self._state.snapshot(now, time.time())
        self._tell_of_losses(fleet)
        plan = reconcile.plan(
            fleet, self._busy, dict(self._held.values()), now, self._settings.rules
        )
        again_in_s = plan.look_again_in_s
        self._look_again_at = 0.0 if again_in_s is None else now + max(_LOOK_MIN_S, again_in_s)
        metrics.STARTS_WAITING.set(plan.starts_waiting)
        metrics.MOVES_WAITING.set(plan.moves_waiting)
        for step in plan.steps:
            if len(self._busy) >= self._settings.commands_max:
                break
            self._busy[step.session_id] = step
            commands.start(self._carry_out(lease, step), name=f"reconcile {step.act}")

    def _tell_of_losses(self, fleet: FleetSnapshot) -> None:
        gone = {node_id for node_id, node in fleet.nodes.items() if node.gone}
        for node_id in sorted(gone - self._gone):
            metrics.NODES_LOST.inc()
            log.warning(
                "node.given_up",
                **{log_keys.NODE: node_id, log_keys.STATE: fleet.nodes[node_id].state},
            )
        self._gone = gone

    async def _carry_out(self, lease: Lease, step: Step) -> None:
        code = "ok"
        try:
            newer = self._state.snapshot_of(step.session_id, time.monotonic(), time.time())
            if lease.still_held() and reconcile.still_wanted(newer, step, self._settings.rules):
                await self._acts.carry_out(step, self._failures.get(step.key, 0))
            self._failures.pop(step.key, None)
            self._hold(step, self._settings.settle_s)
        except BlazzError as error:
            code = error.code
            self._hold_after(step, error)
        except Exception:
            # One session's fault must not end the leadership over all the others.
            code = ErrorCode.INTERNAL
            log.exception("reconcile.step_crashed", step=step.act)
            self._hold_after(step, BlazzError(code))
        finally:
            self._busy.pop(step.session_id, None)
            self._wake.set()
            metrics.COMMANDS.labels(kind=step.act, code=code).inc()

    def _hold(self, step: Step, for_s: float) -> None:
        if len(self._held) < _HELD_MAX:
            self._held[step.session_id] = (step.key, time.monotonic() + for_s)

    def _hold_after(self, step: Step, error: BlazzError) -> None:
        failures = self._failures.get(step.key, 0) + 1
        if len(self._failures) >= _HELD_MAX:
            self._failures.clear()
        self._failures[step.key] = failures
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
            step=step.act,
            attempt=failures,
            **{
                log_keys.SESSION: step.session_id,
                log_keys.NODE: step.node_id,
                log_keys.EPOCH: step.epoch,
                log_keys.CODE: error.code,
                log_keys.DETAIL: error.detail,
            },
        )
