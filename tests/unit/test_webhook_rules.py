"""Webhooks' pure rules: signatures, answers, patterns, bodies, the index of the backlog."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from control_plane.core.webhook_backlog import Backlog, Health, Place
from control_plane.core.webhook_delivery import (
    DOWN_AFTER,
    RETRY_AFTER_MAX_S,
    Verdict,
    retry_after_s,
    verdict_of,
)
from control_plane.core.webhook_events import ENVELOPE, body_of, matches, wants
from control_plane.core.webhook_signature import headers, secret_text
from control_plane.webhooks.secrets import rotated, valid
from schemas.events import EVENT_TYPES, EventData
from schemas.webhooks import SIGNATURES_MAX, AnyEvent, NewWebhook, SealedSecret, WebhookRecord

SECRET, OTHER = bytes(range(32)), bytes(32)
EVENT = AnyEvent(
    event_id="evt_" + "1" * 26,
    at=1_700_000_000.0,
    tenant_id="acme",
    session_id="ses_" + "2" * 26,
    node_id="node-a",
    epoch=3,
    data={"type": "message.deleted", "message_id": "3EB0AA", "chat_id": "1@c.us"},
)
HOOK = WebhookRecord(
    webhook_id="whk_" + "3" * 26,
    tenant_id="acme",
    url="https://example.com/",
    created_at=0.0,
    start_seq=1,
    secrets=(SealedSecret(b"1", 0.0),),
)


def test_the_reference_implementation_takes_our_signature_and_no_other() -> None:
    body = '{"text":"Schöne Grüße 👋"}'.encode()
    made = headers([OTHER, SECRET], event_id="evt_1", at=time.time(), body=body)
    for secret in (SECRET, OTHER):
        assert Webhook(secret_text(secret)).verify(body, made)
    wrong: tuple[tuple[bytes, bytes, dict[str, str]], ...] = (
        (b"z" * 32, body, made),
        (SECRET, body + b" ", made),
        (SECRET, body, made | {"webhook-id": "evt_2"}),
        (SECRET, body, made | {"webhook-timestamp": str(int(time.time()) - 1)}),
        (SECRET, body, headers([SECRET], event_id="evt_1", at=time.time() - 600, body=body)),
    )
    for secret, sent, with_headers in wrong:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret_text(secret)).verify(sent, with_headers)


def test_the_reference_implementation_signs_as_we_do() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    theirs = Webhook(secret_text(SECRET)).sign("evt_1", at, '{"a":1}')
    ours = headers([SECRET], event_id="evt_1", at=at.timestamp(), body=b'{"a":1}')
    assert ours["webhook-signature"] == theirs
    assert secret_text(SECRET).startswith("whsec_")


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (199, Verdict.FAILED),
        (300, Verdict.FAILED),
        (302, Verdict.FAILED),
        (400, Verdict.FAILED),
        (404, Verdict.FAILED),
        (410, Verdict.GONE),
        (429, Verdict.FAILED),
        (503, Verdict.FAILED),
    ],
)
def test_what_a_code_means(code: int, verdict: Verdict) -> None:
    assert verdict_of(code) is verdict


def test_retry_after_is_read_in_both_forms_and_bounded() -> None:
    now = 1_700_000_000.0
    later = format_datetime(datetime.fromtimestamp(now, UTC) + timedelta(seconds=90), usegmt=True)
    earlier = format_datetime(datetime.fromtimestamp(now, UTC) - timedelta(days=9), usegmt=True)
    for text, seconds in (
        ("120", 120.0),
        (" 0 ", 0.0),
        (later, 90.0),
        (earlier, 0.0),
        ("9" * 400, RETRY_AFTER_MAX_S),
        ("999999", RETRY_AFTER_MAX_S),
    ):
        assert retry_after_s(503, {"retry-after": text}, now) == seconds, text
        assert retry_after_s(429, {"retry-after": text}, now) == seconds
    for text in ("", "soon", "-5", "1.5", "\N{SUPERSCRIPT TWO}", "Mon, 99 Foo 2026"):
        assert retry_after_s(503, {"retry-after": text}, now) is None, text
    assert retry_after_s(404, {"retry-after": "120"}, now) is None
    assert retry_after_s(503, {}, now) is None


@pytest.mark.parametrize(
    ("pattern", "name", "good"),
    [
        ("*", "message.received", True),
        ("message.*", "message.received", True),
        ("message.*", "message.received.late", True),
        ("message.*", "message", False),
        ("message.*", "messages.received", False),
        ("message.received", "message.received", True),
        ("message.received", "message.received.late", False),
        ("session.qr", "session.qr_idle", False),
        ("session.*", "message.session", False),
    ],
)
def test_what_a_pattern_means(pattern: str, name: str, good: bool) -> None:
    assert matches(pattern, name) is good
    assert wants([pattern], [], name, "ses_1") is good
    assert not wants([pattern], ["ses_2"], name, "ses_1")


@pytest.mark.parametrize(
    "pattern", ["", "message.", "*.received", "me*", "message.**", "A.b", "a b"]
)
def test_a_pattern_of_another_form_is_refused(pattern: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": "https://example.com", "events": [pattern]}, NewWebhook)


def test_a_body_says_what_when_and_about_whom() -> None:
    assert body_of(EVENT, 7) == (
        '{"type":"message.deleted","timestamp":"2023-11-14T22:13:20.000Z","data":'
        '{"message_id":"3EB0AA","chat_id":"1@c.us","event_id":"evt_11111111111111111111111111",'
        '"tenant_id":"acme","session_id":"ses_22222222222222222222222222","sequence":7}}'
    )


def test_no_event_has_a_field_that_the_envelope_would_hide() -> None:
    for kind in EVENT_TYPES:
        assert not set(kind.__struct_fields__) & set(ENVELOPE), kind


def test_the_documentation_shows_every_event_as_it_is() -> None:
    page = Path(__file__).parents[2] / "docs" / "webhooks.md"
    block = page.read_text(encoding="utf-8").partition("```json\n")[2].partition("```")[0]
    shown = [(line, msgspec.json.decode(line, type=EventData)) for line in block.splitlines()]
    assert {type(event) for _, event in shown} == set(EVENT_TYPES)
    for line, event in shown:
        # Nothing in it that the event does not have.
        assert msgspec.json.decode(msgspec.json.encode(event)) == msgspec.json.decode(line)


def test_old_secrets_end_one_by_one_and_their_number_is_bounded() -> None:
    one, two, three, four = (SealedSecret(bytes([n]), float(n)) for n in range(4))
    hook = msgspec.structs.replace(HOOK, secrets=(one,))
    hook = msgspec.structs.replace(hook, secrets=rotated(hook, two, 100.0, 50.0))
    assert [s.ends_at for s in hook.secrets] == [None, 150.0]
    hook = msgspec.structs.replace(hook, secrets=rotated(hook, three, 120.0, 500.0))
    # A later rotation does not lengthen an earlier overlap.
    assert [s.ends_at for s in hook.secrets] == [None, 620.0, 150.0]
    assert [len(valid(hook, at)) for at in (121.0, 151.0, 621.0)] == [3, 2, 1]
    assert len(rotated(hook, four, 121.0, 9.0)) == SIGNATURES_MAX
    assert rotated(hook, four, 121.0, 0.0) == (four,)


def test_the_backlog_hands_out_what_is_due_once_in_order_of_time() -> None:
    backlog = Backlog()
    backlog.note("b", Place(2, 20.0))
    backlog.note("a", Place(1, 10.0))
    backlog.note("dead", Place(3, None))
    assert (backlog.waiting, backlog.dead, backlog.next_due()) == (2, 1, 10.0)
    assert backlog.take_due(9.9) is None
    assert backlog.take_due(30.0) == ("a", 1)
    assert backlog.take_due(30.0) == ("b", 2)
    assert backlog.take_due(30.0) is None
    backlog.put_back("a", 1, 40.0)
    backlog.note("b", Place(9, 35.0))
    backlog.put_back("b", 2, 31.0)  # written anew meanwhile: nothing to put back
    assert backlog.take_due(34.0) is None
    assert backlog.take_due(50.0) == ("b", 9)
    backlog.drop("b", 9)
    backlog.drop("a", 0)  # an older news than what is there
    assert backlog.take_due(50.0) == ("a", 1)
    assert backlog.waiting == 1


def test_an_older_write_changes_nothing_and_a_newer_one_revives_the_dead() -> None:
    backlog = Backlog()
    backlog.note("a", Place(5, None))
    backlog.note("a", Place(4, 1.0))
    assert (backlog.waiting, backlog.dead) == (0, 1)
    backlog.note("a", Place(6, 1.0))
    assert (backlog.waiting, backlog.dead) == (1, 0)
    assert backlog.take_due(1.0) == ("a", 6)


def test_when_a_webhook_is_back_what_waits_is_due_but_not_what_is_being_tried() -> None:
    backlog = Backlog()
    for number in range(4):
        backlog.note(str(number), Place(number + 1, 100.0 + number))
    assert backlog.take_due(100.0) == ("0", 1)
    backlog.all_due(50.0)
    taken = {backlog.take_due(50.0) for _ in range(3)}
    assert taken == {("1", 2), ("2", 3), ("3", 4)}
    assert backlog.take_due(200.0) is None


def test_of_the_dead_the_oldest_go_first() -> None:
    backlog = Backlog()
    for number in range(5):
        backlog.note(str(number), Place(10 + number, None))
    assert backlog.oldest_dead(3) == [("0", 10), ("1", 11)]
    assert backlog.oldest_dead(5) == []


def test_a_webhook_is_down_after_failures_in_a_row_alone() -> None:
    health = Health()
    downs = []
    for _ in range(DOWN_AFTER):
        downs.append(health.down)
        health.failed()
    assert not any(downs)
    assert health.down
    came_back = [health.succeeded(), health.succeeded()]
    assert came_back == [True, False]
    health.failed()
    assert [health.down, health.succeeded()] == [False, False]


def test_an_event_may_hold_whatever_json_can() -> None:
    odd = msgspec.structs.replace(EVENT, data={"type": "x.y", "n": None, "l": [1, {"a": "é"}]})
    data = msgspec.json.decode(body_of(odd, 1))["data"]
    assert (data["n"], data["l"]) == (None, [1, {"a": "é"}])
