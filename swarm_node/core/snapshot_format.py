"""The container: what stands inside a snapshot object, before it is compressed and sealed.

Owns its layout, its checks and the data that seals are bound to. A container is a magic word, the
length of its header, the header (msgpack) and the files' bytes one after another. Nothing in it is
believed: paths that leave the profile, sizes that don't add up and unknown formats are refused.
Pure: bytes in, bytes out.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import STORAGE_FORMAT, SnapshotManifest
from schemas.states import EngineKind

MAGIC: Final = b"BZC1"
PLAIN_BYTES_MAX: Final = 512 * 1024 * 1024
_PATH_BYTES_MAX: Final = 1024
_LENGTH_BYTES: Final = 4


class PartKind(StrEnum):
    """What is done with a file."""

    REPLACE = "replace"
    APPEND = "append"
    DELETE = "delete"


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file's change. `path` is relative, with `/`. `offset`: where an append begins, which is
    the size the file must have by then."""

    path: str
    kind: PartKind
    size: Annotated[int, Meta(ge=0)] = 0
    offset: Annotated[int, Meta(ge=0)] = 0


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the container holds. `after`: the object a delta follows; None for a baseline."""

    engine: EngineKind
    parts: tuple[Part, ...]
    after: str | None = None
    page_storage: dict[str, str] | None = None
    storage_format: int = STORAGE_FORMAT


def encode(header: Header, blobs: Sequence[bytes]) -> bytes:
    """Pack a container; `blobs` are the parts' bytes, in order, deletions left out.

    Raises `snapshot_too_large`.
    """
    head = msgspec.msgpack.encode(header)
    size = len(head) + sum(len(blob) for blob in blobs)
    if size > PLAIN_BYTES_MAX:
        raise too_large(size)
    return b"".join((MAGIC, len(head).to_bytes(_LENGTH_BYTES, "big"), head, *blobs))


def decode(data: bytes) -> tuple[Header, memoryview]:
    """Unpack a container into its header and the bytes of its files.

    Raises `snapshot_corrupt`, `snapshot_incompatible`.
    """
    view = memoryview(data)
    start = len(MAGIC) + _LENGTH_BYTES
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise _corrupt("it is no container")
    end = start + int.from_bytes(view[len(MAGIC) : start], "big")
    if len(view) < end:
        raise _corrupt("its header is cut off")
    try:
        header = msgspec.msgpack.decode(view[start:end], type=Header)
    except msgspec.MsgspecError:
        raise _corrupt("its header can't be read") from None
    if header.storage_format != STORAGE_FORMAT:
        raise BlazzError(
            ErrorCode.SNAPSHOT_INCOMPATIBLE,
            f"its storage format is {header.storage_format}, this node reads {STORAGE_FORMAT}",
        )
    _check(header, len(view) - end)
    return header, view[end:]


def contents(header: Header, files: memoryview) -> Iterator[tuple[Part, memoryview]]:
    """Each part with its bytes."""
    at = 0
    for part in header.parts:
        yield part, files[at : at + part.size]
        at += part.size


def _check(header: Header, bytes_there: int) -> None:
    paths = [part.path for part in header.parts]
    if len(set(paths)) != len(paths):
        raise _corrupt("a path stands in it twice")
    for part in header.parts:
        if not safe_path(part.path):
            raise _corrupt("a path leads out of the profile")
        if part.kind is PartKind.DELETE and part.size:
            raise _corrupt("a deletion has bytes")
        if header.after is None and part.kind is not PartKind.REPLACE:
            raise _corrupt("a baseline builds on something")
    if sum(part.size for part in header.parts) != bytes_there:
        raise _corrupt("the sizes of its files don't add up")


def safe_path(path: str) -> bool:
    """Whether a path is relative, plain and stays inside."""
    if not path or len(path.encode()) > _PATH_BYTES_MAX or "\0" in path or "\\" in path:
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def associated_data(session_id: str, epoch: int, name: str) -> bytes:
    """What a seal is bound to: bytes of another session, epoch, name or format don't open."""
    return msgspec.msgpack.encode(("blazz-snapshot", STORAGE_FORMAT, session_id, epoch, name))


def check_fits(manifest: SnapshotManifest, *, engine: EngineKind, build: str | None) -> None:
    """Refuse what this node can't run. `build`: of this node's Chromium.

    Raises `snapshot_incompatible`.
    """
    if manifest.engine is not engine:
        detail = f"it is of the engine {manifest.engine}, the session runs {engine}"
    elif manifest.storage_format != STORAGE_FORMAT:
        detail = f"its format is {manifest.storage_format}, this node reads {STORAGE_FORMAT}"
    elif engine is EngineKind.CHROMIUM and manifest.chromium_build != build:
        detail = f"it was made by Chromium {manifest.chromium_build}, this node runs {build}"
    else:
        return
    raise BlazzError(ErrorCode.SNAPSHOT_INCOMPATIBLE, detail)


def too_large(size: int) -> BlazzError:
    """The error for a profile beyond the limit."""
    return BlazzError(
        ErrorCode.SNAPSHOT_TOO_LARGE,
        f"{size} bytes, the limit is {PLAIN_BYTES_MAX}",
        size_bytes=size,
        size_bytes_max=PLAIN_BYTES_MAX,
    )


def _corrupt(detail: str) -> BlazzError:
    return BlazzError(ErrorCode.SNAPSHOT_CORRUPT, detail)
