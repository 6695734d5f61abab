"""Snapshots: what is known of a session's saved states; never their content.

Owns the names, the records and the pointer. A snapshot object is immutable, sealed and compressed;
it counts only once the pointer names it. A generation is a baseline and the deltas after it, to be
applied in order; generations are independent of each other.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from schemas.ids import NodeId, SessionId, TenantId
from schemas.states import EngineKind

SnapshotName = Annotated[
    str,
    Meta(
        pattern=r"^ses_[0-9a-hjkmnp-tv-z]{26}/[0-9]+-[0-9]+$",
        description="`<session>/<epoch>-<n>`: `n` counts the objects of that epoch from 1.",
    ),
]

STORAGE_FORMAT: Final = 1
"""Of the sealed object's inside. Another one is refused with `snapshot_incompatible`."""
GENERATIONS_KEPT: Final = 3
"""The newest and those before it; the last good one is never deleted, whatever the number."""
DELTAS_MAX: Final = 60
"""After so many, a new baseline begins a new generation: restores stay quick."""
OBJECT_BYTES_MAX: Final = 256 * 1024 * 1024


def snapshot_name(session_id: str, epoch: int, number: int) -> str:
    """The name of an epoch's `number`-th object."""
    return f"{session_id}/{epoch}-{number}"


class SnapshotManifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a snapshot can be restored by: another browser build or format refuses it."""

    engine: EngineKind
    storage_format: int = STORAGE_FORMAT
    chromium_build: str | None = None


class SnapshotObject(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stored object. `sha256` is of the sealed bytes; `plain_bytes` of what they hold."""

    name: SnapshotName
    baseline: bool
    size_bytes: Annotated[int, Meta(ge=1, le=OBJECT_BYTES_MAX)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    captured_at: float
    plain_bytes: int = 0
    clean: bool = False
    """Taken after a clean stop: nothing is newer than it."""


class SnapshotGeneration(msgspec.Struct, frozen=True, omit_defaults=True):
    """A baseline and its deltas, in order. `proven` once a restore of it came online.

    `linked_epoch`: the epoch under which its device was linked; one of an earlier link is of
    another device. 0: of a release that did not say.
    """

    generation: int
    epoch: int
    node_id: NodeId
    manifest: SnapshotManifest
    objects: tuple[SnapshotObject, ...]
    proven: bool = False
    linked_epoch: int = 0


class GenerationUse(StrEnum):
    """What a generation is still good for."""

    CURRENT = "current"
    """A start on another node begins from it."""
    FALLBACK = "fallback"
    """Begun from if those newer than it can't be restored."""
    UNLINKED = "unlinked"
    """Its device is no more: nothing begins from it ever again."""


class SnapshotPointer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session's generations, newest first; its write is the commit of a snapshot."""

    session_id: SessionId
    tenant_id: TenantId
    generations: tuple[SnapshotGeneration, ...] = ()


class SnapshotHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session's snapshots in short, for those who watch the fleet.

    `epoch`, `captured_at` and `clean` are the newest object's, `chromium_build` and `node_id` the
    newest generation's; `size_bytes` is the sum of all.
    `gone_at`: when its session was first found deleted (Unix seconds); they go after a grace.
    """

    session_id: SessionId
    tenant_id: TenantId
    epoch: int = 0
    generations: int = 0
    objects: int = 0
    size_bytes: int = 0
    captured_at: float = 0.0
    clean: bool = False
    gone_at: float | None = None
    chromium_build: str | None = None
    node_id: NodeId | None = None


class DataKeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session's data key, wrapped by a master key (AES-256-GCM; session id as associated
    data). `master_key_id` says which. `session_id` is `webhooks` for the one key that seals the
    webhooks' secrets."""

    session_id: str
    wrapped: bytes
    master_key_id: str
