"""What `blazz message trace` and `blazz trace` do: a message's whole way, with times.

Owns the words. Never guesses what is not known: it says so.
"""

import asyncio
import sys
import time
from typing import Final

from cli.client import Api
from cli.exit_codes import Exit
from cli.options import Form, Target, Watch
from cli.render import Column, Shape, moment, show_one, shown, table
from cli.sessions import all_sessions
from cli.target import open_api
from schemas.api_sending import TraceStep, TraceView
from schemas.errors import BlazzError, ErrorCode

_ASKED_AT_ONCE: Final = 16
_TRACE: Final = Shape[TraceView](
    (Column("MESSAGE", lambda t: t.message_id),), lambda t: t.message_id
)


async def trace(
    target: Target, session_id: str | None, message_id: str, watch: Watch, stop: asyncio.Event
) -> Exit:
    """Print it; without a session, all that the key sees are asked for the message."""
    async with open_api(target) as api:
        session = session_id or await _session_of(api, message_id)
        path = f"/v1/sessions/{session}/messages/{message_id}/trace"

        async def once() -> Exit:
            view = await api.call("GET", path, TraceView)
            if target.form not in (Form.TABLE, Form.WIDE):
                return show_one(view, _TRACE, target.form)
            print(words(view, wide=target.form is Form.WIDE), end="")
            for unknown in view.unknown:
                print(f"Not known: {unknown}.", file=sys.stderr)
            return Exit.OK

        return await shown(stop, watch, once)


def words(view: TraceView, *, wide: bool) -> str:
    """The way as a table, each step with its time since the one before."""
    rows, before = [], view.steps[0].at if view.steps else 0.0
    for step in view.steps:
        clock = moment(step.at) + f"{step.at % 1:.3f}"[1:]
        row = [clock, _since(step.at - before), step.what, _where(step), _what(step)]
        rows.append([*row, step.event_id or "-"] if wide else row)
        before = step.at
    header = ["TIME", "AFTER", "WHAT", "WHERE", "DETAIL"]
    lines = [f"{view.message_id} of {view.session_id}: {view.state}\n"]
    lines.append(table([*header, "EVENT"] if wide else header, rows))
    if view.waits is not None:
        waits = view.waits
        why = f", {waits.reason}" if waits.reason else ""
        until = "" if waits.until is None else f", looked at by {moment(waits.until)}"
        lines.append(f"It waits: lane {waits.state}{why}{until}; {waits.depth} in the lane.\n")
    return "".join(lines)


def _where(step: TraceStep) -> str:
    if step.webhook_id is not None:
        return step.webhook_id
    return "-" if step.node_id is None else f"{step.node_id}/{step.epoch}"


def _what(step: TraceStep) -> str:
    parts = (step.detail, step.http_code and str(step.http_code), step.error_code)
    due = "at the latest" if step.what == "webhook.due" and step.at > time.time() else None
    return " ".join(part for part in (*parts, due) if part) or "-"


def _since(seconds: float) -> str:
    return f"+{seconds:.3f}s" if seconds < 60 else f"+{seconds / 60:.1f}m"


async def _session_of(api: Api, message_id: str) -> str:
    places = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def has(session_id: str) -> bool:
        async with places:
            try:
                await api.message(session_id, message_id)
            except BlazzError as error:
                if error.code in (ErrorCode.MESSAGE_NOT_FOUND, ErrorCode.SESSION_NOT_FOUND):
                    return False
                raise
            return True

    sessions = [view.session_id for view in await all_sessions(api)]
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(has(session_id)) for session_id in sessions]
    for session_id, found in zip(sessions, asked, strict=True):
        if found.result():
            return session_id
    raise BlazzError(ErrorCode.MESSAGE_NOT_FOUND, f"in none of {len(sessions)} sessions")
