"""What `blazz session …` does, through the API; the vault's part is in `vault_commands`.

Owns the words it prints. A QR code is shown only while it can be scanned: it is taken off the
screen when it dies, whatever happens.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from cli.acting import Step, confirm, perform
from cli.client import Api
from cli.exit_codes import Exit
from cli.options import Acting, Form, Target, Watch
from cli.render import Column, Shape, moment, show, show_one, shown, size
from cli.target import open_api
from control_plane.http.qr_images import terminal
from schemas.api import (
    LinkView,
    MoveRequest,
    NewLink,
    NewSession,
    PairingCodeRequest,
    PairingCodeView,
    QrView,
    SessionPage,
    SessionView,
)
from schemas.api_snapshots import GenerationView, SnapshotsView
from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState
from tui.rows.qr import drawn

_TICK_S: Final = 1.0
_ON_SCREEN: Final = "\x1b[?1049h\x1b[H\x1b[2J"
_OFF_SCREEN: Final = "\x1b[?1049l"
_BLACK_ON_WHITE: Final = "\x1b[30;107m"
_WORDS_LINES: Final = 3
"""Below the code, and a line so that nothing scrolls."""
_PLAIN: Final = "\x1b[0m"
_FRESH: Final = "\x1b[H\x1b[2J"
_NOT_NOW: Final = frozenset(
    {ErrorCode.QR_NOT_AVAILABLE, ErrorCode.QR_EXPIRED, ErrorCode.SESSION_NOT_RUNNING}
)
_LINKED: Final = frozenset({SessionState.SYNCING, SessionState.ONLINE})
_IRREVERSIBLE: Final = {
    "delete": "deletes the sessions for good",
    "logout": "unlinks the sessions' phones: each needs a new QR code",
}

SESSIONS: Final = Shape[SessionView](
    (
        Column("SESSION", lambda v: v.session_id),
        Column("TENANT", lambda v: v.tenant_id),
        Column("STATE", lambda v: v.state.value),
        Column("NODE", lambda v: v.node_id),
        Column("EPOCH", lambda v: v.epoch),
        Column("REASON", lambda v: v.reason),
        Column("NAME", lambda v: v.name, wide=True),
        Column("WANTED", lambda v: v.desired.value, wide=True),
        Column("SINCE", lambda v: moment(v.state_since), wide=True),
        Column("ENGINE", lambda v: v.engine.value, wide=True),
        Column("CREATED", lambda v: moment(v.created_at), wide=True),
    ),
    lambda v: v.session_id,
)

GENERATIONS: Final = Shape[GenerationView](
    (
        Column("GENERATION", lambda g: g.generation),
        Column("USE", lambda g: g.use.value),
        Column("EPOCH", lambda g: g.epoch),
        Column("OBJECTS", lambda g: g.objects),
        Column("SIZE", lambda g: size(g.size_bytes)),
        Column("AGE", lambda g: f"{time.time() - g.captured_at:.0f} s"),
        Column("PROVEN", lambda g: g.proven),
        Column("NODE", lambda g: g.node_id),
        Column("BUILD", lambda g: g.chromium_build),
        Column("CLEAN", lambda g: g.clean, wide=True),
        Column("CAPTURED", lambda g: moment(g.captured_at), wide=True),
        Column("BEGAN", lambda g: moment(g.began_at), wide=True),
        Column("ENGINE", lambda g: g.engine.value, wide=True),
    ),
    lambda g: str(g.generation),
)


async def list_sessions(
    target: Target,
    watch: Watch,
    stop: asyncio.Event,
    *,
    state: str | None = None,
    node: str | None = None,
) -> Exit:
    """Print all tenants' sessions, or (without the scope `operator`) one's own."""
    async with open_api(target) as api:

        async def once() -> Exit:
            chosen = [
                view
                for view in await all_sessions(api)
                if state in (None, view.state)
                and node in (None, view.node_id)
                and target.tenant in (None, view.tenant_id)
            ]
            return show(chosen, SESSIONS, target.form)

        return await shown(stop, watch, once)


async def show_session(target: Target, session_id: str, watch: Watch, stop: asyncio.Event) -> Exit:
    """Print one."""
    async with open_api(target) as api:

        async def once() -> Exit:
            return show_one(await api.session(session_id), SESSIONS, target.form)

        return await shown(stop, watch, once)


async def list_snapshots(
    target: Target, session_id: str, watch: Watch, stop: asyncio.Event
) -> Exit:
    """Print its generations."""
    async with open_api(target) as api:

        async def once() -> Exit:
            path = f"/v1/sessions/{session_id}/snapshots"
            found = await api.call("GET", path, SnapshotsView)
            if not found.generations:
                print("None: nothing was kept yet, or this fleet keeps none.", file=sys.stderr)
            return show(found.generations, GENERATIONS, target.form)

        return await shown(stop, watch, once)


async def create(target: Target, acting: Acting, new: NewSession) -> Exit:
    """Make one."""
    async with open_api(target) as api:
        step = Step("new", "POST", "/v1/sessions", new)
        view = await perform(api, acting, step, SessionView)
    if view is None:
        return Exit.OK
    show_one(view, SESSIONS, target.form)
    print(f"Link a phone: blazz session qr {view.session_id}", file=sys.stderr)
    return Exit.OK


async def act(target: Target, acting: Acting, sessions: Sequence[str], verb: str) -> Exit:
    """`start`, `stop`, `restart`, `logout` or `delete` sessions, one after the other; the first
    refusal ends it, with a word about what was done."""
    if verb in _IRREVERSIBLE:
        confirm(target, acting, _IRREVERSIBLE[verb], sessions)
    done: list[SessionView] = []
    async with open_api(target) as api:
        for number, session_id in enumerate(sessions):
            path = f"/v1/sessions/{session_id}"
            try:
                if verb == "delete":
                    await perform(api, acting, Step(session_id, "DELETE", path), msgspec.Raw)
                    continue
                step = Step(session_id, "POST", f"{path}/{verb}")
                view = await perform(api, acting, step, SessionView)
            except BlazzError:
                print(f"{verb}: {number} of {len(sessions)} were done", file=sys.stderr)
                raise
            if view is not None:
                done.append(view)
    return show(done, SESSIONS, target.form) if done else Exit.OK


async def move(target: Target, acting: Acting, session_id: str, to: str | None) -> Exit:
    """Have a session move."""
    async with open_api(target) as api:
        body = MoveRequest(node_id=to)
        step = Step(session_id, "POST", f"/v1/sessions/{session_id}/move", body)
        view = await perform(api, acting, step, SessionView)
    if view is not None:
        print(f"{view.session_id} leaves {view.node_id} for {to or 'the best other node'}")
    return Exit.OK


async def link(target: Target, acting: Acting, session_id: str, new: NewLink) -> Exit:
    """Print a link page's address."""
    async with open_api(target) as api:
        step = Step(session_id, "POST", f"/v1/sessions/{session_id}/links", new)
        view = await perform(api, acting, step, LinkView)
    if view is None:
        return Exit.OK
    if target.form in (Form.TABLE, Form.WIDE, Form.NAME):
        print(view.url)
        print(f"Shown this once; until {moment(view.expires_at)}.", file=sys.stderr)
        return Exit.OK
    return show_one(view, Shape[LinkView]((), lambda v: v.url), target.form)


