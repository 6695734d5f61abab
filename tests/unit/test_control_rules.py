"""The control plane's pure rules, case by case."""

from __future__ import annotations

import msgspec
import pytest

from control_plane.core import api_keys, failover, media_kinds, paging, session_view
from control_plane.core.failover import Signs
from control_plane.core.fleet import Kept, NodeSnapshot
from control_plane.core.liveness import LivenessRules
from control_plane.recipients import chat_id_of, phone_digits
from control_plane.state.fleet_state import FleetState
from schemas import keys
from schemas.errors import BlazzError, ErrorCode
from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    LeaseRecord,
    NodeRecord,
    SessionObserved,
    SessionRecord,
)
from schemas.snapshots import SnapshotHead
from schemas.states import DesiredState, EngineKind, MessageKind, NodeState, SessionState

RULES = LivenessRules(
    suspect_after_s=5.0, thaw_after_s=6.0, lease_absent_grace_s=1.0, restart_grace_s=8.0
)
SESSION = "ses_00000000000000000000000001"


@pytest.mark.parametrize(
    ("written", "region", "chat"),
    [
        ("+62 812-3456-7890", None, "6281234567890@c.us"),
        ("6281234567890", None, "6281234567890@c.us"),
        ("0812 3456 7890", "ID", "6281234567890@c.us"),
        ("006281234567890", None, "6281234567890@c.us"),
        ("(650) 253-0000", "US", "16502530000@c.us"),
        ("6281234567890", "ID", "6281234567890@c.us"),
        ("6281234567890@c.us", None, "6281234567890@c.us"),
        ("6281234567890@s.whatsapp.net", None, "6281234567890@c.us"),
        ("123456789@lid", None, "123456789@lid"),
        ("120363000000000000@g.us", None, "120363000000000000@g.us"),
    ],
)
def test_recipients_are_read(written: str, region: str | None, chat: str) -> None:
    assert chat_id_of(written, region=region) == chat


@pytest.mark.parametrize(
    "written", ["0812 3456 7890", "hello", "+62", "+1234567890123456789", "x@y", "@c.us", "12", "+"]
)
def test_a_wrong_recipient_is_said_without_repeating_it(written: str) -> None:
    with pytest.raises(BlazzError) as caught:
        chat_id_of(written)
    assert caught.value.code is ErrorCode.RECIPIENT_INVALID
    assert written not in caught.value.detail or len(written) < 3


def test_a_phone_number_with_a_region_needs_no_plus() -> None:
    assert phone_digits("0812-3456-7890", region="ID") == "6281234567890"


def test_a_key_is_read_back_and_any_slip_is_noticed() -> None:
    text, made = api_keys.make(bytes(range(27)))
    assert text.startswith("blz_live_")
    assert api_keys.parse(text) == made
    assert made.secret_sha256 not in text
    for place in range(len("blz_live_"), len(text)):
        other = "0" if text[place] != "0" else "1"
        assert api_keys.parse(text[:place] + other + text[place + 1 :]) is None
    assert api_keys.parse(text + "0") is None
    assert api_keys.parse("") is None


def test_secrets_are_compared_by_hash() -> None:
    _text, one = api_keys.make(bytes(27))
    _text, two = api_keys.make(bytes(26) + b"1")
    assert api_keys.same_secret(one.secret_sha256, one.secret_sha256)
    assert not api_keys.same_secret(one.secret_sha256, two.secret_sha256)


@pytest.mark.parametrize(
    ("mimetype", "head", "kind"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n....", MessageKind.IMAGE),
        ("image/webp", b"RIFF\0\0\0\0WEBPVP8 ", MessageKind.IMAGE),
        ("video/mp4", b"\0\0\0\x18ftypmp42", MessageKind.VIDEO),
        ("audio/ogg; codecs=opus", b"OggS\0\x02", MessageKind.AUDIO),
        ("application/pdf", b"%PDF-1.7", MessageKind.DOCUMENT),
        ("text/plain", b"anything", MessageKind.DOCUMENT),
    ],
)
def test_media_is_what_it_says(mimetype: str, head: bytes, kind: MessageKind) -> None:
    found = media_kinds.media_type(mimetype)
    assert found.kind is kind
    media_kinds.check_head(found, head)


@pytest.mark.parametrize("mimetype", ["image/png", "video/mp4", "audio/ogg", "application/pdf"])
def test_a_web_page_is_no_picture(mimetype: str) -> None:
    with pytest.raises(BlazzError) as caught:
        media_kinds.check_head(media_kinds.media_type(mimetype), b"<!doctype html><html>")
    assert caught.value.code is ErrorCode.MEDIA_CORRUPT


@pytest.mark.parametrize("mimetype", ["image/tiff", "video/x-msvideo", "nonsense", "application/"])
def test_unknown_media_is_refused(mimetype: str) -> None:
    with pytest.raises(BlazzError) as caught:
        media_kinds.media_type(mimetype)
    assert caught.value.code is ErrorCode.MEDIA_UNSUPPORTED


