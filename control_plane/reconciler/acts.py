"""Acts: how each step of a plan is carried out, by a command to a node or a write.

Owns the commands' contents and what a node's refusal means for the step. Never decides whether a
step is due and never retries: the loop does both.
"""

import time
from typing import Final

from control_plane.core.fleet import FleetSnapshot
from control_plane.core.moves import next_assignment, raised_assignment
from control_plane.core.needs import NeedRules, Step, StepKind
from control_plane.core.snapshot_retention import offered
from control_plane.node_commands import NodeCommands
from control_plane.ports import SnapshotAdmission
from control_plane.state.fleet_state import FleetState
from control_plane.state.fleet_writer import FleetWriter
from control_plane.state.placement_writer import PlacementWriter
from schemas.commands import DestroySession, MoveSession, StartSession, StopSession
from schemas.errors import BlazzError, ErrorCode
from schemas.records import Assignment
from schemas.transport.checkpoints import At, checkpoint

LOGOUT_TRIES: Final = 3
"""A deleted session is unlinked at WhatsApp; one that cannot reach it for so many tries is
destroyed all the same: its keys go, and the phone shows a dead device."""


class Acts:
    """Carries steps out, one at a time; holds nothing."""

    def __init__(
        self,
        state: FleetState,
        writer: FleetWriter,
        placements: PlacementWriter,
        nodes: NodeCommands,
        snapshots: SnapshotAdmission,
        rules: NeedRules,
    ) -> None:
        self._state = state
        self._writer = writer
        self._placements = placements
        self._nodes = nodes
        self._snapshots = snapshots
        self._rules = rules

    async def carry_out(self, step: Step, failures: int) -> None:
        """Do it. `failures`: how often this very step has failed before. Raises `BlazzError`."""
        match step.act:
            case StepKind.FORGET:
                await self._writer.forget(step.tenant_id, step.session_id)
            case StepKind.RAISE_EPOCH:
                raised = raised_assignment(self._fleet(step), step.session_id, self._rules)
                await self._writer.raise_epoch(self._assignment(step), raised)
            case StepKind.START:
                await self._start(step)
            case StepKind.STOP:
                command = StopSession(session_id=step.session_id, epoch=step.epoch)
                await self._nodes.ask(self._assignment(step), "stop", command)
            case StepKind.DESTROY:
                await self._destroy(step, logout=failures < LOGOUT_TRIES)
                await self._writer.forget(step.tenant_id, step.session_id)
            case StepKind.REASSIGN | StepKind.UNPLACE:
                await self._place_anew(step)
            case StepKind.MOVE_OUT:
                await self._move_out(step)

    async def _start(self, step: Step) -> None:
        record = self._state.session(step.tenant_id, step.session_id)
        if record is None:
            return
        data_key, generations = await self._snapshots.admission(step.tenant_id, step.session_id)
        # Read together: the revision fences what the node writes under this very assignment.
        assignment = self._assignment(step)
        revision = self._state.assignment_revision(step.session_id)
        if assignment.epoch != step.epoch or assignment.node_id != step.node_id:
            raise BlazzError(ErrorCode.STALE_EPOCH, "the session was placed anew meanwhile")
        command = StartSession(
            session_id=step.session_id,
            epoch=step.epoch,
            tenant_id=step.tenant_id,
            engine=record.engine,
            assignment_revision=revision,
            data_key=data_key,
            generations=offered(generations, assignment.unlinked_epoch),
            unlinked_epoch=assignment.unlinked_epoch,
        )
        await self._nodes.ask(assignment, "start", command)

    async def _destroy(self, step: Step, *, logout: bool) -> None:
        command = DestroySession(session_id=step.session_id, epoch=step.epoch, logout=logout)
        try:
            await self._nodes.ask(self._assignment(step), "destroy_session", command)
        except BlazzError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise

    async def _move_out(self, step: Step) -> None:
        """Once the node has answered it runs the session no more, and this epoch never again."""
        command = MoveSession(session_id=step.session_id, epoch=step.epoch)
        await self._nodes.ask(self._assignment(step), "move", command)
        await self._place_anew(step)

    async def _place_anew(self, step: Step) -> None:
        fleet = self._fleet(step)
        expected = self._assignment(step)
        checkpoint(At.HAND_OVER_BEFORE_PLACING)
        await self._placements.reassign(expected, next_assignment(fleet, step, self._rules))
        checkpoint(At.HAND_OVER_AFTER_PLACING)

    def _fleet(self, step: Step) -> FleetSnapshot:
        return self._state.snapshot_of(step.session_id, time.monotonic(), time.time())

    def _assignment(self, step: Step) -> Assignment:
        assignment = self._state.assignment(step.session_id)
        if assignment is None or assignment.node_id != step.node_id:
            raise BlazzError(ErrorCode.STALE_EPOCH, "the session was placed anew meanwhile")
        return assignment
