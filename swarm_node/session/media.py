"""Media on its way through the node: fetched to be sent, kept a while to be read.

Owns the temporary files of outbound media (checked for size and hash, always removed) and the
small cache that lets chunks of one inbound media be read one by one. Never keeps media for good.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uuid_utils

from schemas.commands import FetchMedia, MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import MEDIA_BYTES_MAX, MediaRef
from swarm_node.engines.contract import MediaBytes, MediaKey

AskChunk = Callable[[FetchMedia], Awaitable[MediaChunk]]
"""One chunk from the control plane; raises `BlazzError`."""


class MediaFetcher:
    """Brings outbound media here, chunk by chunk, for as long as a send needs it."""

    def __init__(self, node_id: str, scratch_dir: Path, ask: AskChunk) -> None:
        self._node_id = node_id
        self._scratch_dir = scratch_dir
        self._ask = ask

    @asynccontextmanager
    async def fetched(self, session_id: str, ref: MediaRef) -> AsyncIterator[Path]:
        """A file with the media, for the block.

        Raises `media_not_found`, `media_corrupt` (not the size or hash that was promised), or
        what the bus raised.
        """
        folder = self._scratch_dir / session_id
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        path = folder / f"{uuid_utils.uuid7().hex}{_suffix(ref)}"
        try:
            await self._write(session_id, ref, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _write(self, session_id: str, ref: MediaRef, path: Path) -> None:
        digest = hashlib.sha256()
        offset = 0
        with path.open("xb") as file:
            while offset < ref.size_bytes:
                chunk = await self._ask(
                    FetchMedia(
                        node_id=self._node_id,
                        session_id=session_id,
                        media_id=ref.media_id,
                        offset=offset,
                    )
                )
                if chunk.offset != offset or chunk.total_bytes != ref.size_bytes or not chunk.data:
                    raise BlazzError(ErrorCode.MEDIA_CORRUPT, "the media has another size")
                digest.update(chunk.data)
                await asyncio.to_thread(file.write, chunk.data)
                offset += len(chunk.data)
        if offset != ref.size_bytes or digest.hexdigest() != ref.sha256:
            raise BlazzError(ErrorCode.MEDIA_CORRUPT, "the media has another hash")


class MediaCache:
    """The last media read, by session and message; bounded by bytes, oldest use goes first."""

    def __init__(self, bytes_max: int = 2 * MEDIA_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, MediaKey], MediaBytes] = OrderedDict()
        self._loading: dict[tuple[str, MediaKey], asyncio.Lock] = {}

    @asynccontextmanager
    async def loading(self, session_id: str, key: MediaKey) -> AsyncIterator[None]:
        """One reader at a time a media, so that it is downloaded once."""
        place = (session_id, key)
        lock = self._loading.setdefault(place, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._loading.pop(place, None)

    def get(self, session_id: str, key: MediaKey) -> MediaBytes | None:
        """The media, if it is still here."""
        media = self._kept.get((session_id, key))
        if media is not None:
            self._kept.move_to_end((session_id, key))
        return media

    def put(self, session_id: str, key: MediaKey, media: MediaBytes) -> None:
        """Keep it; what was used longest ago makes room."""
        self.forget(session_id, key)
        self._kept[session_id, key] = media
        self._bytes += len(media.data)
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= len(old.data)

    def forget(self, session_id: str, key: MediaKey) -> None:
        """Drop one media."""
        old = self._kept.pop((session_id, key), None)
        if old is not None:
            self._bytes -= len(old.data)


def _suffix(ref: MediaRef) -> str:
    # Some engines read the type from the name; only a plain suffix is taken over.
    suffix = Path(ref.filename).suffix if ref.filename else ""
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 8 else ""
