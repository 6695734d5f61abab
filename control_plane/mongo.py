"""MongoDB: the one place that makes a client, a database and the GridFS collections.

Owns the client's settings and its lifetime. Never a query: the stores ask. motor is at
the end of its life (2026-05); its successor is PyMongo's own async client, and only this module
and the awaits of its users know the difference.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError

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
    """Collections of a GridFS bucket for the block; see `open_database`."""
    async with open_database(uri, database) as base:
        yield GridFsCollections(base[f"{bucket}.files"], base[f"{bucket}.chunks"])


@asynccontextmanager
async def open_database(uri: str, database: str) -> AsyncIterator[Any]:
    """A database (motor's) for the block. Connects when first used.

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
        yield client[database]
    finally:
        client.close()


async def ping(uri: str, database: str) -> None:
    """One round trip. Raises `ledger_unavailable` with the failure's kind: the driver's words may
    hold the address, and with it a password."""
    try:
        async with open_database(uri, database) as base:
            await base.command("ping")
    except PyMongoError as error:
        raise BlazzError(ErrorCode.LEDGER_UNAVAILABLE, type(error).__name__) from None


def read_uri(path: Path | None, part: str) -> str:
    """The URI, from the file that the settings of `part` name. Blocks. Raises `config_invalid`."""
    if path is None:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"`services.{part}.mongo_uri_file` is needed for store mongo"
        )
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"{path} can't be read: {error.strerror}"
        ) from error
