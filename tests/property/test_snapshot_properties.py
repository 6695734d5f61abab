"""Snapshots as a whole: whatever happens to a profile's files, what was captured comes back."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import DELTAS_MAX
from schemas.states import EngineKind
from swarm_node.core.snapshot_delta import BASELINE_FLOOR_BYTES, Chain, FileMark, needs_baseline
from swarm_node.core.snapshot_format import (
    Header,
    Part,
    PartKind,
    associated_data,
    decode,
    encode,
    safe_path,
)
from swarm_node.core.snapshot_rules import CapturePolicy, CaptureState, capture_due_s
from swarm_node.engines.contract import SnapshotFiles
from swarm_node.vault.capture import capture
from swarm_node.vault.profile_writer import ProfileWriter
from swarm_node.vault.sealing import NONCE_BYTES, seal, unseal

FILES = SnapshotFiles(
    include=("kept", "one.log", "top"), exclude=("LOCK", "*.tmp"), append_only=("*.log",)
)
PATHS = (
    "kept/a.log", "kept/a.log", "one.log", "kept/deep/CURRENT", "kept/deep", "top", "kept/LOCK",
)  # fmt: skip
Verb = Literal["write", "append", "truncate", "delete", "rename", "capture"]
VERBS: tuple[Verb, ...] = ("write", "append", "truncate", "delete", "rename", "capture", "capture")


class Profile:
    """A profile directory, and what is left after each thing that happens to it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "profile"
        self.root.mkdir()
        self.out = root / "restored"

    def do(self, verb: Verb, path: str, other: str, data: bytes) -> None:
        target = self.root / path
        try:
            match verb:
                case "write":
                    self._clear(target)
                    target.write_bytes(data)
                case "append" if target.is_file():
                    with target.open("ab") as file:
                        file.write(data)
                case "truncate" if target.is_file():
                    os.truncate(target, len(data) % (target.stat().st_size + 1))
                case "delete":
                    target.unlink(missing_ok=True)
                case "rename" if target.is_file() and not Path(other).is_relative_to(path):
                    goal = self.root / other
                    self._clear(goal)
                    target.rename(goal)
                case _:
                    pass
        except (NotADirectoryError, IsADirectoryError, FileNotFoundError, PermissionError):
            return

    def _clear(self, target: Path) -> None:
        """A directory may have to give way to a file, and a file to a directory."""
        if target.is_dir():
            shutil.rmtree(target)
        for parent in target.parents:
            if parent.is_file():
                parent.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)

    def kept(self) -> dict[str, bytes]:
        """What a snapshot must hold, read the plain way."""
        return {path: data for path, data in tree(self.root).items() if _included(path)}


def _included(path: str) -> bool:
    name = path.rpartition("/")[2]
    if name == "LOCK" or name.endswith(".tmp"):
        return False
    return path in ("one.log", "top") or path.startswith("kept/") or path == "kept"


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def read(container: bytes) -> tuple[Header, None] | tuple[None, ErrorCode]:
    """A container's header, or why it was refused."""
    try:
        return decode(container)[0], None
    except BlazzError as refused:
        return None, refused.code


@contextmanager
def profile() -> Iterator[Profile]:
    with tempfile.TemporaryDirectory() as root:
        yield Profile(Path(root))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(VERBS),
        st.sampled_from(PATHS),
        st.sampled_from(PATHS),
        st.integers(0, 9000),
        st.integers(0, 255),
    ),
    min_size=6,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_history_of_files_comes_back_byte_for_byte(
    steps: list[tuple[Verb, str, str, int, int]],
) -> None:
    with profile() as held:
        marks: dict[str, FileMark] = {}
        containers: list[bytes] = []
        for verb, path, other, size, seed in [*steps, ("capture", "top", "top", 0, 0)]:
            if verb != "capture":
                held.do(verb, path, other, bytes((seed + i * i) % 256 for i in range(size)))
                continue
            found = capture(held.root, FILES, marks)
            marks = found.marks
            after = f"object-{len(containers)}" if containers else None
            header = Header(engine=EngineKind.LOOPBACK, parts=found.parts, after=after)
            containers.append(encode(header, found.blobs))

            writer = ProfileWriter(held.out)
            for container in containers:
                writer.apply(*decode(container))
            writer.finish()
            assert tree(held.out) == held.kept()


