"""The operator's screens' rows, words and cards: pure functions, no terminal."""

from __future__ import annotations

import pytest

from schemas.events import MessageAck, MessageFailed, MessageSent, SessionStateChanged
from schemas.states import Ack, NodeState, SessionState
from tests.tui.fleet_sample import (
    NODES,
    NOW_MONO,
    NOW_UNIX,
    PHONE,
    SECRET_TEXT,
    SESSIONS,
    event,
    events,
    whole_fleet,
)
from tui.changes import Happened
from tui.commands import Command, complete, parse_command, the_one
from tui.fold import fold
from tui.health import FAST_LIMITS, all_node_health
from tui.model import FleetView
from tui.roll import Roll
from tui.rows import facts, history_rows, message_rows, mix, region_rows
from tui.rows.cards import Fact, card_lines
from tui.rows.listing import Now
from tui.rows.qr import qr_lines
from tui.rows.raw import raw_json
from tui.rows.sorting import natural
from tui.rows.webhook_rows import shown_url


def fleet() -> tuple[FleetView, Now]:
    view = fold(FleetView(), whole_fleet())
    roll = Roll(view, FAST_LIMITS)
    roll.bring_up(NOW_MONO)
    return view, Now(NOW_MONO, NOW_UNIX, roll.healths)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("no", Command("fleet")),
        ("SES sales", Command("sessions", "sales")),
        ("node ovh-gra-1", Command("node", "ovh-gra-1")),
        ("q", Command("quit")),
        ("mess", Command("messages")),
    ],
)
def test_commands_are_read(typed: str, wanted: Command) -> None:
    assert parse_command(typed) == wanted


@pytest.mark.parametrize("typed", ["", "xyz", "s", "quit now", "regions eu"])
def test_what_is_not_a_command_is_told_why(typed: str) -> None:
    with pytest.raises(ValueError, match=r"one of|no more words"):
        parse_command(typed)


def test_a_command_is_completed_then_its_argument() -> None:
    known = {"node": ["ovh-gra-1", "vultr-sgp-1"], "session": ["ses_1"]}
    assert complete("web", known) == "webhooks"
    assert complete("node vu", known) == "node vultr-sgp-1"
    assert complete("dl ses", known) == "dl ses_1"
    assert complete("node x", known) is None
    assert complete("events ses", known) is None
    assert complete("", known) is None


def test_the_one_that_is_meant() -> None:
    ids, names = ["ses_aa1", "ses_bb1", "ses_bb2"], {"ses_aa1": "shop", "ses_bb2": "ses_bb"}
    assert the_one("ses_aa1", ids, names) == "ses_aa1"
    assert the_one("shop", ids, names) == "ses_aa1"
    assert the_one("bb2", ids, names) == "ses_bb2"
    assert the_one("ses_bb", ids, names) == "ses_bb2", "a name wins over a beginning"
    with pytest.raises(ValueError, match="which one"):
        the_one("ses_", ids, names)
    with pytest.raises(ValueError, match="there is no"):
        the_one("cc", ids, names)


def test_regions_add_up_only_what_is_heard() -> None:
    view, now = fleet()
    sums = region_rows.region_sums(view, now.healths)
    assert {each.region for each in sums.values()} == {node.region for node in NODES}
    central = sums["eu-central/hetzner"]
    assert (central.alive, central.nodes, central.places) == (1, 1, 40)
    later = all_node_health(view, NOW_MONO + 60, FAST_LIMITS)
    silent = region_rows.region_sums(view, later)["eu-central/hetzner"]
    assert later["hetzner-fsn-1"].state is not NodeState.ALIVE
    assert (silent.alive, silent.sessions, silent.states) == (0, 0, ())
    assert region_rows.region_row(silent).stale


def test_states_over_time_say_how_long_each_lasted() -> None:
    online, degraded, failed = SessionState.ONLINE, SessionState.DEGRADED, SessionState.FAILED
    changes = [
        event(1, SessionStateChanged(degraded, online, "socket lost"), SESSIONS[0], ago_s=100),
        event(2, SessionStateChanged(online, degraded), SESSIONS[0], ago_s=40),
        event(3, SessionStateChanged(failed, online, f"gone {PHONE}"), SESSIONS[0], ago_s=10),
        event(4, SessionStateChanged(failed, online), SESSIONS[1], ago_s=5),
    ]
    happened = [Happened(number, each) for number, each in enumerate(changes, 1)]
    rows = history_rows.history_rows(happened, SESSIONS[0].session_id, NOW_UNIX, show_phones=False)
    said = [[cell.text for cell in row.cells] for row in rows]
    assert [line[1:3] for line in said] == [
        ["✗ failed", "10s"],
        ["● online", "30s"],
        ["◐ degraded", "1m00s"],
    ]
    assert PHONE not in said[0][5]
    assert said[2][5] == "socket lost"


