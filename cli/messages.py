"""What `blazz message …` does: through the API, with the words it prints.

Owns the words. Never a decision: the API makes it.
"""

import sys
from typing import Final

import msgspec

from cli.acting import Step, confirm, perform
from cli.client import Api
from cli.exit_codes import Exit
from cli.options import Acting, Form, Target
from cli.render import Column, Shape, moment, show, show_one
from cli.target import open_api
from schemas.api import Page
from schemas.api_sending import DeadLetterCount, DeadLetterView, OutboxView, RedriveView
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage

LETTERS: Final = Shape[DeadLetterView](
    (
        Column("MESSAGE", lambda v: v.message_id),
        Column("STATE", lambda v: v.state.value),
        Column("KIND", lambda v: v.kind.value),
        Column("ATTEMPTS", lambda v: v.attempts),
        Column("ERROR", lambda v: v.error_code),
        Column("DETAIL", lambda v: v.error_detail, wide=True),
        Column("DIED", lambda v: moment(v.died_at), wide=True),
    ),
    lambda v: v.message_id,
)
COUNTS: Final = Shape[DeadLetterCount](
    (
        Column("SESSION", lambda c: c.session_id),
        Column("TENANT", lambda c: c.tenant_id),
        Column("DEAD", lambda c: c.count),
    ),
    lambda c: c.session_id,
)


async def show_queue(target: Target, session_id: str) -> Exit:
    """Print what waits, and for what."""
    async with open_api(target) as api:
        view = await api.call("GET", f"/v1/sessions/{session_id}/outbox", OutboxView)
    if target.form in (Form.TABLE, Form.WIDE):
        print(_queue_words(view))
        return Exit.OK
    return show_one(view, Shape[OutboxView]((), lambda v: v.session_id), target.form)


async def list_dead(target: Target, session_id: str | None) -> Exit:
    """Print a session's dead letters, or how many each session has."""
    async with open_api(target) as api:
        if session_id is None:
            return show(await _counts(api, target), COUNTS, target.form)
        letters = await _all_letters(api, session_id)
    return show(letters, LETTERS, target.form)


async def redrive(
    target: Target,
    acting: Acting,
    session_id: str,
    message_id: str | None,
    *,
    everything: bool,
    force: bool,
) -> Exit:
    """Send one again, or all. Raises `config_invalid` unless it is exactly one of them."""
    if (message_id is None) is not everything:
        raise BlazzError(ErrorCode.CONFIG_INVALID, "name a message, or say --all")
    path = _path(session_id)
    query = {"force": "true"} if force else {}
    async with open_api(target) as api:
        if message_id is not None:
            step = Step(message_id, "POST", f"{path}/{message_id}/redrive", query=query)
            if await perform(api, acting, step, ChatMessage) is not None:
                print(f"{message_id} is accepted again")
            return Exit.OK
        if force:
            ids = [letter.message_id for letter in await _all_letters(api, session_id)]
            confirm(target, acting, "may send these messages a second time", ids)
        if acting.dry_run:
            await perform(api, acting, Step("all", "POST", f"{path}/redrive", query=query), None)
            return Exit.OK
        total, done = 0, RedriveView(redriven=1, left=1, unsafe=0)
        while done.left and done.redriven:
            done = await api.call("POST", f"{path}/redrive", RedriveView, query=query)
            total += done.redriven
    print(f"{total} accepted again")
    if done.unsafe:
        print(f"{done.unsafe} may have gone out: look at the phone, then --force", file=sys.stderr)
    return Exit.OK


async def drop(target: Target, acting: Acting, session_id: str, message_id: str) -> Exit:
    """Forget one."""
    confirm(target, acting, "forgets a dead letter: it can't be redriven any more", [message_id])
    async with open_api(target) as api:
        step = Step(message_id, "DELETE", f"{_path(session_id)}/{message_id}")
        await perform(api, acting, step, msgspec.Raw)
    return Exit.OK


async def _counts(api: Api, target: Target) -> list[DeadLetterCount]:
    if target.tenant is None:
        try:
            return (await api.call("GET", "/v1/fleet/dead-letters", Page[DeadLetterCount])).data
        except BlazzError as error:
            if error.code is not ErrorCode.FORBIDDEN:
                raise
    return (await api.call("GET", "/v1/dead-letters", Page[DeadLetterCount])).data


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
