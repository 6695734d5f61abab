"""Endings: everything that a message's final state entails, in an order that can be repeated.

Owns that order: dead letter, event, ledger, and last the removal from the lane. A crash between
two steps costs nothing: the message is still in its lane, and the next dispatcher does them again.
The dead letter is first, for it says how the message ended: whoever repeats the rest repeats that
end, and no other. Never decides a final state.
"""

import time
from collections.abc import Callable

import msgspec
import structlog

from control_plane import metrics
from control_plane.core import ledger_fold
from control_plane.core.delivery import GiveUp
from control_plane.ledger.port import Ledger
from control_plane.pacing.contacts import Contacts
from control_plane.state.fleet_state import FleetState
from schemas import log_keys
from schemas.commands import SendAnswer
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, MessageFailed, MessageUnknown
from schemas.facts import fact_event_id
from schemas.messages import ChatMessage
from schemas.records import DeadLetter, OutboxItem
from schemas.resources import DEAD_LETTERS, OUTBOX
from schemas.states import MessageState
from schemas.subjects import CONTROL_PLANE, dead_letter, event
from schemas.transport import typed
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream

log = structlog.get_logger()


class Done(msgspec.Struct, frozen=True):
    """The message reached its final state and has left the lane."""

    state: MessageState


class Endings:
    """What all lanes share to end a message."""

    def __init__(self, bus: Bus, state: FleetState, ledger: Ledger, contacts: Contacts) -> None:
        self._bus = bus
        self._jetstream = JetStream(bus)
        self._state = state
        self._ledger = ledger
        self._contacts = contacts

    async def answered(
        self, sequence: int, item: OutboxItem, answer: SendAnswer, attempts: int
    ) -> Done:
        """The node's answer was final."""
        at = time.time()

        def finish(message: ChatMessage) -> ChatMessage:
            done = ledger_fold.finish(
                message, answer.state, at, answer.error_code, answer.error_detail, answer.chat_id
            )
            ack = ledger_fold.higher(done.ack, answer.ack)
            return msgspec.structs.replace(done, ack=ack)

        if answer.state is not MessageState.SENT:
            code = answer.error_code or ErrorCode.INTERNAL.value
            detail = answer.error_detail
            if answer.state is MessageState.UNKNOWN:
                detail = detail or "the session's node could not find out"
            await self._bury(item, answer.state, code, detail, attempts)
        if answer.chat_id is not None and answer.chat_id != item.to:
            await self._learn_alias(item, answer.chat_id)
        return await self._end(sequence, item, answer.state, finish)

    async def _learn_alias(self, item: OutboxItem, chat_id: str) -> None:
        try:
            await self._contacts.learn_alias(item.tenant_id, item.session_id, item.to, chat_id)
        except BlazzError as error:
            # The next message to that chat teaches it again.
            log.info("pacing.alias_not_kept", **{log_keys.CODE: error.code})

    async def given_up(self, sequence: int, item: OutboxItem, given_up: GiveUp) -> Done:
        """Nothing more will be tried."""
        code, detail = given_up.code.value, given_up.detail or None
        letter = await self._bury(item, given_up.state, code, detail, given_up.attempts)
        return await self._end_buried(sequence, letter)

    async def resumed(self, sequence: int, item: OutboxItem) -> Done | None:
        """Go on with an ending that was interrupted; None if none was begun."""
        grave = dead_letter(item.tenant_id, item.session_id, item.message_id)
        stored = await self._jetstream.last_by_subject(DEAD_LETTERS, grave)
        letter = typed.decode(stored.data, DeadLetter) if stored is not None else None
        if letter is None or letter.item.redrives != item.redrives:
            return None
        await self._tell(letter)
        return await self._end_buried(sequence, letter)

    async def _end_buried(self, sequence: int, letter: DeadLetter) -> Done:
        return await self._end(
            sequence,
            letter.item,
            letter.state,
            lambda message: ledger_fold.finish(
                message, letter.state, letter.died_at, letter.error_code, letter.error_detail
            ),
        )

    async def _bury(
        self, item: OutboxItem, state: MessageState, code: str, detail: str | None, attempts: int
    ) -> DeadLetter:
        letter = DeadLetter(item, attempts, code, time.time(), detail, state)
        grave = dead_letter(item.tenant_id, item.session_id, item.message_id)
        await typed.publish_durable(self._bus, grave, letter, item.stored_id)
        await self._tell(letter)
        return letter

    async def _tell(self, letter: DeadLetter) -> None:
        """Tell how it ended: no node can say that a message was given up."""
        item = letter.item
        kind = MessageUnknown if letter.state is MessageState.UNKNOWN else MessageFailed
        data = kind(item.message_id, item.to, letter.error_code, letter.error_detail, item.redrives)
        event_id = fact_event_id(item.session_id, data)
        assert event_id is not None
        assignment = self._state.assignment(item.session_id)
        told = Event(
            event_id=event_id,
            at=letter.died_at,
            tenant_id=item.tenant_id,
            session_id=item.session_id,
            node_id=CONTROL_PLANE,
            epoch=assignment.epoch if assignment else 0,
            data=data,
        )
        subject = event(CONTROL_PLANE, item.tenant_id, item.session_id, data)
        await typed.publish_durable(self._bus, subject, told, event_id)

    async def _end(
        self,
        sequence: int,
        item: OutboxItem,
        state: MessageState,
        finish: Callable[[ChatMessage], ChatMessage],
    ) -> Done:
        def change(old: ChatMessage | None) -> ChatMessage:
            # The API may have died between the outbox and the ledger: the item has it all.
            lived = ledger_fold.accepted(item) if old is None else old
            return finish(ledger_fold.redriven(lived, item.redrives, item.entered_at))

        checkpoint(At.LEDGER_BEFORE_WRITE)
        await self._ledger.change(item.tenant_id, item.session_id, item.message_id, change)
        checkpoint(At.DELETE_BEFORE)
        await self._jetstream.delete_message(OUTBOX, sequence)
        checkpoint(At.DELETE_AFTER)
        kind = ledger_fold.accepted(item).kind
        metrics.MESSAGES.labels(direction="outbound", kind=kind, result=state).inc()
        metrics.SEND_SECONDS.observe(max(0.0, time.time() - item.entered_at))
        log.info(
            "message.finished",
            **{
                log_keys.TENANT: item.tenant_id,
                log_keys.SESSION: item.session_id,
                log_keys.MESSAGE: item.message_id,
                log_keys.STATE: state,
            },
        )
        return Done(state)
