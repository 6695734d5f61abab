"""Routes of snapshots: what is kept of a session's saved states.

Owns the HTTP shape of `ports.Snapshots`. Never hands out a key or anything of a snapshot itself.
"""

from typing import Any

from litestar import get
from litestar.params import FromPath

from control_plane.http.auth import Scope, access
from control_plane.http.dependencies import Caller, Ports
from schemas.api_snapshots import SnapshotsView
from schemas.errors import ErrorCode as C
from schemas.ids import SessionId


@get(
    "/sessions/{session_id:str}/snapshots",
    operation_id="listSnapshots",
    summary="List a session's snapshots",
    description="Its generations, newest first, and what each is good for. What is in them stays "
    "sealed; no key is ever told.",
    tags=["Sessions"],
    opt=access(Scope.SESSIONS, C.SESSION_NOT_FOUND, C.NATS_UNAVAILABLE),
)
async def list_snapshots(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> SnapshotsView:
    """`GET …/snapshots`"""
    return await services.snapshots.generations(caller.tenant_id, session_id)


ROUTES: list[Any] = [list_snapshots]
