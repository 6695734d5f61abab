"""Reading a profile that is in use, and writing one: the cases that chance rarely meets."""

import os
from pathlib import Path

import pytest

from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind
from swarm_node.core.snapshot_delta import (
    BLOCK_BYTES,
    Append,
    Delete,
    FileMark,
    FileStat,
    Replace,
    held_still,
    plan,
)
from swarm_node.core.snapshot_format import Header, Part, PartKind, decode, encode
from swarm_node.engines.contract import SnapshotFiles
from swarm_node.vault.capture import TRIES, Captured, capture
from swarm_node.vault.profile_writer import ProfileWriter, swap

FILES = SnapshotFiles(include=("db",), exclude=("LOCK",), append_only=("*.log",))
LOGS = FILES.append_only


@pytest.fixture
def db(tmp_path: Path) -> Path:
    folder = tmp_path / "profile" / "db"
    folder.mkdir(parents=True)
    return folder


def old(path: Path) -> None:
    """Make a file look as if it was written a while ago."""
    os.utime(path, ns=(10**18, 10**18))


def kinds(found: Captured) -> dict[str, tuple[PartKind, int]]:
    return {part.path: (part.kind, part.size) for part in found.parts}


def container(*parts: tuple[Part, bytes], after: str | None = None) -> bytes:
    header = Header(engine=EngineKind.LOOPBACK, parts=tuple(part for part, _ in parts), after=after)
    return encode(header, [blob for part, blob in parts if part.kind is not PartKind.DELETE])


def test_only_what_was_appended_is_read_again(db: Path) -> None:
    (db / "1.log").write_bytes(b"a" * 10_000)
    (db / "table").write_bytes(b"t" * 500)
    old(db / "table")
    first = capture(db.parent, FILES, {})
    assert kinds(first) == {
        "db/1.log": (PartKind.REPLACE, 10_000),
        "db/table": (PartKind.REPLACE, 500),
    }
    with (db / "1.log").open("ab") as file:
        file.write(b"b" * 7)
    second = capture(db.parent, FILES, first.marks)
    assert kinds(second) == {"db/1.log": (PartKind.APPEND, 7)}
    assert second.parts[0].offset == 10_000
    assert capture(db.parent, FILES, second.marks).parts == ()


def test_a_log_written_anew_in_place_is_read_whole(db: Path) -> None:
    log = db / "1.log"
    log.write_bytes(b"a" * 10_000)
    first = capture(db.parent, FILES, {})
    with log.open("r+b") as file:
        file.write(b"c" * 12_000)
    assert kinds(capture(db.parent, FILES, first.marks)) == {"db/1.log": (PartKind.REPLACE, 12_000)}


def test_a_log_rewritten_within_one_tick_of_the_clock_is_noticed(db: Path) -> None:
    log = db / "1.log"
    log.write_bytes(b"a" * 100)
    first = capture(db.parent, FILES, {})
    time_ns = log.stat().st_mtime_ns
    with log.open("r+b") as file:
        file.write(b"b" * 100)
    os.utime(log, ns=(time_ns, time_ns))
    assert kinds(capture(db.parent, FILES, first.marks)) == {"db/1.log": (PartKind.REPLACE, 100)}


def test_a_file_that_was_just_written_is_waited_for(db: Path) -> None:
    current = db / "CURRENT"
    current.write_bytes(b"one")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        current.write_bytes(b"two")
        old(current)

    found = capture(db.parent, FILES, {}, pause=pause)
    assert len(pauses) == 1
    assert found.blobs == (b"two",)


def test_files_that_never_hold_still_are_given_up(db: Path) -> None:
    current = db / "CURRENT"
    current.write_bytes(b"0")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        current.write_bytes(b"%d" % len(pauses))

    with pytest.raises(BlazzError) as given_up:
        capture(db.parent, FILES, {}, pause=pause)
    assert given_up.value.code is ErrorCode.TIMEOUT
    assert len(pauses) == TRIES - 1


def test_links_are_never_followed(db: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"private")
    old(secret / "key")
    (db / "file").symlink_to(secret / "key")
    (db / "folder").symlink_to(secret)
    assert capture(db.parent, FILES, {}).parts == ()
    beyond = SnapshotFiles(include=("db/folder/key", "db/folder"))
    assert capture(db.parent, beyond, {}).parts == ()


