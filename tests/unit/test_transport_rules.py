"""The transport's decisions that need no server: delays, deadlines, gaps, views, permissions."""

from fnmatch import fnmatchcase

import msgspec
import pytest

from schemas import keys, permissions
from schemas.errors import BlazzError
from schemas.resources import FLEET, all_streams, bucket_subject, bytes_needed
from schemas.timing import CLUSTER, FAST
from schemas.transport.connection import redial_delay
from schemas.transport.ensure import differences
from schemas.transport.jetstream import parse_headers
from schemas.transport.kv import Entry, is_tombstone
from schemas.transport.lease import Renewal, holder_deadline, next_step, retry_delay
from schemas.transport.link import BusSettings
from schemas.transport.stream_copy import CHUNK_BYTES, next_size
from schemas.transport.streams import Gap, gap_before, position_of
from schemas.transport.watch import ChangeKind, View


def test_redial_delay_doubles_up_to_its_cap_with_jitter() -> None:
    assert redial_delay(0, 0.0, min_s=0.1, max_s=2.0) == 0.05
    assert redial_delay(0, 1.0, min_s=0.1, max_s=2.0) == 0.1
    assert redial_delay(3, 1.0, min_s=0.1, max_s=2.0) == 0.8
    assert redial_delay(10_000, 1.0, min_s=0.1, max_s=2.0) == 2.0


@pytest.mark.parametrize("profile", [FAST, CLUSTER], ids=lambda profile: profile.name)
def test_a_profile_leaves_room_for_several_renewals(profile: msgspec.Struct) -> None:
    assert isinstance(profile, type(FAST))
    deadline = holder_deadline(0.0, profile.lease_ttl_s, profile.lease_safety_share)
    assert deadline < profile.lease_ttl_s
    # One renewal lost with its whole attempt, and still another before the deadline.
    assert profile.lease_renew_s * 2 < deadline
    assert profile.fetch_timeout_s <= 5.0
    assert profile.connect_timeout_s == 5.0


def test_the_cluster_profile_outlasts_an_election() -> None:
    assert CLUSTER.jetstream_timeout_s >= 10.0
    assert CLUSTER.lease_ttl_s >= 20.0


def test_the_holder_stops_at_its_deadline_whatever_is_due() -> None:
    assert next_step(now=5.0, deadline=5.0, renew_at=1.0) is Renewal.STOP
    assert next_step(now=4.9, deadline=5.0, renew_at=1.0) is Renewal.RENEW
    assert next_step(now=0.9, deadline=5.0, renew_at=1.0) is Renewal.WAIT


def test_retries_come_closer_as_the_deadline_does() -> None:
    assert retry_delay(0.0, 4.0, 1.0) == 0.25
    assert retry_delay(3.6, 4.0, 1.0) == pytest.approx(0.1)
    assert retry_delay(9.0, 4.0, 1.0) == 0.05


@pytest.mark.parametrize(
    ("wanted", "first", "last", "gap"),
    [
        (1, 0, 0, None),
        (1, 1, 9, None),
        (10, 1, 9, None),
        (10, 10, 9, None),
        (3, 7, 9, Gap(3, 6)),
        (12, 1, 9, Gap(12, 9)),
    ],
)
def test_gap_before(wanted: int, first: int, last: int, gap: Gap | None) -> None:
    assert gap_before(wanted, first, last) == gap


def test_position_is_read_with_and_without_a_domain() -> None:
    plain = position_of("$JS.ACK.EVENTS.ord.3.42.7.1700000000.5")
    assert (plain.delivered, plain.stream_seq, plain.consumer_seq, plain.pending) == (3, 42, 7, 5)
    assert position_of("$JS.ACK.hub.acc.EVENTS.ord.3.42.7.1700000000.5") == plain
    with pytest.raises(BlazzError):
        position_of("_INBOX.x")


def test_headers_and_tombstones() -> None:
    headers = parse_headers(b"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 2s\r\n\r\n")
    assert headers == {"Nats-Marker-Reason": "MaxAge", "Nats-TTL": "2s"}
    assert is_tombstone(headers)
    assert is_tombstone({"KV-Operation": "DEL"})
    assert not is_tombstone({"Nats-TTL": "2s"})


def test_a_view_tells_each_revision_once_and_finds_what_went_unseen() -> None:
    view = View()
    view.begin_resync()
    first = view.see(Entry("a", b"1", 1))
    assert first is not None
    assert (first.kind, first.value) == (ChangeKind.PUT, b"1")
    view.see(Entry("b", b"1", 2))
    assert view.end_resync() == []
    view.begin_resync()
    assert view.see(Entry("a", b"1", 1)) is None
    assert [change.key for change in view.end_resync()] == ["b"]
    gone = view.see(Entry("a", None, 9))
    assert gone is not None
    assert (gone.kind, gone.revision) == (ChangeKind.DELETE, 9)
    assert view.see(Entry("never-seen", None, 10)) is None
    again = view.see(Entry("a", b"2", 11))
    assert again is not None
    assert again.kind is ChangeKind.PUT


