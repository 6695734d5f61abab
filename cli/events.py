"""What `blazz event tail` does: events as they come, resumed where the stream broke off.

Owns the resuming and the words. Never hides a gap.
"""

import asyncio
import sys
import time
from typing import Final

import aiohttp
import msgspec

from cli.client import Api, Gap
from cli.exit_codes import Exit
from cli.options import Form, Target
from cli.target import open_api
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, event_name

_BACKOFF_MIN_S: Final = 0.5
_BACKOFF_MAX_S: Final = 15.0
_BROKEN: Final = frozenset({ErrorCode.NATS_UNAVAILABLE, ErrorCode.SHUTTING_DOWN, ErrorCode.TIMEOUT})


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: a session's, the whole fleet's, of some types, after a sequence; `count`: so
    many, then end."""

    session_id: str | None = None
    fleet: bool = False
    types: tuple[str, ...] = ()
    after: int | None = None
    count: int | None = None


async def tail(target: Target, wanted: Tail, stop: asyncio.Event) -> Exit:
    """Print events until `stop` or their count."""
    async with open_api(target) as api, asyncio.TaskGroup() as group:
        reading = group.create_task(_read(api, wanted, target.form))
        stopping = group.create_task(stop.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        ended = reading.done()
        reading.cancel()
        stopping.cancel()
    return Exit.OK if ended else Exit.INTERRUPTED


async def _read(api: Api, wanted: Tail, form: Form) -> None:
    after, left, delay_s = wanted.after, wanted.count, _BACKOFF_MIN_S
    while True:
        try:
            stream = api.events(
                wanted.session_id, fleet=wanted.fleet, types=wanted.types, after=after
            )
            async with stream as events:
                async for item in events.items():
                    delay_s = _BACKOFF_MIN_S
                    if isinstance(item, Gap):
                        print(
                            f"blazz: events {item.from_sequence} to {item.to_sequence} are no "
                            "longer kept",
                            file=sys.stderr,
                        )
                        after = item.to_sequence
                        continue
                    after, event = item
                    print(_line(after, event, form), flush=True)
                    if left is not None and (left := left - 1) <= 0:
                        return
        except (aiohttp.ClientError, TimeoutError) as error:
            print(f"blazz: the stream broke off ({type(error).__name__})", file=sys.stderr)
        except BlazzError as error:
            if error.code not in _BROKEN:
                raise
            print(f"blazz: {error.spec.title}; going on soon", file=sys.stderr)
        # The server ends streams now and then: that is no trouble, and needs no word.
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, _BACKOFF_MAX_S)


def _line(sequence: int, event: Event, form: Form) -> str:
    if form is Form.NAME:
        return event.event_id
    if form in (Form.TABLE, Form.WIDE):
        told = msgspec.to_builtins(event.data)
        facts = " ".join(
            f"{name}={' '.join(str(value).split())}"
            for name, value in told.items()
            if name != "type" and value not in (None, "", {}, [], ())
        )
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        where = f" {event.node_id}/{event.epoch} {sequence}" if form is Form.WIDE else ""
        return f"{clock} {event.session_id}{where} {event_name(event.data)} {facts}"
    row = {"sequence": sequence, **msgspec.to_builtins(event)}
    return msgspec.json.encode(row).decode()
