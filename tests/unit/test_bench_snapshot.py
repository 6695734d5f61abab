"""What the snapshot bench measures of a profile."""

from pathlib import Path

from bench.snapshot import Saver


def _grow(profile: Path, data: bytes) -> None:
    storage = profile / "Default" / "IndexedDB" / "db.leveldb"
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "000003.log").open("ab") as log:
        log.write(data)


def test_a_second_capture_holds_only_what_was_added(tmp_path: Path) -> None:
    saver = Saver(tmp_path)
    _grow(tmp_path, bytes(range(256)) * 400)
    whole = saver.save()
    _grow(tmp_path, b"a little more")
    more = saver.save()
    assert whole.plain_bytes > 100_000
    assert 0 < more.plain_bytes < 1_000
    assert saver.save().size_bytes == 0


def test_the_zip_holds_all_of_it_every_time(tmp_path: Path) -> None:
    saver = Saver(tmp_path)
    _grow(tmp_path, b"x" * 10_000)
    assert saver.zip_whole().plain_bytes == 10_000
    _grow(tmp_path, b"x")
    assert saver.zip_whole().plain_bytes == 10_001
