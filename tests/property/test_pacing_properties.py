"""What must hold of pacing whatever is sent when: no burst, no overtaking, no fresh bucket."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.core import pacing
from control_plane.core.contacts import ChatMark, chat_mark, decode_mark, encode_mark
from control_plane.core.lane_index import LaneIndex
from control_plane.core.pacing import Go, Hold, LocalTime, Reason, Standing, Wish
from control_plane.core.shard_share import Replica, share_of
from schemas.messages import Text
from schemas.pacing import PacingRules, PacingSettings, PacingState, SendClass

SESSION = "ses_" + "0" * 26
DAY_S = 86_400.0
START = 1_790_000_000.0

rules = st.builds(
    PacingRules,
    per_minute=st.floats(1, 600),
    burst=st.integers(1, 50),
    cold_per_minute=st.floats(0.5, 60),
    cold_per_day=st.integers(0, 300),
    warm_up_first_day=st.integers(0, 50),
    warm_up_growth=st.floats(1, 3),
    jitter=st.floats(0, 0.9),
    quiet_from=st.sampled_from(["21:00", "00:00", "12:30"]),
    quiet_until=st.sampled_from(["08:00", "00:00", "13:00"]),
)
asks = st.lists(
    st.tuples(st.sampled_from(SendClass), st.floats(0, 7_200), st.floats(0, 0.999)),
    min_size=1,
    max_size=60,
)


def local(now: float) -> LocalTime:
    return LocalTime(int(now // DAY_S), now % DAY_S / 60)


def ask(
    in_force: PacingRules,
    state: PacingState,
    sending: SendClass,
    now: float,
    *,
    message_id: str = "m",
    dice: float = 0.5,
    linked_at: float = 0.0,
) -> Go | Hold:
    return pacing.decide(
        in_force,
        state,
        sending,
        message_id,
        now=now,
        local=local(now),
        linked_at=linked_at,
        unit_random=dice,
    )


@given(rules, asks, st.floats(0, 20 * DAY_S))
def test_no_window_holds_more_than_the_rules_allow(
    in_force: PacingRules, coming: list[tuple[SendClass, float, float]], age_s: float
) -> None:
    state, now, sent = PacingState(SESSION), START, list[tuple[float, SendClass]]()
    for number, (sending, pause_s, dice) in enumerate(coming):
        now += pause_s
        decision = ask(
            in_force,
            state,
            sending,
            now,
            message_id=f"m{number}",
            dice=dice,
            linked_at=START - age_s,
        )
        if isinstance(decision, Hold):
            assert decision.until > now, "it would be asked again at once, for ever"
            continue
        state = decision.state
        sent.append((now, sending))
    fastest_s = 60.0 / in_force.per_minute * (1 - in_force.jitter)
    for begin, _ in sent:
        inside = [at for at, _ in sent if begin <= at <= begin + 60]
        assert len(inside) <= in_force.burst + 60 / fastest_s + 1
    cold = [at for at, sending in sent if sending is SendClass.COLD]
    closest_s = 60.0 / in_force.cold_per_minute * (1 - in_force.jitter)
    assert all(b - a >= closest_s - 1e-3 for a, b in pairwise(cold))
    for day in {local(at).day for at in cold}:
        today = [at for at in cold if local(at).day == day]
        limit = max(pacing.cold_limit(in_force, START - age_s, at) for at in today)
        assert len(today) <= limit <= in_force.cold_per_day
    for at in cold:
        assert pacing.minutes_of_quiet_left(in_force, local(at)) == 0


@given(rules, st.lists(st.floats(0, 60), min_size=1, max_size=50), st.floats(0, 0.999))
def test_a_reply_finds_a_token_however_many_others_went_out(
    in_force: PacingRules, pauses: list[float], dice: float
) -> None:
    in_force = msgspec.structs.replace(in_force, burst=max(2, in_force.burst), jitter=0.0)
    state, now = PacingState(SESSION), START
    for number, pause_s in enumerate(pauses):
        now += pause_s
        sending = SendClass.COLD if number % 2 else SendClass.KNOWN
        decision = ask(in_force, state, sending, now, message_id=f"m{number}", dice=dice)
        if isinstance(decision, Go):
            state = decision.state
    assert isinstance(ask(in_force, state, SendClass.REPLY, now, message_id="reply"), Go)


@given(rules, asks)
def test_a_retry_costs_nothing_and_a_hold_ends_when_it_says(
    in_force: PacingRules, coming: list[tuple[SendClass, float, float]]
) -> None:
    # No day's limit and no quiet hours: then a hold's end is exact.
    in_force = msgspec.structs.replace(
        in_force, cold_per_day=10**6, warm_up_first_day=10**6, quiet_until=in_force.quiet_from
    )
    state, now = PacingState(SESSION), START
    for number, (sending, pause_s, dice) in enumerate(coming):
        now += pause_s / 600
        message_id = f"m{number}"
        decision = ask(in_force, state, sending, now, message_id=message_id, dice=dice)
        for _ in range(3):
            if isinstance(decision, Hold):
                now = decision.until
                decision = ask(in_force, state, sending, now, message_id=message_id, dice=dice)
        assert isinstance(decision, Go)
        assert decision.charged
        state = decision.state
        again = ask(in_force, state, sending, now, message_id=message_id, dice=dice)
        assert again == Go(state, charged=False)


@given(rules, st.floats(-400 * DAY_S, 400 * DAY_S))
def test_a_clock_that_jumps_closes_nothing_for_long(in_force: PacingRules, jump_s: float) -> None:
    in_force = msgspec.structs.replace(in_force, quiet_until=in_force.quiet_from)
    first = ask(in_force, PacingState(SESSION), SendClass.REPLY, START, message_id="a")
    assert isinstance(first, Go)
    now = START + jump_s
    then = ask(in_force, first.state, SendClass.REPLY, now, message_id="b")
    longest_s = 60.0 / in_force.per_minute * in_force.burst * 2
    assert isinstance(then, Go) or then.until - now <= longest_s


def test_a_new_number_warms_up_and_its_limit_is_a_days() -> None:
    in_force = PacingRules(quiet_from="00:00", quiet_until="00:00")
    limits = [pacing.cold_limit(in_force, START, START + day * DAY_S) for day in range(9)]
    assert limits == [20, 30, 45, 67, 101, 151, 227, 250, 250]
    assert pacing.cold_limit(in_force, START, START + 10_000 * DAY_S) == 250
    spent = PacingState(SESSION, cold_day=local(START).day, cold_sent=20)
    held = ask(in_force, spent, SendClass.COLD, START, linked_at=START)
    assert isinstance(held, Hold)
    assert held.reason is Reason.COLD_DAY
    assert local(held.until).day == local(START).day + 1
    assert isinstance(ask(in_force, spent, SendClass.COLD, held.until, linked_at=START), Go)
    assert isinstance(ask(in_force, spent, SendClass.KNOWN, START, linked_at=START), Go)


def test_quiet_hours_are_the_evenings_and_the_mornings() -> None:
    in_force = PacingRules()
    assert pacing.minutes_of_quiet_left(in_force, LocalTime(1, 20 * 60 + 59)) == 0
    assert pacing.minutes_of_quiet_left(in_force, LocalTime(1, 21 * 60)) == 11 * 60
    assert pacing.minutes_of_quiet_left(in_force, LocalTime(1, 0)) == 8 * 60
    assert pacing.minutes_of_quiet_left(in_force, LocalTime(1, 8 * 60)) == 0


def test_each_level_says_only_what_it_wants_otherwise() -> None:
    tenant = PacingSettings(per_minute=10.0, time_zone="Asia/Jakarta")
    session = PacingSettings(per_minute=20.0, enabled=False)
    found = pacing.resolve(PacingRules(), tenant, None, session)
    assert (found.per_minute, found.time_zone, found.enabled) == (20.0, "Asia/Jakarta", False)
    assert found.burst == PacingRules().burst


def test_a_wish_is_a_word_and_nothing_else() -> None:
    in_force = PacingRules(stop_words=("stop", "Não mais"))
    for text in ("STOP", " stop. ", "Stop!", "não MAIS"):
        assert pacing.wish_of(text, in_force) is Wish.OUT
    assert pacing.wish_of("start", in_force) is Wish.IN
    for text in ("please stop by at six", "", "!", "non-stop"):
        assert pacing.wish_of(text, in_force) is None


chats = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from(["add", "next", "wrote"])),
    max_size=60,
)


@given(chats)
def test_a_paced_lane_keeps_every_chats_order_and_lets_replies_go_first(
    coming: list[tuple[int, bool, str]],
) -> None:
    index, in_force = LaneIndex(), PacingRules()
    waiting: dict[str, list[int]] = {}
    for sequence, (number, answers, what) in enumerate(coming, 1):
        chat = f"chat-{number}"
        if what == "add":
            index.add(sequence, ChatMark(chat, answers))
            index.add(sequence, ChatMark(chat, answers))  # the feed may say it twice
            waiting.setdefault(chat, []).append(sequence)
        elif what == "wrote":
            assert index.learn(chat, Standing(START)) == (chat in waiting)
        for unknown in index.unknown_chats():
            index.learn(unknown, Standing())
        firsts = index.firsts(START + 1, in_force)
        assert list(firsts) == [c for c in SendClass if c in firsts]
        assert set(firsts.values()) <= {sequences[0] for sequences in waiting.values()}
        assert bool(firsts) == bool(waiting)
        if what == "next" and firsts:
            sent = next(iter(firsts.values()))
            index.remove(sent)
            chat = next(c for c, sequences in waiting.items() if sequences[0] == sent)
            waiting[chat].pop(0)
            if not waiting[chat]:
                del waiting[chat]
        assert len(index) == sum(map(len, waiting.values()))


def test_a_mark_is_read_back_and_hides_the_number() -> None:
    for chat, content in (
        ("628110000001@c.us", Text("x")),
        ("628110000001@c.us", Text("x", reply_to="3EB0" + "0" * 18)),
        ("120363000000000000@g.us", Text("x")),
    ):
        mark = chat_mark(chat, content)
        assert decode_mark(encode_mark(mark)) == mark
        assert "62811" not in encode_mark(mark)
    assert decode_mark("").group, "what an older release queued is not taken for cold"


replicas = st.sets(
    st.builds(Replica, st.sampled_from("abc"), st.text("0123", min_size=1, max_size=3)),
    min_size=1,
    max_size=7,
)


@settings(max_examples=50)
@given(replicas, st.integers(1, 8))
def test_shards_are_dealt_out_wholly_and_evenly(live: set[Replica], shards: int) -> None:
    shares = [share_of(me, live - {me}, shards) for me in live]
    assert sorted(number for share in shares for number in share) == list(range(shards))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
