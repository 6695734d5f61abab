"""What was told: answers a node which events of a session the stream has, or that it is erased.

Owns the reading of ids alone (the server sends no payloads) and the page's bound. The subject
names the node that asks (the server lets no other publish there). Never says what an event was.

A node asks when the stream's duplicate window may not reach back far enough: after a restart, a
move, an outage. While one node alone has told of a session there is nothing to read.
"""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from schemas import ids
from schemas.commands import AskTold, Told
from schemas.envelope import HEADER_MESSAGE_ID
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import erasure_key
from schemas.records import ErasureRecord
from schemas.resources import ACCESS, EVENTS
from schemas.subjects import (
    ALL_NODE_TOLD,
    CONTROL_PLANE,
    events_of_session,
    node_of_event_subject,
    node_told,
)
from schemas.transport import typed
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from schemas.transport.streams import run_consumer

_QUEUE_GROUP: Final = "told"
PAGE_MAX: Final = 4000
"""Ids in one answer: some 140 kB."""


@asynccontextmanager
async def serve_told(bus: Bus, *, page_max: int = PAGE_MAX) -> AsyncIterator[None]:
    """For the block, answer `AskTold`; replicas share the questions."""
    jetstream = JetStream(bus)
    access = Bucket(bus, ACCESS)

    async def answer(asked: AskTold, message: BusMessage) -> Told:
        if message.subject != node_told(asked.node_id):
            raise BlazzError(ErrorCode.FORBIDDEN, "a node asks under its own name")
        if await _erased(access, asked):
            return Told(seq=asked.after_seq, erased=True)
        return await _told(jetstream, asked, page_max)

    async with typed.serve(bus, ALL_NODE_TOLD, AskTold, answer, queue_group=_QUEUE_GROUP):
        yield


async def _erased(access: Bucket, asked: AskTold) -> bool:
    """Whether the tenant was erased, or is being, since this session began. One of that name that
    comes later has other sessions. Known for as long as the erasure's proof is kept, 90 days."""
    erasure = (await access.get(erasure_key(asked.tenant_id), ErasureRecord)).value
    if erasure is None:
        return False
    return ids.session_made_at(asked.session_id) <= (erasure.finished_at or time.time())


async def _told(jetstream: JetStream, asked: AskTold, page_max: int) -> Told:
    subject = events_of_session(asked.tenant_id, asked.session_id)
    # First the end, then what lies before it: what comes meanwhile is young enough for the window.
    state = (await jetstream.stream_info(EVENTS)).state
    subjects = await jetstream.subjects(EVENTS, subject)
    # What a control plane told, no node tells.
    nodes = {node_of_event_subject(one) for one in subjects} - {CONTROL_PLANE}
    if not nodes or (asked.after_seq and nodes == {asked.node_id}):
        return Told(seq=max(asked.after_seq, state.last_seq))
    return await _page(jetstream, subject, asked.after_seq, state.last_seq, page_max)


async def _page(
    jetstream: JetStream, subject: str, after_seq: int, last_seq: int, page_max: int
) -> Told:
    found: list[str] = []
    config = {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after_seq + 1,
        "filter_subject": subject,
        "headers_only": True,
    }
    async with aclosing(run_consumer(jetstream, EVENTS, config)) as deliveries:
        async for delivery in deliveries:
            message = delivery.message
            if message is not None:
                found.append(message.headers.get(HEADER_MESSAGE_ID, ""))
                if len(found) >= page_max and delivery.pending:
                    return Told(seq=message.seq, event_ids=tuple(found), more=True)
            if delivery.pending == 0:
                end = message.seq if message is not None else 0
                return Told(seq=max(last_seq, end), event_ids=tuple(found))
    raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "the reading was interrupted")
