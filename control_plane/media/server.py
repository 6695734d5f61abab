"""Media for nodes: answers a node that fetches what it is to send.

Owns the check of who asks: the subject names the node (the server lets no other publish there),
the assignment names the session's node and tenant, and the media must be that tenant's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from control_plane.media.store import JetStreamMediaStore
from control_plane.state.fleet_state import FleetState
from schemas.commands import FetchMedia, MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.subjects import ALL_NODE_MEDIA, node_media
from schemas.transport import typed
from schemas.transport.connection import Bus, BusMessage

_QUEUE_GROUP = "media"


@asynccontextmanager
async def serve_media(
    bus: Bus, state: FleetState, store: JetStreamMediaStore
) -> AsyncIterator[None]:
    """For the block, answer `FetchMedia`; replicas share the requests."""

    async def answer(wanted: FetchMedia, message: BusMessage) -> MediaChunk:
        assignment = state.assignment(wanted.session_id)
        if (
            message.subject != node_media(wanted.node_id)
            or assignment is None
            or assignment.node_id != wanted.node_id
        ):
            raise BlazzError(ErrorCode.FORBIDDEN, "the session is not this node's")
        return await store.read(assignment.tenant_id, wanted.media_id, wanted.offset)

    async with typed.serve(bus, ALL_NODE_MEDIA, FetchMedia, answer, queue_group=_QUEUE_GROUP):
        yield
