"""Dead letters: messages that ended as `failed` or `unknown`, and their way back.

Owns listing, redriving and dropping. A redrive is a person's explicit act and the only way back
from a final state. Its steps (append, ledger, removal) can each be repeated: the message keeps its
id, which the node looks up before it sends, and its life's number, by which a late word about an
earlier life is told from this one's.
"""

import time
from collections import Counter
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane.core import ledger_fold, paging
from control_plane.ledger.port import Ledger
from control_plane.outbox import OutboxLanes
from control_plane.sessions import FleetSessions
from schemas import log_keys
from schemas.api import Page
from schemas.api_sending import DeadLetterCount, DeadLetterView, RedriveView
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import MessageId, SessionId, TenantId
from schemas.messages import ChatMessage
from schemas.records import DeadLetter
from schemas.resources import DEAD_LETTERS
from schemas.states import MessageState
from schemas.subjects import (
    DEAD_ALL,
    dead_letter,
    dead_letters,
    dead_of_tenant,
    session_of_dead_letter,
)
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream, StoredMessage
from schemas.transport.streams import read_last_per_subject
from schemas.transport.typed import decode

log = structlog.get_logger()

REDRIVES_AT_ONCE_MAX: Final = 1_000
"""A request that redrives all takes this many at most; the rest is for the next one."""


class Grave(msgspec.Struct, frozen=True):
    """A dead letter and where it lies."""

    sequence: int
    letter: DeadLetter

    @classmethod
    def of(cls, stored: StoredMessage) -> "Grave":
        """Read it. Raises `malformed_request`."""
        return cls(stored.seq, decode(stored.data, DeadLetter))


class StreamDeadLetters:
    """Implements `ports.DeadLetters`."""

    def __init__(
        self, bus: Bus, sessions: FleetSessions, outbox: OutboxLanes, ledger: Ledger
    ) -> None:
        self._jetstream = JetStream(bus)
        self._sessions = sessions
        self._outbox = outbox
        self._ledger = ledger

    async def list(
        self, tenant: TenantId, session: SessionId, *, limit: int, cursor: str | None
    ) -> Page[DeadLetterView]:
        """Newest first: by when they died."""
        graves = await self._all(tenant, session)
        page, after = paging.take(
            graves,
            lambda grave: (grave.letter.died_at, grave.letter.item.message_id),
            limit=limit,
            cursor=cursor,
        )
        return Page([_view(grave.letter) for grave in page], after is not None, after)

    async def counts(self, tenant: TenantId | None) -> tuple[DeadLetterCount, ...]:
        """See `ports.DeadLetters.counts`. Reads no letter: the stream is asked for its subjects."""
        below = DEAD_ALL if tenant is None else dead_of_tenant(tenant)
        held: Counter[tuple[str, str]] = Counter()
        for subject, number in (await self._jetstream.subjects(DEAD_LETTERS, below)).items():
            held[session_of_dead_letter(subject)] += number
        found = [DeadLetterCount(*whose, number) for whose, number in held.items()]
        return tuple(sorted(found, key=lambda each: (-each.count, each.tenant_id, each.session_id)))

    async def get(self, tenant: TenantId, session: SessionId, message: MessageId) -> DeadLetterView:
        """Raises `session_not_found`, `dead_letter_not_found`."""
        return _view((await self._find(tenant, session, message)).letter)

    async def drop(self, tenant: TenantId, session: SessionId, message: MessageId) -> None:
        """Remove it; the message's end stays in the ledger."""
        grave = await self._find(tenant, session, message)
        await self._jetstream.delete_message(DEAD_LETTERS, grave.sequence)

    async def redrive(
        self, tenant: TenantId, session: SessionId, message: MessageId, *, force: bool
    ) -> ChatMessage:
        """See `ports.DeadLetters.redrive`."""
        grave = await self._find(tenant, session, message)
        if grave.letter.state is MessageState.UNKNOWN and not force:
            raise BlazzError(
                ErrorCode.REDRIVE_UNSAFE, grave.letter.error_detail or grave.letter.error_code
            )
        return await self._redrive(grave)

    async def redrive_all(
        self, tenant: TenantId, session: SessionId, *, force: bool
    ) -> RedriveView:
        """See `ports.DeadLetters.redrive_all`."""
        found = await self._all(tenant, session)
        # In the order in which they were accepted: they go to the end of their lane one by one.
        graves = sorted(found, key=lambda grave: grave.letter.item.accepted_at)
        safe = [g for g in graves if force or g.letter.state is not MessageState.UNKNOWN]
        for grave in safe[:REDRIVES_AT_ONCE_MAX]:
            await self._redrive(grave)
        redriven = min(len(safe), REDRIVES_AT_ONCE_MAX)
        return RedriveView(
            redriven=redriven, left=len(safe) - redriven, unsafe=len(graves) - len(safe)
        )

    async def _redrive(self, grave: Grave) -> ChatMessage:
        letter = grave.letter
        item = msgspec.structs.replace(
            letter.item,
            redrives=letter.item.redrives + 1,
            redriven_at=time.time(),
            doubt=letter.error_code if letter.state is MessageState.UNKNOWN else "",
        )
        await self._outbox.check_room(item.tenant_id, item.session_id)
        known = await self._ledger.get(item.tenant_id, item.session_id, item.message_id)
        if known is None or known.redrives < item.redrives:
            await self._outbox.append(item)

        def change(old: ChatMessage | None) -> ChatMessage:
            lived = ledger_fold.accepted(letter.item) if old is None else old
            return ledger_fold.redriven(lived, item.redrives, item.entered_at)

        stands = await self._ledger.change(item.tenant_id, item.session_id, item.message_id, change)
        await self._jetstream.delete_message(DEAD_LETTERS, grave.sequence)
        log.info(
            "message.redriven",
            **{
                log_keys.TENANT: item.tenant_id,
                log_keys.SESSION: item.session_id,
                log_keys.MESSAGE: item.message_id,
            },
        )
        return stands or ledger_fold.accepted(item)

    async def _find(self, tenant: TenantId, session: SessionId, message: MessageId) -> Grave:
        await self._sessions.record(tenant, session)
        subject = dead_letter(tenant, session, message)
        stored = await self._jetstream.last_by_subject(DEAD_LETTERS, subject)
        if stored is None:
            raise BlazzError(ErrorCode.DEAD_LETTER_NOT_FOUND)
        return Grave.of(stored)

    async def _all(self, tenant: TenantId, session: SessionId) -> tuple[Grave, ...]:
        await self._sessions.record(tenant, session)
        subject = dead_letters(tenant, session)
        found = read_last_per_subject(self._jetstream, DEAD_LETTERS, subject)
        async with aclosing(found) as graves:
            return tuple([Grave.of(stored) async for stored in graves])


def _view(letter: DeadLetter) -> DeadLetterView:
    message = ledger_fold.accepted(letter.item)
    return DeadLetterView(
        message_id=letter.item.message_id,
        session_id=letter.item.session_id,
        state=letter.state,
        chat_id=letter.item.to,
        kind=message.kind,
        accepted_at=letter.item.accepted_at,
        died_at=letter.died_at,
        attempts=letter.attempts,
        redrives=letter.item.redrives,
        error_code=letter.error_code,
        error_detail=letter.error_detail,
        text=message.text,
    )
