"""The folder: EVENTS into the ledger, by one durable reader that all replicas share.

Owns consumption, order per message and what happens to an event that cannot be folded. Never
decides what an event means, nor how long one waits that is ahead of its message (`early`).
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final

import structlog

from control_plane import metrics
from control_plane.core.ledger_fold import fold, message_id_of
from control_plane.feed.event_work import event_of
from control_plane.ledger.early import EarlyEvents
from control_plane.ledger.port import Ledger
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, MessageReceived, SessionStateChanged
from schemas.resources import EVENTS
from schemas.subjects import EVENTS_ALL
from schemas.transport.background import Background
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.connection import Bus
from schemas.transport.durable import DurableSpec, InHand, Work, consume

log = structlog.get_logger()

ERROR_CODES: Final = frozenset(code.value for code in ErrorCode)
DURABLE: Final = DurableSpec(
    name="ledger",
    subject=EVENTS_ALL,
    # What a killed replica had in hand is folded by another after this; a living one renews.
    ack_wait_s=3.0,
    # Those that are ahead of their message wait in hand, `early.WAITING_MAX` of each replica.
    max_ack_pending=4096,
)
_LINES: Final = 8
_LINE_MAX: Final = 32
_AGAIN_AFTER_S: Final = 1.0


async def fold_events(bus: Bus, ledger: Ledger) -> None:
    """Fold for ever. A message's events go through one line, one after the other."""
    lines = [asyncio.Queue[tuple[Work, Event]](_LINE_MAX) for _ in range(_LINES)]
    in_hand = InHand(DURABLE)

    async def fold_one(work: Work, seen: Event, last: bool) -> bool:
        return await _fold_and_answer(work, seen, last, ledger, in_hand)

    async with Background() as tasks:
        early = EarlyEvents(fold_one, tasks)
        tasks.start(in_hand.run(), name="ledger fold renewal")
        for number, line in enumerate(lines):
            tasks.start(_work_off(line, early), name=f"ledger fold {number}")
        async with aclosing(consume(bus, EVENTS, DURABLE, batch=_LINE_MAX)) as works:
            async for work in works:
                seen = await _read(work)
                if seen is not None:
                    in_hand.take(work)
                    key = message_id_of(seen.data) or seen.session_id
                    await lines[hash(key) % _LINES].put((work, seen))


async def _read(work: Work) -> Event | None:
    """The event, or None if it is not one: then it is given up."""
    seen = event_of(work)
    if seen is None:
        await _quietly_give_up(work)
    return seen


async def _quietly_give_up(work: Work) -> None:
    try:
        await work.give_up()
    except BlazzError as error:
        log.debug("ledger.give_up_failed", code=error.code)


async def _work_off(line: asyncio.Queue[tuple[Work, Event]], early: EarlyEvents[Work]) -> None:
    while True:
        await early.take(*await line.get())


async def _fold_and_answer(
    work: Work, seen: Event, last: bool, ledger: Ledger, in_hand: InHand
) -> bool:
    """See `early.Fold`. What can't be folded now comes again."""
    known = True
    try:
        checkpoint(At.FOLD_BEFORE)
        known = await _fold_one(seen, ledger)
        if not (known or last):
            return False
        checkpoint(At.FOLD_AFTER)
        in_hand.leave(work)
        await work.ack()
    except BlazzError as error:
        in_hand.leave(work)
        log.info(
            "ledger.fold_postponed",
            **{log_keys.CODE: error.code, log_keys.SESSION: seen.session_id},
        )
        try:
            await work.again(_AGAIN_AFTER_S)
        except BlazzError as away:
            # It comes again by itself after the durable's ack wait.
            log.debug("ledger.nak_failed", code=away.code)
        return True
    return known


def _reason_label(reason: str | None) -> str:
    """A reason as a label: our own codes only, for a free text would make labels without end."""
    if reason is None:
        return ""
    return reason if reason in ERROR_CODES else "other"


async def _fold_one(seen: Event, ledger: Ledger) -> bool:
    """False: the ledger does not know the message that it is about."""
    data = seen.data
    if isinstance(data, SessionStateChanged):
        # By position: `from` is a word of the language.
        metrics.TRANSITIONS.labels(data.previous, data.state, _reason_label(data.reason)).inc()
    message_id = message_id_of(data)
    if message_id is not None:
        stands = await ledger.change(
            seen.tenant_id,
            seen.session_id,
            message_id,
            lambda old: fold(old, data, session_id=seen.session_id, at=seen.at),
        )
        if stands is None and not isinstance(data, MessageReceived):
            return False
    if isinstance(data, MessageReceived):
        metrics.MESSAGES.labels(
            direction=data.message.direction, kind=data.message.kind, result=data.message.state
        ).inc()
    metrics.EVENT_LAG.set(max(0.0, time.time() - seen.at))
    return True
