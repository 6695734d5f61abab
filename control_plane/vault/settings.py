"""Settings of the vault: which store, which keys, how long things are kept.

Owns defaults and their reasons. Secrets (the master key, MongoDB's URI) are named by file.
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from schemas.snapshots import GENERATIONS_KEPT


class StoreKind(StrEnum):
    """Where snapshot objects lie."""

    JETSTREAM = "jetstream"
    """On the bus itself: needs nothing else; for up to a few hundred sessions."""
    MONGO = "mongo"
    """In MongoDB GridFS: for a fleet."""


class VaultSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the vault needs to know.

    - `master_key_file`: None means systemd's credential `master-key`.
    - `mongo_uri_file`: holds the URI, which may bear a password.
    """

    store: StoreKind = StoreKind.JETSTREAM
    master_key_file: Path | None = None
    mongo_uri_file: Path | None = None
    mongo_database: str = "blazz"
    mongo_bucket: str = "snapshots"
    generations_kept: int = GENERATIONS_KEPT
    data_key_cache_s: float = 60.0
    """How long an opened data key stays in memory."""
    sweep_s: float = 30.0
    """How often sessions with too many generations are looked for."""
    orphan_sweep_s: float = 600.0
    """How often the store is listed."""
    orphan_after_s: float = 3600.0
    """An object no pointer names for so long belongs to an upload that was given up."""
    gone_grace_s: float = 24 * 3600.0
    """A deleted session's snapshots and data key stay so long, should it have been a mistake."""