def test_differences_ignore_what_the_server_adds() -> None:
    assert differences({"max_bytes": 1, "allow_atomic": False}, {"max_bytes": 1, "x": 2}) == ()
    assert differences({"max_bytes": 2, "allow_atomic": True}, {"max_bytes": 1}) == (
        "allow_atomic",
        "max_bytes",
    )


def test_every_stream_is_bounded_and_on_disk() -> None:
    for spec in all_streams():
        config = spec.config(scale=0.5, replicas=3)
        assert config["storage"] == "file"
        assert isinstance(config["max_bytes"], int)
        assert config["max_bytes"] > 0
        assert config["num_replicas"] == 3
        assert config["allow_direct"] is False
        assert "persist_mode" not in config
    assert bytes_needed(2.0) > bytes_needed(1.0) > 0


def test_stream_subjects_never_overlap() -> None:
    owned = [subject for spec in all_streams() for subject in spec.subjects]
    assert len(owned) == len(set(owned))
    for one in owned:
        for other in owned:
            assert one == other or not fnmatchcase(one, other.replace(">", "*"))


def test_a_nodes_permissions_name_only_itself() -> None:
    allowed = permissions.node("node-1")
    shared = {
        "$JS.API.STREAM.MSG.GET.KV_blazz_fleet",
        "$JS.API.STREAM.INFO.KV_blazz_fleet",
    }
    for subject in (*allowed.publish, *allowed.subscribe):
        assert subject in shared or ".node-1" in subject or "_INBOX_node-1." in subject
    assert bucket_subject(FLEET, keys.node_key("node-1")) in allowed.publish
    assert "$JS.API.>" not in allowed.publish


def test_a_nodes_account_takes_what_the_node_may_use_and_no_more() -> None:
    for allowed in (permissions.node("node-1"), permissions.node("node-1", own_account=True)):
        assert len(allowed.publish) == len(permissions.node_imports("node-1")) - 1
        assert not any(subject.startswith("$JS.ACK") for subject in allowed.publish)
    own = permissions.node("node-1", own_account=True)
    assert not any(subject.startswith("$JS") for subject in own.publish)
    for taken, offered in zip(
        permissions.node_imports("node-1"), permissions.node_imports("*"), strict=True
    ):
        assert offered.subject in (taken.subject, taken.subject.replace("node-1", "*"))


def test_a_viewer_writes_nothing() -> None:
    for subject in permissions.viewer("viewer").publish:
        assert subject.startswith(("$JS.API.", "_INBOX_viewer."))
        assert not any(
            word in subject for word in ("PURGE", "UPDATE", ".STREAM.DELETE", "MSG.DELETE")
        )


def test_whoever_takes_backups_writes_nothing() -> None:
    for subject in permissions.backup("backup").publish:
        assert subject in {
            "$JS.API.STREAM.INFO.*",
            "$JS.API.STREAM.SNAPSHOT.*",
            "$JS.SNAPSHOT.ACK.>",
            "_INBOX_backup.>",
        }


def test_a_copy_goes_in_smaller_pieces_while_the_server_is_slow() -> None:
    assert next_size(CHUNK_BYTES, 0.01) == CHUNK_BYTES
    assert next_size(2048, 0.01) == 4096
    assert next_size(CHUNK_BYTES, 0.2) == CHUNK_BYTES
    assert next_size(CHUNK_BYTES, 1.0) == CHUNK_BYTES // 4
    assert next_size(2048, 4.0) == 2048


def test_settings_do_not_show_the_seed() -> None:
    settings = BusSettings(servers=("nats://127.0.0.1:1",), name="x", nkey_seed="SUSECRET")
    assert "SUSECRET" not in repr(settings)


def test_a_watch_looks_only_for_keys_that_are_due_and_tells_once() -> None:
    view = View()
    for revision, (key, look_at) in enumerate({"a": 5.0, "b": 9.0, "c": None}.items(), 1):
        view.note_expiry(key, look_at)
        assert view.see(Entry(key, b"{}", revision)) is not None
    assert view.overdue(4.9) == []
    assert view.overdue(5.0) == ["a"]
    view.note_expiry("a", 12.0)  # written again
    assert view.overdue(9.0) == ["b"]
    missed = view.missed("b")
    assert missed is not None
    assert (missed.kind, missed.key) == (ChangeKind.DELETE, "b")
    assert view.missed("b") is None
    assert view.overdue(11.0) == []
    # It may come again, with whatever revision.
    assert view.see(Entry("b", b"{}", 4)) is not None


def test_no_stream_that_nodes_write_to_lets_one_message_replace_the_others() -> None:
    written = {subject.split(".")[1] for subject in permissions.node("n").publish}
    for spec in all_streams():
        if any(subject.split(".")[1] in written for subject in spec.subjects):
            assert spec.config(scale=1.0, replicas=1)["allow_rollup_hdrs"] is False, spec.name