async def pair(target: Target, session_id: str, phone: str) -> Exit:
    """Print a code to type on the phone."""
    async with open_api(target) as api:
        view = await api.call(
            "POST",
            f"/v1/sessions/{session_id}/pairing-code",
            PairingCodeView,
            body=PairingCodeRequest(phone=phone),
        )
    return show_one(view, Shape[PairingCodeView]((), lambda v: v.code), target.form)


async def show_qr(target: Target, session_id: str, stop: asyncio.Event) -> Exit:
    """On a terminal: show each code while it lives, until the phone is linked or ctrl-C. Else:
    print the code on show, once, with its seconds left."""
    async with open_api(target) as api:
        if target.form not in (Form.TABLE, Form.WIDE) or not sys.stdout.isatty():
            view = await api.qr(session_id, renew=True)
            if target.form in (Form.TABLE, Form.WIDE):
                print(terminal(view.value), end="")
                print(f"It can be scanned for {view.expires_in_s:.0f} s.", file=sys.stderr)
                return Exit.OK
            return show_one(view, Shape[QrView]((), lambda v: v.value), target.form)
        print(_ON_SCREEN, end="", flush=True)
        try:
            state = await _keep_shown(api, session_id, stop)
        finally:
            # The other screen goes, and the code with it.
            print(_OFF_SCREEN, end="", flush=True)
    if state is None:
        return Exit.INTERRUPTED
    print(f"{session_id} is {state}.")
    return Exit.OK


async def _keep_shown(api: Api, session_id: str, stop: asyncio.Event) -> SessionState | None:
    dies_at: float | None = None
    while not stop.is_set():
        try:
            async with asyncio.timeout_at(dies_at):
                state, code = await _look(api, session_id)
        except TimeoutError:
            state, code = None, None
        if state in _LINKED:
            return state
        if code is None:
            dies_at = None
            words = f"{state or 'No answer from the API'}: waiting for a code…"
        else:
            dies_at = asyncio.get_running_loop().time() + code.expires_in_s
            words = (
                f"{draw(code.value, shutil.get_terminal_size())}Code {code.index} of {code.count}, "
                f"{code.expires_in_s:.0f} s left. On the phone: Linked devices, Link a device."
            )
        print(f"{_FRESH}{words}\nCtrl-C ends this.", flush=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICK_S):
                await stop.wait()
    return None


async def _look(api: Api, session_id: str) -> tuple[SessionState, QrView | None]:
    state = (await api.session(session_id)).state
    if state in _LINKED:
        return state, None
    try:
        return state, await api.qr(session_id, renew=True)
    except BlazzError as error:
        if error.code not in _NOT_NOW:
            raise
        return state, None


def draw(value: str, size: os.terminal_size) -> str:
    """A QR code, black on white whatever the terminal's own colours are, as large as it fits."""
    code = drawn(value, size.columns, size.lines - _WORDS_LINES)
    if code is None:
        return (
            f"The code does not fit into {size.columns}x{size.lines}: make the terminal larger.\n"
        )
    return "".join(f"{_BLACK_ON_WHITE}{line}{_PLAIN}\n" for line in code.lines)


async def all_sessions(api: Api) -> list[SessionView]:
    """All tenants' sessions for an operator, else one's own."""
    try:
        return (await api.call("GET", "/v1/fleet/sessions", SessionPage)).data
    except BlazzError as error:
        if error.code is not ErrorCode.FORBIDDEN:
            raise
    found: list[SessionView] = []
    query = {"limit": "200"}
    while True:
        page = await api.call("GET", "/v1/sessions", SessionPage, query=query)
        found += page.data
        if page.next_cursor is None:
            return found
        query["cursor"] = page.next_cursor
