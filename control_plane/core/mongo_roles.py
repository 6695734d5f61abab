"""Roles in MongoDB: what control planes, and whoever takes backups, may do there.

Owns the lists, as data. Nodes have none: no account, and no way to MongoDB. Never connects.
A stored snapshot is made and removed (by the pruner), never changed: so nobody may update one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

CONTROL_PLANE_ROLE: Final = "blazz_control_plane"
BACKUP_ROLE: Final = "blazz_backup"

_READ: Final = ("find", "listIndexes", "collStats")
_SNAPSHOTS: Final = (*_READ, "insert", "remove", "createIndex")
_MESSAGES: Final = (*_READ, "insert", "update", "remove", "createIndex")


class MongoRole(msgspec.Struct, frozen=True):
    """A role of one database: actions by collection."""

    name: str
    actions: Mapping[str, Sequence[str]]

    def command(self, database: str) -> dict[str, Any]:
        """What `createRole` (or `updateRole`) is told."""
        return {
            "createRole": self.name,
            "privileges": [
                {
                    "resource": {"db": database, "collection": collection},
                    "actions": sorted(actions),
                }
                for collection, actions in self.actions.items()
            ],
            "roles": [],
        }


def mongo_roles(
    *, ledger: str = "messages", snapshots: str = "snapshots"
) -> tuple[MongoRole, MongoRole]:
    """Those of control planes and of backups, for a collection of messages and a GridFS bucket."""
    chunks, files = f"{snapshots}.chunks", f"{snapshots}.files"
    return (
        MongoRole(CONTROL_PLANE_ROLE, {ledger: _MESSAGES, chunks: _SNAPSHOTS, files: _SNAPSHOTS}),
        MongoRole(BACKUP_ROLE, dict.fromkeys((ledger, chunks, files), _READ)),
    )
