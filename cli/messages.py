"""What `blazz message …` does: through the API, with the words it prints.

Owns the words. Never a decision: the API makes it.
"""

import sys

import msgspec

from cli.client import Api
from cli.exit_codes import Exit
from cli.operate import Target, open_api, print_table
from schemas.api import Page
from schemas.api_sending import DeadLetterView, OutboxView, RedriveView
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage


async def show_queue(target: Target, session_id: str) -> Exit:
    """Print what waits, and for what."""
    async with open_api(target.data_dir) as api:
        view = await api.call("GET", f"/v1/sessions/{session_id}/outbox", OutboxView)
    print(msgspec.json.encode(view).decode() if target.json else _queue_words(view))
    return Exit.OK


async def list_dead(target: Target, session_id: str) -> Exit:
    """Print a session's dead letters."""
    async with open_api(target.data_dir) as api:
        letters = await _all_letters(api, session_id)
    if target.json:
        print(msgspec.json.encode(letters).decode())
        return Exit.OK
    rows = [
        (v.message_id, v.state.value, v.kind.value, str(v.attempts), v.error_code) for v in letters
    ]
    print_table(("MESSAGE", "STATE", "KIND", "ATTEMPTS", "ERROR"), rows)
    return Exit.OK


async def redrive(
    target: Target, session_id: str, message_id: str | None, *, everything: bool, force: bool
) -> Exit:
    """Send one again, or all. Raises `config_invalid` unless it is exactly one of them."""
    if (message_id is None) is not everything:
        raise BlazzError(ErrorCode.CONFIG_INVALID, "name a message, or say --all")
    path = _path(session_id)
    query = {"force": "true"} if force else {}
    async with open_api(target.data_dir) as api:
        if message_id is not None:
            await api.call("POST", f"{path}/{message_id}/redrive", ChatMessage, query=query)
            print(f"{message_id} is accepted again")
            return Exit.OK
        total, done = 0, RedriveView(redriven=1, left=1, unsafe=0)
        while done.left and done.redriven:
            done = await api.call("POST", f"{path}/redrive", RedriveView, query=query)
            total += done.redriven
    print(f"{total} accepted again")
    if done.unsafe:
        print(f"{done.unsafe} may have gone out: look at the phone, then --force", file=sys.stderr)
    return Exit.OK


async def drop(target: Target, session_id: str, message_id: str) -> Exit:
    """Forget one."""
    async with open_api(target.data_dir) as api:
        await api.call("DELETE", f"{_path(session_id)}/{message_id}", msgspec.Raw)
    return Exit.OK


async def _all_letters(api: Api, session_id: str) -> list[DeadLetterView]:
    letters: list[DeadLetterView] = []
    query = {"limit": "200"}
    while True:
        page = await api.call("GET", _path(session_id), Page[DeadLetterView], query=query)
        letters += page.data
        if page.next_cursor is None:
            return letters
        query["cursor"] = page.next_cursor


def _path(session_id: str) -> str:
    return f"/v1/sessions/{session_id}/dead-letters"


def _queue_words(view: OutboxView) -> str:
    words = f"{view.depth} of at most {view.depth_max} wait: {view.state}"
    if view.reason:
        words += f" ({view.reason})"
    if view.oldest_age_s is not None:
        words += f", the oldest for {view.oldest_age_s:.0f} s"
    return words
