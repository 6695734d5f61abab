"""Settings of the ledger: which store, and how long messages are kept.

Owns defaults and their reasons. MongoDB's URI, which may bear a password, is named by file.
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.resources import DAY_S, LEDGER_AGE_MAX_S, RETENTION_MIN_S


class LedgerStoreKind(StrEnum):
    """Where messages are kept."""

    JETSTREAM = "jetstream"
    """On the bus itself: needs nothing else; 1 GiB and 30 days at most."""
    MONGO = "mongo"
    """In MongoDB: for a fleet, and for as long as one likes."""


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the ledger needs to know.

    - `retention_s`: how long a message is kept, from its own time on; a tenant may have another
      (`TenantRecord.message_retention_s`). What is written already keeps the time it was given.
    - `index_max`: messages in the JetStream store's index of recent sessions, some 250 bytes each.
    """

    store: LedgerStoreKind = LedgerStoreKind.JETSTREAM
    mongo_uri_file: Path | None = None
    mongo_database: str = "blazz"
    mongo_collection: str = "messages"
    retention_s: float = 30 * DAY_S
    index_max: int = 100_000

    def checked(self, retention_s: float) -> float:
        """A retention that this store can keep. Raises `validation_failed`."""
        if retention_s < RETENTION_MIN_S:
            raise BlazzError(
                ErrorCode.VALIDATION_FAILED,
                f"messages are kept for {RETENTION_MIN_S:.0f} s at least",
            )
        if self.store is LedgerStoreKind.JETSTREAM and retention_s > LEDGER_AGE_MAX_S:
            raise BlazzError(
                ErrorCode.VALIDATION_FAILED,
                f"the JetStream ledger keeps messages for {LEDGER_AGE_MAX_S:.0f} s at most; "
                "the MongoDB one has no limit",
            )
        return retention_s
