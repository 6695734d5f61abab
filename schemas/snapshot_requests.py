"""Snapshot requests: what a node asks of the vault by request/reply, and what it gets back.

Owns their structs. A session's snapshots are put, committed and read under its epoch: anything else
is refused with `stale_epoch`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.commands import Epoch
from schemas.ids import NodeId, SessionId
from schemas.messages import MEDIA_CHUNK_BYTES
from schemas.snapshots import SnapshotManifest, SnapshotName, SnapshotObject


class PutSnapshotChunk(msgspec.Struct, frozen=True):
    """A node hands over one chunk of a sealed snapshot object, in order; refused with
    `stale_epoch` unless the session is assigned to this node under this epoch."""

    node_id: NodeId
    session_id: SessionId
    epoch: Epoch
    name: SnapshotName
    offset: Annotated[int, Meta(ge=0)]
    data: Annotated[bytes, Meta(max_length=MEDIA_CHUNK_BYTES)]
    last: bool = False


class CommitSnapshot(msgspec.Struct, frozen=True):
    """Make a whole, stored object part of the session's snapshots: a new generation when
    `snapshot` is a baseline, else the newest generation's next delta. The store is read back first;
    the pointer is written under the assignment's fence.

    `proven_generation`: the one this epoch was restored from, once it has come online.
    `linked_epoch`: see `SnapshotGeneration`.
    """

    node_id: NodeId
    session_id: SessionId
    epoch: Epoch
    snapshot: SnapshotObject
    manifest: SnapshotManifest
    proven_generation: int | None = None
    linked_epoch: Annotated[int, Meta(ge=0)] = 0


class SnapshotStored(msgspec.Struct, frozen=True):
    """The chunk is stored (`committed` false), or the pointer names the object."""

    name: SnapshotName
    committed: bool = False


class GetSnapshotChunk(msgspec.Struct, frozen=True):
    """A node reads a chunk of a snapshot object of a session that is assigned to it."""

    node_id: NodeId
    session_id: SessionId
    epoch: Epoch
    name: SnapshotName
    offset: Annotated[int, Meta(ge=0)] = 0


class SnapshotChunk(msgspec.Struct, frozen=True):
    """At most `MEDIA_CHUNK_BYTES` of a sealed object."""

    data: Annotated[bytes, Meta(max_length=MEDIA_CHUNK_BYTES)]
    offset: int
    total_bytes: int
