"""The event journal: what the stream has not taken yet, on the disk, for all of a node's sessions.

Owns the file and the grouping of its writes: one sync for whatever came together, in a thread, so
that a slow disk costs thirty sessions one wait. An event that the stream takes at once is never
written. Bounded: beyond the bound an event is safe only when the stream has it, so its source
waits. Never publishes and never decides an order: a file says what waited, the lanes say in which
order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from schemas.events import Event
from schemas.transport.background import Background
from swarm_node.journal import Journal
from swarm_node.outbox.entry import Entry
from swarm_node.vault.blocking import in_thread

log = structlog.get_logger()

BYTES_MAX: Final = 256 * 1024 * 1024
LINGER_S: Final = 0.02
"""How long the stream has to take an event before it is written down."""
_TIDY_S: Final = 1.0
_RETRY_S: Final = 1.0
_REWRITE_BYTES: Final = 4 * 1024 * 1024


class _Put(msgspec.Struct, frozen=True, tag="put"):
    number: int
    event: Event


class _Gone(msgspec.Struct, frozen=True, tag="gone"):
    numbers: tuple[int, ...]


_RECORD: Final = msgspec.json.Decoder(_Put | _Gone)


class EventJournal:
    """One node's waiting events. Used as `async with journal.open()`."""

    def __init__(
        self, folder: Path, *, bytes_max: int = BYTES_MAX, linger_s: float = LINGER_S
    ) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._linger_s = linger_s
        self._file = Journal(folder)
        self._file_bytes = 0
        self._last_number = 0
        self._kept: dict[int, Entry] = {}
        self._kept_bytes = 0
        self._new: list[Entry] = []
        self._gone: list[int] = []
        self._some = asyncio.Event()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[Entry]]:
        """Yield what an earlier process left, oldest first, and keep what is added in the block.

        What still waits at the end is written first. Raises `OSError` if the file can't be read
        or begun anew.
        """
        left = await in_thread(self._read)
        try:
            async with Background() as tasks:
                tasks.start(self._run(), name="event journal")
                yield left
        finally:
            await in_thread(self._close)

    def add(self, entry: Entry) -> None:
        """Keep an entry, soon; `entry.settled` tells when."""
        self._new.append(entry)
        self._some.set()

    def remove(self, entry: Entry) -> None:
        """The stream has it: nothing of it need be kept."""
        entry.gone = True
        entry.settled.set()
        if self._kept.pop(entry.number, None) is not None:
            self._kept_bytes -= entry.size
            self._gone.append(entry.number)
            self._some.set()
        self._changed.set()

    # The file, in a thread, one call at a time -------------------------------------------------

    def _read(self) -> list[Entry]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for line in self._file.read():
            try:
                record = _RECORD.decode(line)
            except msgspec.MsgspecError:
                # Whole, and of a kind that this release does not know: a newer one wrote it.
                log.exception("events.record_unknown")
                continue
            if isinstance(record, _Gone):
                for number in record.numbers:
                    self._kept.pop(number, None)
            else:
                entry = self._kept[record.number] = Entry(record.event)
                entry.number, entry.size, entry.on_disk = record.number, len(line), True
                entry.settled.set()
                self._last_number = max(self._last_number, record.number)
        self._kept_bytes = sum(entry.size for entry in self._kept.values())
        self._rewrite(list(self._kept.values()))
        return list(self._kept.values())

    def _rewrite(self, entries: list[Entry]) -> None:
        lines = [_line(entry) for entry in entries]
        self._file.rewrite(lines)
        self._file_bytes = sum(map(len, lines))

    def _write(self, entries: list[Entry], gone: tuple[int, ...]) -> None:
        lines = [_line(entry) for entry in entries]
        if gone:
            lines.append(msgspec.json.encode(_Gone(gone)))
        self._file.append(*lines)
        self._file_bytes += sum(map(len, lines))

    def _close(self) -> None:
        try:
            waiting = [entry for entry in self._new if not entry.gone]
            self._number(waiting)
            if waiting or self._gone:
                self._write(waiting, tuple(self._gone))
        except OSError as error:
            log.exception("events.journal_failed", count=len(self._new), detail=error.strerror)
        finally:
            self._file.close()

    # The writer ------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            if not self._new:
                # Only some are gone: that need not be noted soon.
                await _wait(self._some, _TIDY_S)
            # What the stream takes meanwhile needs no disk.
            await asyncio.sleep(self._linger_s)
            while not await self._write_batch():
                self._changed.clear()
                await _wait(self._changed, _RETRY_S)

    async def _write_batch(self) -> bool:
        """Write what there is; False: not all of it could be."""
        self._new = [entry for entry in self._new if not entry.gone]
        batch = self._new[: self._fitting()]
        gone = tuple(self._gone)
        if batch or gone:
            self._number(batch)
            try:
                await self._in_thread(batch, gone)
            except OSError as error:
                # The events are safe with the stream alone now; until it has them, sources wait.
                log.exception("events.journal_failed", count=len(batch), detail=error.strerror)
                return False
            del self._gone[: len(gone)]
            self._note_kept(batch)
        return not self._new

    async def _in_thread(self, batch: list[Entry], gone: tuple[int, ...]) -> None:
        if self._file_bytes > _REWRITE_BYTES + 2 * self._kept_bytes:
            entries = [*self._kept.values(), *batch]
            await in_thread(lambda: self._rewrite(entries))
        else:
            await in_thread(lambda: self._write(batch, gone))

    def _note_kept(self, batch: list[Entry]) -> None:
        written = set(map(id, batch))
        self._new = [entry for entry in self._new if id(entry) not in written]
        for entry in batch:
            if entry.gone:
                self._gone.append(entry.number)
                self._some.set()
                continue
            entry.on_disk = True
            self._kept[entry.number] = entry
            self._kept_bytes += entry.size
            entry.settled.set()

    def _fitting(self) -> int:
        """How many of the new entries fit, from the first on; at least none."""
        room = self._bytes_max - self._kept_bytes
        for count, entry in enumerate(self._new):
            entry.size = entry.size or len(msgspec.json.encode(entry.event))
            room -= entry.size
            if room < 0:
                return count
        return len(self._new)

    def _number(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not entry.number:
                self._last_number += 1
                entry.number = self._last_number


def _line(entry: Entry) -> bytes:
    return msgspec.json.encode(_Put(entry.number, entry.event))


async def _wait(happened: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await happened.wait()
    except TimeoutError:
        return