@pytest.mark.parametrize(
    ("kind", "mimetype", "fits"),
    [
        (MessageKind.VOICE, "audio/ogg", True),
        (MessageKind.VOICE, "video/mp4", False),
        (MessageKind.STICKER, "image/webp", True),
        (MessageKind.STICKER, "image/png", False),
        (MessageKind.DOCUMENT, "image/png", True),
        (MessageKind.IMAGE, "application/pdf", False),
    ],
)
def test_media_can_be_shown_only_as_what_it_is(
    kind: MessageKind, mimetype: str, fits: bool
) -> None:
    assert media_kinds.kind_fits(kind, mimetype) is fits


@pytest.mark.parametrize("cursor", ["", "x", "W10", "////", "🙂"])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BlazzError) as caught:
        paging.decode(cursor)
    assert caught.value.code is ErrorCode.VALIDATION_FAILED


@pytest.mark.parametrize(
    ("silence_s", "absent_s", "state"),
    [
        (0.0, None, NodeState.ALIVE),
        (4.9, None, NodeState.ALIVE),
        (5.0, None, NodeState.SUSPECT),
        (600.0, None, NodeState.SUSPECT),  # silent, but it renews its lease: it lives
        (4.9, 60.0, NodeState.ALIVE),  # no lease, but it is heard
        (5.0, 0.9, NodeState.SUSPECT),
        (5.0, 1.0, NodeState.LOST),
    ],
)
def test_a_node_is_lost_by_two_signs_only(
    silence_s: float, absent_s: float | None, state: NodeState
) -> None:
    signs = Signs(heard=True, silence_s=silence_s, lease_absent_s=absent_s)
    assert failover.verdict(signs, RULES, 1.0) is state
    assert failover.gone(signs, RULES, 1.0) is (state is NodeState.LOST)


def test_a_node_never_heard_is_doubted_then_lost() -> None:
    def look(silence_s: float, absent_s: float | None) -> NodeState:
        signs = Signs(heard=False, silence_s=silence_s, lease_absent_s=absent_s)
        return failover.verdict(signs, RULES, 1.0)

    assert look(0.0, None) is NodeState.SUSPECT
    assert look(60.0, None) is NodeState.SUSPECT
    assert look(60.0, 60.0) is NodeState.LOST


def test_a_node_that_stopped_has_time_to_come_back() -> None:
    def gone(stopped_s: float, absent_s: float | None) -> bool:
        signs = Signs(heard=True, silence_s=stopped_s, lease_absent_s=absent_s, stopped_s=stopped_s)
        return failover.gone(signs, RULES, 1.0)

    assert not gone(7.9, 7.9)
    assert gone(8.0, 8.0)
    assert not gone(60.0, None), "whoever holds its lease may run its sessions"


def test_many_nodes_that_fall_silent_at_once_are_given_one_more_period() -> None:
    def grace_s(lost: int, living: int, absent_s: float = 0.5) -> float:
        absent = [Signs(heard=True, silence_s=9.0, lease_absent_s=absent_s)] * lost
        alive = [Signs(heard=True, silence_s=0.1, lease_absent_s=None)] * living
        return failover.grace_s([*absent, *alive], RULES)

    assert grace_s(1, 1) == RULES.lease_absent_grace_s
    assert grace_s(1, 0) == RULES.lease_absent_grace_s
    assert grace_s(2, 3) == RULES.lease_absent_grace_s
    assert grace_s(2, 2) == RULES.lease_absent_grace_s + RULES.thaw_after_s
    assert grace_s(2, 1, absent_s=60.0) == RULES.lease_absent_grace_s, "those are long dead"


# The fold ----------------------------------------------------------------------------------------


def _fold(state: FleetState, key: str, value: msgspec.Struct | None, revision: int) -> None:
    state.fold(key, None if value is None else msgspec.json.encode(value), revision, now=0.0)


def _observed(**fields: object) -> SessionObserved:
    values = {
        "session_id": SESSION,
        "tenant_id": "acme",
        "node_id": "node-a",
        "incarnation": "i1",
        "epoch": 2,
        "state": "online",
        "since": 1.0,
        "phone": "628110000001",
        **fields,
    }
    return msgspec.convert(values, SessionObserved)


@pytest.fixture
def state() -> FleetState:
    """One node heard at 0, one session of acme wanted running, assigned to it at epoch 2."""
    made = FleetState(RULES, now=0.0)
    node = NodeRecord("node-a", "i1", "1", 5, (EngineKind.LOOPBACK,), 0.0)
    record = SessionRecord(SESSION, "acme", DesiredState.RUNNING, 1.0)
    _fold(made, keys.node_key("node-a"), node, 1)
    _fold(made, keys.capacity_key("node-a"), CapacityRecord("node-a", 1), 2)
    _fold(made, keys.session_key("acme", SESSION), record, 3)
    _fold(made, keys.assignment_key(SESSION), Assignment(SESSION, "acme", "node-a", 2), 4)
    _fold(made, keys.lease_key("node", "node-a"), LeaseRecord("node-a", "i1", 0.0), 5)
    made.hear(Heartbeat("node-a", "i1", 1, 5, ()), 0.0)
    return made