def test_messages_are_counted_within_the_window_and_timed() -> None:
    chat, of = "628987654321@c.us", SESSIONS[0]
    sent = [
        event(n, MessageSent(f"3EB0AABBCCDDEEFF00{n:04d}", chat), of, ago_s=100 - n)
        for n in range(1, 4)
    ]
    acks = [
        event(10 + n, MessageAck(f"3EB0AABBCCDDEEFF00{n:04d}", chat, Ack.DELIVERED), of, ago_s=ago)
        for n, ago in ((1, 98.5), (2, 96.0), (3, 90.0))
    ]
    read = event(20, MessageAck("3EB0AABBCCDDEEFF000001", chat, Ack.READ), of, ago_s=80)
    failed = event(21, MessageFailed("3EB0AABBCCDDEEFF000009", chat, "queue_full"), of, ago_s=50)
    old = event(22, MessageFailed("3EB0AABBCCDDEEFF000008", chat, "old"), of, ago_s=301)
    everything = [*sent, *acks, read, failed, old]
    flow = message_rows.add_up((Happened(n, each) for n, each in enumerate(everything)), NOW_UNIX)
    traffic = flow.by_session[of.session_id]
    assert (traffic.sent, traffic.failed, traffic.received) == (3, 1, 0)
    assert sorted(traffic.delivered_s) == pytest.approx([0.5, 2.0, 7.0])
    assert flow.span_s == pytest.approx(99.0)
    said = message_rows.totals(flow)
    assert "3 sent, 1 failed" in said
    assert "queue_full 1" in said
    assert "delivered 2.0s/7.0s" in said


def test_percentiles_are_of_nothing_none_and_never_beyond_the_last() -> None:
    assert message_rows.percentile([], 0.5) is None
    assert message_rows.percentile([3.0], 0.95) == 3.0
    assert message_rows.percentile(range(1, 101), 0.95) == 96
    assert message_rows.percentile([2.0, 1.0, 3.0], 1.0) == 3.0


def test_a_mix_says_each_state_once() -> None:
    online, failed = SessionState.ONLINE, SessionState.FAILED
    assert mix.mix_words([failed, online, online]) == "●2 ✗1"
    assert mix.mix_words([]) == ""


def test_a_sparkline_spans_its_own_range() -> None:
    assert mix.sparkline([0, 5, 10], 10) == "▁▅█"
    assert mix.sparkline([7, 7], 10) == "▁▁"
    assert mix.sparkline(range(100), 3) == "▁▅█"
    assert mix.sparkline([], 3) == ""


def test_a_history_samples_and_forgets() -> None:
    history = mix.History()
    for second in range(0, 600, 1):
        history.add(float(second), float(second))
    assert len(history.samples) == mix.SAMPLES_MAX
    assert history.samples[-1] == 595.0
    assert history.samples[1] - history.samples[0] == mix.SAMPLE_PERIOD_S


def test_raw_records_hide_bodies_secrets_and_numbers() -> None:
    for happened in events():
        told = raw_json(happened, show_phones=False)
        assert SECRET_TEXT not in told
        assert PHONE not in told
        assert "628987654321" not in told
        assert SECRET_TEXT not in raw_json(happened, show_phones=True)
    assert '"secret": "•••"' in raw_json({"secret": "whsec_x"}, show_phones=True)


def test_a_description_tells_what_is_known_and_leaves_out_what_is_not() -> None:
    view, now = fleet()
    told = facts.session(view, SESSIONS[0].session_id, now, raw=False)
    assert "Name          support" in told
    assert PHONE not in told
    assert "Unplaceable" not in told
    assert PHONE not in facts.session(view, SESSIONS[0].session_id, now, raw=True)
    assert "cordoned" in facts.node(view, "vultr-sgp-1", now, raw=False)
    assert facts.node(view, "nowhere", now, raw=False) == ""


def test_cards_share_a_width_and_never_overrun_it() -> None:
    told = [Fact("Node", "n" * 60), Fact("State", "up"), Fact("Reason", "r" * 90, wide=True)]
    told.append(Fact("Silent", ""))
    for width in (30, 78, 118):
        lines = card_lines(told, width)
        assert all(sum(len(p.label) + len(p.value) for p in line) <= width for line in lines)
        assert len(lines[-1]) == 1
    assert len(card_lines(told, 118)) == 2
    assert len(card_lines(told, 30)) == 3


def test_a_qr_code_is_square_and_has_a_quiet_zone() -> None:
    lines = qr_lines("2@" + "Qz7/+k=" * 30)
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines) * 2 in (len(lines[0]), len(lines[0]) + 1)
    assert lines[0].strip() == ""
    assert all(line.startswith("  ") and line.endswith("  ") for line in lines)


def test_names_sort_by_the_numbers_in_them() -> None:
    assert sorted(["node-10", "node-9", "Node-1"], key=natural) == ["Node-1", "node-9", "node-10"]


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert shown_url("https://user:pw@hooks.example:8443/a/b?token=x#f") == (
        "https://hooks.example:8443/a/b?…"
    )