@settings(max_examples=40, deadline=None)
@given(plain=st.binary(max_size=5000), nonce=st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES))
def test_a_seal_opens_only_with_its_key_and_name(plain: bytes, nonce: bytes) -> None:
    key, bound_to = b"k" * 32, associated_data("ses_a", 3, "ses_a/3-7")
    sealed = seal(plain, key=key, bound_to=bound_to, nonce=nonce)
    assert unseal(sealed, key=key, bound_to=bound_to) == plain
    if len(plain) > 16:
        assert plain not in sealed
    for wrong in (
        associated_data("ses_b", 3, "ses_a/3-7"),
        associated_data("ses_a", 4, "ses_a/3-7"),
        associated_data("ses_a", 3, "ses_a/3-8"),
    ):
        with pytest.raises(BlazzError) as refused:
            unseal(sealed, key=key, bound_to=wrong)
        assert refused.value.code is ErrorCode.SNAPSHOT_CORRUPT
    with pytest.raises(BlazzError):
        unseal(sealed, key=b"l" * 32, bound_to=bound_to)


@settings(max_examples=60, deadline=None)
@given(plain=st.binary(max_size=300), data=st.data())
def test_a_torn_or_changed_object_is_refused(plain: bytes, data: st.DataObject) -> None:
    key, bound_to = b"k" * 32, associated_data("ses_a", 1, "ses_a/1-1")
    sealed = seal(plain, key=key, bound_to=bound_to, nonce=b"n" * NONCE_BYTES)
    at = data.draw(st.integers(0, len(sealed) - 1))
    flipped = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
    for broken in (sealed[:at], flipped, sealed + b"x"):
        with pytest.raises(BlazzError) as refused:
            unseal(broken, key=key, bound_to=bound_to)
        assert refused.value.code is ErrorCode.SNAPSHOT_CORRUPT


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_container_reader_do_anything_but_refuse(junk: bytes) -> None:
    for data in (junk, b"BZC1" + junk, b"BZC1\x00\x00\x00\x05" + junk):
        header, code = read(data)
        if header is None:
            assert code in (ErrorCode.SNAPSHOT_CORRUPT, ErrorCode.SNAPSHOT_INCOMPATIBLE)
        else:
            assert all(safe_path(part.path) for part in header.parts)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "b c", "\\", "\0", "~"]), max_size=5))
def test_a_path_that_leaves_the_profile_is_never_written(parts: list[str]) -> None:
    path = "/".join(parts)
    header = Header(
        engine=EngineKind.LOOPBACK, parts=(Part(path, PartKind.REPLACE, 1),), after=None
    )
    accepted, code = read(encode(header, [b"x"]))
    if accepted is None:
        assert code is ErrorCode.SNAPSHOT_CORRUPT
    else:
        inside = Path(os.path.normpath(Path("/profile") / path))
        assert inside.is_relative_to("/profile")
        assert inside != Path("/profile")


@given(
    state=st.builds(
        CaptureState,
        online=st.just(True),
        linked_at_s=st.floats(0, 100),
        looked_at_s=st.none() | st.floats(100, 200),
        active_since_s=st.none() | st.floats(100, 300),
    ),
    spread=st.floats(0, 1),
)
def test_a_busy_session_is_captured_within_its_bound(state: CaptureState, spread: float) -> None:
    policy = CapturePolicy()
    due_s = capture_due_s(policy, state, spread)
    assert due_s is not None
    assert state.linked_at_s is not None
    assert due_s >= state.linked_at_s + policy.first_s
    if state.looked_at_s is not None:
        assert due_s <= max(state.looked_at_s + policy.idle_s, state.linked_at_s + policy.first_s)
        if state.active_since_s is not None and state.active_since_s >= state.looked_at_s:
            assert due_s <= max(
                state.active_since_s + policy.busy_s, state.linked_at_s + policy.first_s
            )


@given(sizes=st.lists(st.integers(1, 400_000), max_size=80), baseline=st.integers(1, 3_000_000))
def test_generations_stay_short_and_small(sizes: list[int], baseline: int) -> None:
    chain = Chain(baseline)
    for size in sizes:
        if needs_baseline(chain):
            break
        chain = chain.grown(size)
    assert chain.deltas <= DELTAS_MAX
    assert chain.delta_bytes <= max(baseline, BASELINE_FLOOR_BYTES) + 400_000
