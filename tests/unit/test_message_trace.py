"""A message's way from what is kept of it, also where much is gone."""

from control_plane.core.message_trace import concerns, not_known, steps
from schemas.api_sending import DeadLetterView
from schemas.events import Event, MessageAck, MessageEdited, MessageSent
from schemas.messages import ChatMessage
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from schemas.webhooks import Attempt, DeliveryState, DeliveryView

ID, OTHER = "3EB0" + "0" * 18, "3EB0" + "1" * 18
CHAT = "6281@c.us"
EVENT = "evt_" + "0" * 26
MESSAGE = ChatMessage(
    message_id=ID,
    session_id="ses_" + "0" * 26,
    direction=MessageDirection.OUTBOUND,
    kind=MessageKind.TEXT,
    state=MessageState.SENT,
    chat_id=CHAT,
    created_at=100.0,
    state_at=103.0,
)


def event(at: float, data: MessageSent | MessageAck | MessageEdited) -> Event:
    return Event(EVENT, at, "acme", MESSAGE.session_id, "node-a", 7, data)


def test_steps_are_in_order_and_each_has_its_place() -> None:
    told = [event(105.0, MessageAck(ID, CHAT, Ack.READ)), event(103.0, MessageSent(ID, CHAT))]
    attempt = Attempt(at=104.0, duration_s=0.1, http_code=500, error="http_error")
    delivery = DeliveryView(
        EVENT,
        "message.sent",
        MESSAGE.session_id,
        9,
        103.0,
        DeliveryState.WAITING,
        (attempt,),
        130.0,
    )
    made = steps(MESSAGE, told, None, [("whk_1", delivery)])
    assert [step.what for step in made] == [
        "accepted",
        "message.sent",
        "webhook.attempt",
        "message.ack",
        "webhook.due",
    ]
    assert (made[1].node_id, made[1].epoch) == ("node-a", 7)
    assert (made[2].http_code, made[2].error_code) == (500, "http_error")
    assert made[3].detail == "read"
    assert len(not_known(MESSAGE, made)) == 1


def test_what_the_stream_no_longer_has_comes_from_the_ledger_and_is_called_so() -> None:
    made = steps(MESSAGE, [], None, [])
    assert [(step.what, step.at) for step in made] == [("accepted", 100.0), ("state.sent", 103.0)]
    assert any("no longer kept" in text for text in not_known(MESSAGE, made))


def test_a_dead_letter_says_how_often_it_was_tried() -> None:
    letter = DeadLetterView(
        ID, MESSAGE.session_id, MessageState.FAILED, CHAT, MessageKind.TEXT, 100.0, 120.0, 5, 1,
        "page_timeout",
    )  # fmt: skip
    made = steps(MESSAGE, [], letter, [])
    assert made[-1].detail == "5 attempts, redriven 1 times"
    assert made[-1].error_code == "page_timeout"


def test_an_event_concerns_its_message_and_its_cause() -> None:
    edited = event(1.0, MessageEdited(OTHER, CHAT, "new", cause=ID))
    assert concerns(edited, ID)
    assert concerns(edited, OTHER)
    assert not concerns(event(1.0, MessageSent(OTHER, CHAT)), ID)
