"""Sessions: the port's implementation over the fleet's state and writer.

Owns what each request means for the desired state and which ones go straight to a node. Never
starts anything itself: it writes what is wanted, and the reconciler wakes on that write.
"""

import time
from typing import TypeVar

import msgspec
import uuid_utils

from control_plane.core import needs, paging
from control_plane.node_commands import NodeCommands
from control_plane.recipients import phone_digits
from control_plane.state.fleet_state import FleetState
from control_plane.state.fleet_writer import FleetWriter
from schemas import ids
from schemas.api import NewSession, Page, SessionView
from schemas.commands import (
    Command,
    GetPairingCode,
    GetQr,
    LogoutSession,
    PairingCodeAnswer,
    QrAnswer,
)
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import SessionId, TenantId
from schemas.keys import assignment_key, session_key
from schemas.records import Assignment, SessionRecord
from schemas.resources import FLEET
from schemas.states import DesiredState, EngineKind, SessionState
from schemas.transport.kv import Bucket

T = TypeVar("T", bound=msgspec.Struct)


class FleetSessions:
    """A tenant's sessions. Reads come from memory; a miss is checked on the bus, for another
    replica may have written it a moment ago."""

    def __init__(
        self,
        bucket: Bucket,
        state: FleetState,
        writer: FleetWriter,
        nodes: NodeCommands,
        *,
        default_engine: EngineKind,
    ) -> None:
        assert bucket.name == FLEET
        self._bucket = bucket
        self._state = state
        self._writer = writer
        self._nodes = nodes
        self._default_engine = default_engine

    async def create(self, tenant: TenantId, new: NewSession) -> SessionView:
        """See `ports.Sessions.create`. Also raises `session_exists`."""
        record = SessionRecord(
            session_id=ids.session_id(uuid_utils.uuid7().bytes),
            tenant_id=tenant,
            desired=DesiredState.RUNNING if new.start else DesiredState.STOPPED,
            created_at=time.time(),
            engine=new.engine or self._default_engine,
            name=new.name,
            region=new.region,
            metadata=new.metadata,
        )
        await self._writer.create(record)
        return self._view(record)

    async def list(self, tenant: TenantId, *, limit: int, cursor: str | None) -> Page[SessionView]:
        """Newest first."""
        records, after = paging.take(
            self._state.sessions(tenant),
            lambda record: (record.created_at, record.session_id),
            limit=limit,
            cursor=cursor,
        )
        return Page([self._view(record) for record in records], after is not None, after)

    async def get(self, tenant: TenantId, session: SessionId) -> SessionView:
        """Raises `session_not_found`."""
        return self._view(await self.record(tenant, session))

    async def delete(self, tenant: TenantId, session: SessionId) -> None:
        """It is gone for the tenant at once; its node is told as soon as it is alive."""
        await self._writer.change(tenant, session, DesiredState.DELETED)

    async def start(self, tenant: TenantId, session: SessionId) -> SessionView:
        """A session that ended (logged out, failed, fenced) starts anew under a new epoch."""

        def start_anew(assignment: Assignment) -> bool:
            seen = self._state.observed(assignment.session_id, time.monotonic())
            return assignment.ended is not None or needs.ended(seen)

        record = await self._writer.change(
            tenant, session, DesiredState.RUNNING, new_epoch=start_anew
        )
        return self._view(record)

    async def stop(self, tenant: TenantId, session: SessionId) -> SessionView:
        """The link stays; the engine is stopped by the reconciler."""
        return self._view(await self._writer.change(tenant, session, DesiredState.STOPPED))

    async def restart(self, tenant: TenantId, session: SessionId) -> SessionView:
        """A new epoch: the node replaces what it runs. Repeating it restarts again."""
        record = await self._writer.change(tenant, session, DesiredState.RUNNING, restart=True)
        return self._view(record)

    async def logout(self, tenant: TenantId, session: SessionId) -> SessionView:
        """Unlink at WhatsApp now (by its node), and want it stopped from then on."""
        assignment = await self.running(tenant, session)
        await self._nodes.ask(
            assignment, "logout", LogoutSession(session_id=session, epoch=assignment.epoch)
        )
        return self._view(await self._writer.change(tenant, session, DesiredState.STOPPED))

    async def qr(self, tenant: TenantId, session: SessionId, *, renew: bool) -> QrAnswer:
        """The code on show. Raises `qr_not_available`, `session_already_linked`, …"""
        assignment = await self._linking(tenant, session, ErrorCode.QR_NOT_AVAILABLE)
        command = GetQr(session_id=session, epoch=assignment.epoch, renew=renew)
        return await self._ask(assignment, "get_qr", command, QrAnswer)

    async def pairing_code(
        self, tenant: TenantId, session: SessionId, phone: str
    ) -> PairingCodeAnswer:
        """A code to type; `phone` in international form. Raises `recipient_invalid`,
        `session_not_pairing`, …"""
        digits = phone_digits(phone)
        assignment = await self._linking(tenant, session, ErrorCode.SESSION_NOT_PAIRING)
        command = GetPairingCode(session_id=session, epoch=assignment.epoch, phone=digits)
        return await self._ask(assignment, "pairing_code", command, PairingCodeAnswer)

    # For the other services ----------------------------------------------------------------------

    async def record(self, tenant: TenantId, session: SessionId) -> SessionRecord:
        """A tenant's session. Raises `session_not_found` for another's too."""
        known = self._state.session(tenant, session)
        if known is not None:
            return known
        await self._read_through(session_key(tenant, session))
        await self._read_through(assignment_key(session))
        known = self._state.session(tenant, session)
        if known is None:
            raise BlazzError(ErrorCode.SESSION_NOT_FOUND)
        return known

    async def assignment(self, tenant: TenantId, session: SessionId) -> Assignment:
        """Who runs a tenant's session. Raises `session_not_found`, `session_not_running`."""
        await self.record(tenant, session)
        assignment = self._state.assignment(session)
        if assignment is None or assignment.tenant_id != tenant:
            raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, "the session has no node")
        return assignment

    async def running(self, tenant: TenantId, session: SessionId) -> Assignment:
        """As `assignment`, and the tenant wants it to run."""
        record = await self.record(tenant, session)
        if record.desired is not DesiredState.RUNNING:
            raise BlazzError(ErrorCode.SESSION_NOT_RUNNING)
        return await self.assignment(tenant, session)

    def _view(self, record: SessionRecord) -> SessionView:
        return self._state.view(record, time.monotonic())

    async def _read_through(self, key: str) -> None:
        entry = await self._bucket.get_raw(key)
        if entry.exists:
            self._state.fold(key, entry.value, entry.revision, now=time.monotonic())

    async def _linking(
        self, tenant: TenantId, session: SessionId, not_yet: ErrorCode
    ) -> Assignment:
        """Its node, if a code can be there. `not_yet` is what a session that starts answers."""
        assignment = await self.running(tenant, session)
        view = self._view(await self.record(tenant, session))
        match view.state:
            case SessionState.ONLINE | SessionState.SYNCING:
                raise BlazzError(ErrorCode.SESSION_ALREADY_LINKED)
            case SessionState.LOGGED_OUT:
                raise BlazzError(ErrorCode.SESSION_LOGGED_OUT)
            case SessionState.FAILED:
                raise BlazzError(ErrorCode.SESSION_FAILED, view.reason or "")
            case SessionState.PENDING | SessionState.STARTING | SessionState.MOVING:
                raise BlazzError(not_yet, "the session is starting")
        return assignment

    async def _ask(self, assignment: Assignment, name: str, command: Command, kind: type[T]) -> T:
        answer = await self._nodes.ask(assignment, name, command)
        assert isinstance(answer, kind)
        return answer