def test_a_file_of_the_same_end_under_another_inode_is_no_append() -> None:
    mark = FileMark(FileStat(BLOCK_BYTES * 2, 1, inode=7), tail=b"t", content=b"c")
    scan = {"db/1.log": FileStat(BLOCK_BYTES * 3, 2, inode=8)}
    assert plan({"db/1.log": mark}, scan, LOGS) == (Replace("db/1.log"),)
    same = {"db/1.log": FileStat(BLOCK_BYTES * 3, 2, inode=7)}
    assert plan({"db/1.log": mark}, same, LOGS) == (Append("db/1.log", BLOCK_BYTES * 2, b"t"),)
    shrunk = {"db/1.log": FileStat(5, 2, inode=7)}
    assert plan({"db/1.log": mark}, shrunk, LOGS) == (Replace("db/1.log"),)
    assert plan({"db/1.log": mark}, {}, LOGS) == (Delete("db/1.log"),)


def test_one_moment_is_when_nothing_but_logs_has_moved() -> None:
    log, table = FileStat(10, 1, 1), FileStat(10, 1, 2)
    before = {"db/1.log": log, "db/2.ldb": table}
    assert held_still(before, {**before, "db/1.log": FileStat(20, 2, 1)}, LOGS)
    assert not held_still(before, {**before, "db/1.log": FileStat(5, 2, 1)}, LOGS)
    assert not held_still(before, {**before, "db/1.log": FileStat(20, 2, 3)}, LOGS)
    assert not held_still(before, {**before, "db/2.ldb": FileStat(10, 2, 2)}, LOGS)
    assert not held_still(before, {**before, "db/3.ldb": table}, LOGS)
    assert not held_still(before, {"db/1.log": log}, LOGS)


# Writing -----------------------------------------------------------------------------------------


def test_a_delta_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    writer = ProfileWriter(tmp_path / "new")
    writer.apply(*decode(container((Part("a.log", PartKind.REPLACE, 3), b"abc"))))
    for part in (
        Part("a.log", PartKind.APPEND, 1, offset=2),
        Part("b.log", PartKind.APPEND, 1, offset=0),
    ):
        with pytest.raises(BlazzError) as refused:
            writer.apply(*decode(container((part, b"x"), after="before")))
        assert refused.value.code is ErrorCode.SNAPSHOT_CORRUPT
    assert (tmp_path / "new" / "a.log").read_bytes() == b"abc"


def test_a_file_may_come_where_a_directory_was(tmp_path: Path) -> None:
    writer = ProfileWriter(tmp_path / "new")
    writer.apply(*decode(container((Part("a/b/c", PartKind.REPLACE, 1), b"1"))))
    change = ((Part("a/b/c", PartKind.DELETE), b""), (Part("a", PartKind.REPLACE, 1), b"2"))
    writer.apply(*decode(container(*change, after="before")))
    writer.finish()
    assert (tmp_path / "new" / "a").read_bytes() == b"2"


@pytest.mark.parametrize(
    "part",
    [
        Part("../a", PartKind.REPLACE, 1),
        Part("/etc/a", PartKind.REPLACE, 1),
        Part("a//b", PartKind.REPLACE, 1),
        Part("a", PartKind.REPLACE, 2),
        Part("a", PartKind.APPEND, 1),
    ],
)
def test_a_container_that_lies_is_refused(part: Part) -> None:
    with pytest.raises(BlazzError) as refused:
        decode(container((part, b"x")))
    assert refused.value.code is ErrorCode.SNAPSHOT_CORRUPT


def test_another_storage_format_is_incompatible() -> None:
    header = Header(engine=EngineKind.LOOPBACK, parts=(), storage_format=99)
    with pytest.raises(BlazzError) as refused:
        decode(encode(header, []))
    assert refused.value.code is ErrorCode.SNAPSHOT_INCOMPATIBLE


def test_the_first_profile_put_aside_is_the_one_kept(tmp_path: Path) -> None:
    place, aside = tmp_path / "profile", tmp_path / "beside" / "aside"
    for generation in ("own", "first", "second"):
        new = tmp_path / f"new-{generation}"
        new.mkdir()
        (new / "is").write_text(generation)
        swap(new, place, aside)
    assert (place / "is").read_text() == "second"
    assert (aside / "is").read_text() == "own"
