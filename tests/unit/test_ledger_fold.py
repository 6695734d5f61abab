"""The ledger's fold: what of each kind is kept, and what votes and deletes make of it."""

import msgspec
import pytest

from control_plane.core.ledger_fold import accepted, fold
from schemas.events import EventData, MessageDeleted, PollVote
from schemas.messages import (
    ChatMessage,
    ContactCard,
    Contacts,
    Content,
    Delete,
    Edit,
    Forward,
    InboundMedia,
    Location,
    Media,
    MediaRef,
    MessageRef,
    Poll,
    Reaction,
    Text,
    kind_of,
)
from schemas.records import OutboxItem
from schemas.states import MessageKind

TO, ID, OTHER_ID = "15550002@c.us", "3EB0" + "0" * 18, "3EB0" + "1" * 18
REF = MediaRef("med_" + "0" * 26, "image/png", 68, "ab" * 32, "a.png")
TARGET = MessageRef(OTHER_ID, TO, from_me=True)
CARD = ContactCard("Ann", "15550009")
PLACE = Location(1.0, 2.0, "here", reply_to=OTHER_ID)
POLL = Poll("When?", ("now", "later"))


def taken(content: Content) -> ChatMessage:
    return accepted(OutboxItem(ID, "acme", "ses_1", TO, content, 5.0))


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (
            Text("hi", reply_to=OTHER_ID, mentions=(TO,)),
            {"text": "hi", "reply_to": OTHER_ID, "mentions": (TO,)},
        ),
        (
            Media(MessageKind.IMAGE, REF, "cap", mentions=(TO,)),
            {
                "text": "cap",
                "media": InboundMedia("image/png", 68, "a.png"),
                "mentions": (TO,),
            },
        ),
        (PLACE, {"location": PLACE, "reply_to": OTHER_ID}),
        (Contacts((CARD,)), {"contacts": (CARD,)}),
        (POLL, {"poll": POLL}),
        (Reaction(TARGET, "👍"), {"target_id": OTHER_ID, "text": "👍"}),
        (Edit(TARGET, "new"), {"target_id": OTHER_ID, "text": "new"}),
        (Delete(TARGET), {"target_id": OTHER_ID}),
        (Forward(TARGET), {"target_id": OTHER_ID, "forwarded": True}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_keeps_what_is_in_it_and_nothing_else(
    content: Content, kept: dict[str, object]
) -> None:
    message = taken(content)
    assert message.kind is kind_of(content)
    plain = taken(Delete(TARGET))
    told = msgspec.structs.asdict(message)
    expected = msgspec.structs.asdict(plain) | {"kind": message.kind, "target_id": None} | kept
    assert told == expected


def folded(message: ChatMessage, *coming: EventData) -> ChatMessage:
    for data in coming:
        message = fold(message, data, session_id="ses_1", at=9.0) or message
    return message


def test_a_voters_last_vote_counts() -> None:
    poll = taken(POLL)
    one, other = "15550003@c.us", "15550004@c.us"
    now, later = PollVote(ID, TO, one, ("now",)), PollVote(ID, TO, one, ("later",))
    both = PollVote(ID, TO, other, ("later", "now"))
    assert folded(poll, now, later, both).poll_votes == {"now": (other,), "later": (one, other)}
    stray = PollVote(ID, TO, other, ("no such option",))
    assert folded(poll, now, stray).poll_votes == {"now": (one,)}
    assert folded(poll, now, PollVote(ID, TO, one)).poll_votes == {}
    assert fold(folded(poll, now), now, session_id="ses_1", at=9.0) is None


@pytest.mark.parametrize("content", [PLACE, Contacts((CARD,)), POLL, Text("hi", mentions=(TO,))])
def test_nothing_is_left_of_what_was_deleted(content: Content) -> None:
    gone = folded(taken(content), PollVote(ID, TO, TO, ("now",)), MessageDeleted(ID, TO))
    assert gone.deleted
    assert (gone.text, gone.location, gone.contacts, gone.poll, gone.poll_votes, gone.mentions) == (
        None,
        None,
        (),
        None,
        {},
        (),
    )
