"""Copies of what MongoDB keeps: collections as BSON, read while they are written to.

Owns which collections, the reading, and the putting back. Putting back only ever adds what is not
there: a document that is there is the same one (a snapshot never changes) or a newer one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError, PyMongoError

from control_plane.config import ControlPlaneSettings
from control_plane.ledger.settings import LedgerStoreKind
from control_plane.mongo import open_database, read_uri
from control_plane.vault.settings import StoreKind
from schemas.errors import BlazzError, ErrorCode

LEDGER: Final = "ledger"
SNAPSHOT_FILES: Final = "snapshot_files"
SNAPSHOT_CHUNKS: Final = "snapshot_chunks"
_RAW: Final[CodecOptions[RawBSONDocument]] = CodecOptions(document_class=RawBSONDocument)
_ORDER: Final[dict[str, list[tuple[str, int]]]] = {
    LEDGER: [("_id", 1)],
    SNAPSHOT_FILES: [("_id", 1)],
    # A snapshot's chunks together, in their order.
    SNAPSHOT_CHUNKS: [("files_id", 1), ("n", 1)],
}
_BATCH_BYTES: Final = 8 * 1024 * 1024
_BATCH_MAX: Final = 1000
_DUPLICATE: Final = 11000


RawDocument = RawBSONDocument


class Collection(msgspec.Struct, frozen=True):
    """A collection (motor's) and what it is for."""

    role: str
    held: Any


@asynccontextmanager
async def open_collections(settings: ControlPlaneSettings) -> AsyncIterator[tuple[Collection, ...]]:
    """The collections that the settings name, for the block, in the order in which they are to be
    copied: a snapshot's file before its chunks, as it is the seal that says they are whole.
    Raises `config_invalid`."""
    ledger, vault = settings.ledger, settings.vault
    found: list[Collection] = []
    async with _databases(settings) as (of_ledger, of_vault):
        if of_ledger is not None:
            found.append(Collection(LEDGER, of_ledger[ledger.mongo_collection]))
        if of_vault is not None and vault is not None:
            for role, end in ((SNAPSHOT_FILES, "files"), (SNAPSHOT_CHUNKS, "chunks")):
                found.append(Collection(role, of_vault[f"{vault.mongo_bucket}.{end}"]))
        yield tuple(found)


@asynccontextmanager
async def _databases(settings: ControlPlaneSettings) -> AsyncIterator[tuple[Any, Any]]:
    ledger, vault = settings.ledger, settings.vault
    async with _database(
        ledger.store is LedgerStoreKind.MONGO,
        ledger.mongo_uri_file,
        ledger.mongo_database,
        "ledger",
    ) as of_ledger:
        if vault is None:
            yield of_ledger, None
            return
        async with _database(
            vault.store is StoreKind.MONGO, vault.mongo_uri_file, vault.mongo_database, "vault"
        ) as of_vault:
            yield of_ledger, of_vault


@asynccontextmanager
async def _database(used: bool, uri_file: Any, name: str, part: str) -> AsyncIterator[Any]:
    if not used:
        yield None
        return
    uri = await asyncio.to_thread(read_uri, uri_file, part)
    async with open_database(uri, name) as database:
        yield database


async def copy_documents(collection: Collection, write: Callable[[bytes], None]) -> int:
    """Give every document to `write`; how many. Raises `vault_unavailable`."""
    count = 0
    async with _answering():
        raw = collection.held.with_options(codec_options=_RAW)
        async for document in raw.find({}).sort(_ORDER[collection.role]):
            write(document.raw)
            count += 1
    return count


def documents(chunks: Iterable[bytes]) -> Iterator[RawBSONDocument]:
    """The documents of a file. Raises `ValueError` where they do not add up."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        place = 0
        while len(rest) - place >= 4:
            size = int.from_bytes(rest[place : place + 4], "little")
            if len(rest) - place < size:
                break
            yield RawBSONDocument(rest[place : place + size], _RAW)
            place += size
        rest = rest[place:]
    if rest:
        raise ValueError("a collection ends within a document")


async def put_documents(collection: Collection, found: Iterator[RawBSONDocument]) -> int:
    """Add what is not there; how many were added. Raises `vault_unavailable`."""
    added = 0
    batch: list[RawBSONDocument] = []
    size = 0
    for document in found:
        batch.append(document)
        size += len(document.raw)
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_MAX:
            added += await _add(collection, batch)
            batch, size = [], 0
    return added + (await _add(collection, batch) if batch else 0)


async def _add(collection: Collection, batch: list[RawBSONDocument]) -> int:
    async with _answering():
        raw = collection.held.with_options(codec_options=_RAW)
        try:
            await raw.insert_many(batch, ordered=False)
        except BulkWriteError as error:
            failed = error.details.get("writeErrors", [])
            if any(each.get("code") != _DUPLICATE for each in failed):
                raise
            return len(batch) - len(failed)
    return len(batch)


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except PyMongoError as error:
        # The driver's words may hold the address, and with it a password.
        raise BlazzError(ErrorCode.VAULT_UNAVAILABLE, f"MongoDB: {type(error).__name__}") from None