def _shown(state: FleetState, now: float = 0.0) -> tuple[SessionState, str | None]:
    record = state.session("acme", SESSION)
    assert record is not None
    view = state.view(record, now)
    return view.state, view.reason


def test_a_session_is_shown_as_its_node_saw_it(state: FleetState) -> None:
    assert _shown(state) == (SessionState.PENDING, None)
    _fold(state, keys.observed_key("node-a", SESSION), _observed(), 5)
    assert _shown(state) == (SessionState.ONLINE, None)
    assert state.nodes(0.0)["node-a"].reserved == 1


@pytest.mark.parametrize(
    "stale", [{"epoch": 1}, {"incarnation": "i0"}, {"node_id": "node-b"}, {"epoch": 3}]
)
def test_an_observation_of_another_placement_is_not_believed(
    state: FleetState, stale: dict[str, object]
) -> None:
    seen = _observed(**stale)
    _fold(state, keys.observed_key(seen.node_id, SESSION), seen, 5)
    assert _shown(state)[0] is SessionState.PENDING
    assert state.observed(SESSION, 0.0) is None


def test_where_a_session_can_go_on_is_known_from_its_snapshots_head(state: FleetState) -> None:
    key, wanted = keys.snapshot_head_key(SESSION), {SESSION: Kept(2, "node-a", "156.0.1")}
    head = SnapshotHead(
        SESSION, "acme", epoch=2, generations=1, chromium_build="156.0.1", node_id="node-a"
    )
    _fold(state, key, head, 6)
    assert state.snapshot(0.0, 0.0).kept == state.snapshot_of(SESSION, 0.0, 0.0).kept == wanted
    _fold(state, key, SnapshotHead(SESSION, "acme"), 7)
    assert state.snapshot(0.0, 0.0).kept == state.snapshot_of(SESSION, 0.0, 0.0).kept == {}


def test_nobody_is_online_on_the_word_of_a_silent_node(state: FleetState) -> None:
    _fold(state, keys.observed_key("node-a", SESSION), _observed(), 5)
    assert _shown(state, 4.0) == (SessionState.ONLINE, None)
    assert _shown(state, 6.0) == (SessionState.DEGRADED, session_view.REASON_NODE_SILENT)
    assert _shown(state, 13.0) == (SessionState.DEGRADED, session_view.REASON_NODE_SILENT)
    state.fold(keys.lease_key("node", "node-a"), None, 0, now=11.0)
    assert _shown(state, 11.9) == (SessionState.DEGRADED, session_view.REASON_NODE_SILENT)
    assert _shown(state, 13.0) == (SessionState.DEGRADED, session_view.REASON_NODE_LOST)
    record = state.session("acme", SESSION)
    assert record is not None
    assert state.view(record, 13.0).observed_age_s == 13.0
    state.hear(Heartbeat("node-a", "i1", 2, 5, ()), 13.5)
    assert _shown(state, 13.6) == (SessionState.ONLINE, None)


def test_a_pulse_of_a_past_run_proves_nothing(state: FleetState) -> None:
    state.fold(keys.lease_key("node", "node-a"), None, 0, now=18.0)
    state.hear(Heartbeat("node-a", "i0", 900, 5, ()), 20.0)
    node = state.node("node-a", 20.0)
    assert isinstance(node, NodeSnapshot)
    assert node.state is NodeState.LOST


def test_an_old_pulse_changes_nothing(state: FleetState) -> None:
    state.hear(Heartbeat("node-a", "i1", 1, 99, ()), 3.0)
    node = state.node("node-a", 3.0)
    assert node is not None
    assert (node.sessions_max, node.age_s) == (5, 3.0)


def test_an_older_revision_changes_nothing(state: FleetState) -> None:
    key = keys.session_key("acme", SESSION)
    _fold(state, key, SessionRecord(SESSION, "acme", DesiredState.STOPPED, 1.0), 2)
    record = state.session("acme", SESSION)
    assert record is not None
    assert record.desired is DesiredState.RUNNING


def test_a_session_is_seen_by_its_tenant_alone(state: FleetState) -> None:
    assert state.session("other", SESSION) is None
    assert list(state.sessions("other")) == []
    assert [record.session_id for record in state.sessions("acme")] == [SESSION]


def test_a_session_being_deleted_is_gone_for_readers(state: FleetState) -> None:
    key = keys.session_key("acme", SESSION)
    _fold(state, key, SessionRecord(SESSION, "acme", DesiredState.DELETED, 1.0), 9)
    assert state.session("acme", SESSION) is None
    assert list(state.sessions(None)) == []
    _fold(state, key, None, 10)
    assert list(state.sessions("acme")) == []


def test_a_malformed_record_is_skipped(state: FleetState) -> None:
    state.fold(keys.session_key("acme", SESSION), b"{", 11, now=0.0)
    assert _shown(state)[0] is SessionState.PENDING
