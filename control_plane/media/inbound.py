"""Media that arrived, as it is read: what is kept first, else WhatsApp's through the node.

Owns that order and the command to the node. Never keeps anything.
"""

from control_plane.media.inbound_store import InboundMediaStore, MediaPlace
from control_plane.node_commands import NodeCommands
from control_plane.state.fleet_state import FleetState
from schemas.commands import GetMedia, MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from schemas.records import Assignment
from schemas.states import MessageDirection


class InboundMedia:
    """Chunks of messages' media."""

    def __init__(self, store: InboundMediaStore, state: FleetState, nodes: NodeCommands) -> None:
        self.store = store
        self._state = state
        self._nodes = nodes

    async def read(
        self, tenant_id: str, session_id: str, message: ChatMessage, offset: int
    ) -> MediaChunk:
        """Raises `media_not_found`, `session_not_running`, `node_unreachable`, …"""
        if message.media is None:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "the message has no media")
        kept = await self.store.read(MediaPlace.of(tenant_id, session_id, message), offset)
        if kept is not None:
            return kept
        assignment = self._state.assignment(session_id)
        if assignment is None or assignment.tenant_id != tenant_id:
            raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, "the session has no node")
        return await self.ask(assignment, message, offset)

    async def ask(self, assignment: Assignment, message: ChatMessage, offset: int) -> MediaChunk:
        """From WhatsApp. Raises what the node refused with, and `node_unreachable`."""
        command = GetMedia(
            session_id=assignment.session_id,
            epoch=assignment.epoch,
            message_id=message.message_id,
            chat_id=message.chat_id,
            from_me=message.direction is MessageDirection.OUTBOUND,
            participant=message.from_id if message.chat_id.endswith("@g.us") else None,
            offset=offset,
        )
        chunk = await self._nodes.ask(assignment, "get_media", command)
        assert isinstance(chunk, MediaChunk)
        return chunk
