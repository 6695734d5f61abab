"""The master key's file, and the pure rules of the vault, case by case."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from control_plane.vault import master_keys
from control_plane.vault.data_keys import unwrap, wrap
from control_plane.vault.master_keys import (
    MasterKey,
    MasterKeyRing,
    ensure_key_file,
    find_key_file,
    read_keys,
    write_keys,
)
from schemas.errors import BlazzError, ErrorCode

SESSION = "ses_" + "0" * 25 + "1"


def missing(path: Path) -> str:
    with pytest.raises(BlazzError) as error:
        read_keys(path)
    assert error.value.code is ErrorCode.MASTER_KEY_MISSING
    return error.value.detail


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def text_of(key: MasterKey) -> str:
    return base64.b64encode(key.secret).decode()


def test_a_made_file_is_ours_alone_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "data" / "master-key"
    ensure_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = read_keys(path)
    ensure_key_file(path)
    assert [key.key_id for key in read_keys(path)] == [key.key_id for key in first]
    assert sorted(each.name for each in path.parent.iterdir()) == ["master-key"]


def test_reads_keys_in_order_with_notes_between(tmp_path: Path) -> None:
    keys = [MasterKey.make() for _ in range(3)]
    lines = ["# active", text_of(keys[0]), "", "  # older", *map(text_of, keys[1:])]
    found = read_keys(written(tmp_path / "k", "\n".join(lines)))
    assert [key.key_id for key in found] == [key.key_id for key in keys]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "k", text_of(MasterKey.make()), mode)
    assert "chmod 600" in missing(path)


def test_a_credential_is_read_only(tmp_path: Path) -> None:
    assert len(read_keys(written(tmp_path / "k", text_of(MasterKey.make()), 0o400))) == 1


def test_a_credential_whose_acl_shows_as_its_group_is_read(tmp_path: Path) -> None:
    """systemd 254 and later: mode 0440 by the ACL's mask, in a directory of the service's own."""
    path = written(tmp_path / "k", text_of(MasterKey.make()), 0o440)
    assert len(read_keys(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})) == 1
    assert "chmod 600" in missing(path)
    path.chmod(0o444)
    with pytest.raises(BlazzError):
        read_keys(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize("text", ["", "# only a note\n", "secretsecret", "c2hvcnQ=\n"])
def test_what_is_no_key_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    detail = missing(written(tmp_path / "k", text))
    assert "secret" not in detail
    assert "c2hv" not in detail


def test_no_file_is_no_key(tmp_path: Path) -> None:
    missing(tmp_path / "nothing")


def test_a_key_does_not_show_itself() -> None:
    key = MasterKey.make()
    shown = f"{key!r} {key}"
    assert key.key_id in shown
    assert text_of(key) not in shown
    assert key.secret.hex() not in shown
    assert key.key_id not in key.secret.hex()


def test_settings_come_before_the_credential(tmp_path: Path) -> None:
    credential = written(tmp_path / master_keys.CREDENTIAL, "x")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_key_file(Path("/set"), environ) == Path("/set")
    assert find_key_file(None, environ) == credential
    assert find_key_file(None, {}) is None
    assert find_key_file(None, {"CREDENTIALS_DIRECTORY": str(tmp_path / "other")}) is None


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k"
    ensure_key_file(path)
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_keys(path, [MasterKey.make()])
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["k"]


async def test_the_ring_finds_a_key_that_was_just_added(tmp_path: Path) -> None:
    path = tmp_path / "k"
    old, new = MasterKey.make(), MasterKey.make()
    write_keys(path, [old])
    ring = MasterKeyRing(path)
    assert (await ring.active()).key_id == old.key_id
    write_keys(path, [new, old])
    # By its id at once; as the active one within a moment.
    assert (await ring.by_id(new.key_id)).key_id == new.key_id
    assert (await ring.active(look=True)).key_id == new.key_id
    with pytest.raises(BlazzError) as unknown:
        await ring.by_id("0" * 16)
    assert unknown.value.code is ErrorCode.MASTER_KEY_MISSING


def test_a_wrapped_key_opens_for_its_session_and_master_key_only() -> None:
    master, data_key = MasterKey.make(), os.urandom(32)
    record = wrap(data_key, SESSION, master)
    assert unwrap(record, SESSION, master) == data_key
    assert wrap(data_key, SESSION, master).wrapped != record.wrapped
    for session_id, key in ((SESSION[:-1] + "2", master), (SESSION, MasterKey.make())):
        with pytest.raises(BlazzError) as refused:
            unwrap(record, session_id, key)
        assert refused.value.code is ErrorCode.MASTER_KEY_MISSING
