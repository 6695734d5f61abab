"""The switch's frames: fixed tags, a round trip, and refusal of what is none."""

from __future__ import annotations

import typing

import msgspec
import pytest

from schemas import switch_wire as wire


def test_tags_are_the_wire_names() -> None:
    tags = {
        "client": " ".join(str(f.__struct_config__.tag) for f in typing.get_args(wire.ClientFrame)),
        "switch": " ".join(str(f.__struct_config__.tag) for f in typing.get_args(wire.SwitchFrame)),
    }
    assert tags == {
        "client": (
            "hello proof refresh_qr request_pairing_code passkey send receipt react edit delete "
            "query_exists query_chat query_chats query_contacts query_group query_profile "
            "set_profile show_presence subscribe_presence stored notice_ack takeover logout ping"
        ),
        "switch": (
            "challenge qr qr_idle pairing_code passkey_required paired welcome refused sync "
            "sync_done message ack read_elsewhere reaction edited deleted chat_added poll_voted "
            "group_changed call presence sent send_failed done exists chat_found chats_listed "
            "contacts_listed group_found profile_found conflict unlinked notice pong"
        ),
    }


def test_message_golden() -> None:
    frame = wire.MessageIn(
        seq=7,
        message=wire.Message(
            id="3EB0AA",
            chat="15550001@c.us",
            sender="15550001@c.us",
            from_me=False,
            type="chat",
            ts=1,
            body="hi",
        ),
    )
    text = wire.encode(frame)
    assert text == (
        '{"t":"message","seq":7,"message":{"id":"3EB0AA","chat":"15550001@c.us",'
        '"sender":"15550001@c.us","from_me":false,"type":"chat","ts":1,"body":"hi"},'
        '"offline":false}'
    )
    assert wire.decode_switch(text) == frame


@pytest.mark.parametrize(
    "text", ['{"t":"nonsense"}', '{"t":"ping"}', "[]", "", '{"t":"ping","req":"x"}']
)
def test_refuses_what_is_no_client_frame(text: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        wire.decode_client(text)


def test_a_switch_frame_is_no_client_frame() -> None:
    with pytest.raises(msgspec.ValidationError):
        wire.decode_client(wire.encode(wire.QrIdle()))
