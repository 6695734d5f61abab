"""Messages: acceptance into a session's lane, and reading the ledger.

Owns the moment of acceptance. Never sends: a dispatcher works the lanes off. From the durable
append on, a message ends exactly once as sent, failed or unknown.
"""

import secrets
import time
from typing import Final

import structlog

from control_plane.access.id_secret import IdSecret
from control_plane.core import ledger_fold, media_kinds, text_search
from control_plane.core.message_identity import OnceKey, derived_id
from control_plane.ledger.port import Ledger, LedgerQuery
from control_plane.media.inbound import InboundMedia
from control_plane.media.store import JetStreamMediaStore
from control_plane.outbox import OutboxLanes
from control_plane.pacing.book import PacingBook
from control_plane.sessions import FleetSessions
from schemas import ids, log_keys
from schemas.api import Page
from schemas.commands import MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId, MessageId, SessionId, TenantId
from schemas.messages import ChatMessage, Content, Delete, Media
from schemas.records import OutboxItem
from schemas.transport.checkpoints import At, checkpoint

log = structlog.get_logger()

_MESSAGE_RANDOM_BYTES: Final = 9


class LaneMessages:
    """A tenant's messages."""

    def __init__(
        self,
        outbox: OutboxLanes,
        book: PacingBook,
        id_secret: IdSecret,
        sessions: FleetSessions,
        ledger: Ledger,
        media: JetStreamMediaStore,
        inbound: InboundMedia,
    ) -> None:
        self._outbox = outbox
        self._book = book
        self._id_secret = id_secret
        self._sessions = sessions
        self._ledger = ledger
        self._media = media
        self._inbound = inbound

    async def accept(
        self,
        tenant: TenantId,
        session: SessionId,
        to: ChatId,
        content: Content,
        once: OnceKey | None = None,
    ) -> ChatMessage:
        """See `ports.Messages.accept`. Raises `session_not_found`, `media_not_found`,
        `media_unsupported`, `recipient_opted_out`, `queue_full`; `nats_unavailable` or `timeout`
        (with `message_id` in its fields: it may have been accepted)."""
        await self._sessions.record(tenant, session)
        if once is None:
            message_id = ids.message_id(secrets.token_bytes(_MESSAGE_RANDOM_BYTES))
        else:
            message_id = derived_id(await self._id_secret.get(), tenant, session, once)
            known = await self._known(tenant, session, message_id, look_in_lane=once.seen_before)
            if known is not None:
                return known
        if self._book.opted_out(tenant, to) and not isinstance(content, Delete):
            raise BlazzError(ErrorCode.RECIPIENT_OPTED_OUT)
        if isinstance(content, Media):
            await self._check_media(tenant, content)
        await self._outbox.check_room(tenant, session)
        item = OutboxItem(
            message_id=message_id,
            tenant_id=tenant,
            session_id=session,
            to=to,
            content=content,
            accepted_at=time.time(),
        )
        checkpoint(At.ACCEPT_BEFORE_APPEND)
        await self._append(item)
        checkpoint(At.ACCEPT_AFTER_APPEND)
        return await self._record(item)

    async def _record(self, item: OutboxItem) -> ChatMessage:
        """Write it into the ledger, as it stands when it was accepted."""
        message = ledger_fold.accepted(item)
        try:
            # The dispatcher may have been quicker: then its word stands.
            stands = await self._ledger.change(
                item.tenant_id,
                item.session_id,
                item.message_id,
                lambda old: message if old is None else None,
                likely_new=True,
            )
        except BlazzError as error:
            # It is accepted all the same: the lane has it, and its end writes the ledger.
            log.warning(
                "message.ledger_late",
                **{log_keys.MESSAGE: item.message_id, log_keys.CODE: error.code},
            )
            return message
        return stands or message

    async def _check_media(self, tenant: TenantId, content: Media) -> None:
        held = await self._media.ref(tenant, content.media.media_id)
        if held != content.media:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND)
        if not media_kinds.kind_fits(content.kind, held.mimetype):
            detail = f"{held.mimetype} cannot be sent as {content.kind}"
            raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, detail)

    async def _append(self, item: OutboxItem) -> None:
        try:
            await self._outbox.append(item)
        except BlazzError as error:
            if error.code not in (ErrorCode.TIMEOUT, ErrorCode.NATS_UNAVAILABLE):
                raise
            # It may lie in the lane all the same: this is how to find out.
            raise BlazzError(error.code, error.detail, message_id=item.message_id) from error

    async def _known(
        self, tenant: TenantId, session: SessionId, message: MessageId, *, look_in_lane: bool
    ) -> ChatMessage | None:
        """What was accepted under this id before: in the ledger, or in the lane alone."""
        found = await self._ledger.get(tenant, session, message)
        if found is None and look_in_lane:
            item = await self._outbox.find(tenant, session, message)
            return None if item is None else await self._record(item)
        return found

    async def wait_final(
        self, tenant: TenantId, session: SessionId, message: MessageId, *, timeout_s: float
    ) -> ChatMessage:
        """See `ports.Messages.wait_final`. Raises `message_not_found`."""
        await self._sessions.record(tenant, session)
        found = await self._ledger.wait_final(tenant, session, message, timeout_s=timeout_s)
        if found is not None:
            return found
        # One that lies in the lane alone is written down: else there is nothing to wait for.
        known = _found(await self._known(tenant, session, message, look_in_lane=True))
        found = await self._ledger.wait_final(tenant, session, message, timeout_s=timeout_s)
        return found or known

    async def list(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        chat: str | None,
        text: str | None = None,
        limit: int,
        cursor: str | None,
    ) -> Page[ChatMessage]:
        """Newest first. Raises `session_not_found`, `validation_failed`."""
        await self._sessions.record(tenant, session)
        words = text_search.words_of(text) if text is not None else ()
        query = LedgerQuery(chat=chat, words=words, limit=limit, cursor=cursor)
        return await self._ledger.list(tenant, session, query)

    async def get(self, tenant: TenantId, session: SessionId, message: MessageId) -> ChatMessage:
        """Raises `session_not_found`, `message_not_found`."""
        await self._sessions.record(tenant, session)
        found = await self._ledger.get(tenant, session, message)
        return _found(found or await self._in_lane(tenant, session, message))

    async def _in_lane(
        self, tenant: TenantId, session: SessionId, message: MessageId
    ) -> ChatMessage | None:
        """A message whose acceptance the ledger does not know: its process died in between."""
        item = await self._outbox.find(tenant, session, message)
        return None if item is None else ledger_fold.accepted(item)

    async def erase(self, tenant: TenantId, session: SessionId, *, chat: str | None) -> None:
        """See `ports.Messages.erase`. Raises `session_not_found`."""
        await self._sessions.record(tenant, session)
        await self._ledger.erase(tenant, session_id=session, chat=chat)
        await self._inbound.store.erase(tenant, session, chat=chat)

    async def media(
        self, tenant: TenantId, session: SessionId, message: MessageId, offset: int
    ) -> MediaChunk:
        """What is kept, else through the session's node. Raises `media_not_found`,
        `node_unreachable`, …"""
        found = await self.get(tenant, session, message)
        return await self._inbound.read(tenant, session, found, offset)


def _found(message: ChatMessage | None) -> ChatMessage:
    if message is None:
        raise BlazzError(ErrorCode.MESSAGE_NOT_FOUND)
    return message
