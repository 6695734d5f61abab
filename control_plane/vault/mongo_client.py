"""MongoDB: the one place that makes a client, a database and the GridFS collections.

Owns the client's settings and its lifetime. Never a query: `gridfs_store.py` asks. motor is at
the end of its life (2026-05); its successor is PyMongo's own async client, and only this module
and the awaits of its users know the difference.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import ConfigurationError, InvalidURI

from schemas.errors import BlazzError, ErrorCode

_SELECT_MS: Final = 5_000
"""How long an operation looks for a server: an election takes about 10 s, and callers repeat."""
_SOCKET_MS: Final = 15_000
_POOL_MAX: Final = 32


class GridFsCollections(msgspec.Struct, frozen=True):
    """GridFS's two collections; motor ships no types."""

    files: Any
    chunks: Any


@asynccontextmanager
async def open_gridfs(uri: str, database: str, bucket: str) -> AsyncIterator[GridFsCollections]:
    """Collections of a GridFS bucket for the block. Connects when first used.

    Every write is acknowledged by a majority and in the journal: less loses acknowledged writes.
    Raises `config_invalid` for an URI that makes no sense, without quoting it.
    """
    try:
        client: Any = AsyncIOMotorClient(
            uri,
            w="majority",
            journal=True,
            wTimeoutMS=_SOCKET_MS,
            readConcernLevel="majority",
            appname="blazz",
            serverSelectionTimeoutMS=_SELECT_MS,
            connectTimeoutMS=_SELECT_MS,
            socketTimeoutMS=_SOCKET_MS,
            maxPoolSize=_POOL_MAX,
        )
    except (ConfigurationError, InvalidURI, ValueError):
        raise BlazzError(ErrorCode.CONFIG_INVALID, "the MongoDB URI is not valid") from None
    try:
        base = client[database]
        yield GridFsCollections(base[f"{bucket}.files"], base[f"{bucket}.chunks"])
    finally:
        client.close()
