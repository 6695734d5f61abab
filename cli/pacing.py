"""What `blazz pacing …` and `blazz opt-out …` do, through the API.

Owns the words it prints, and the reading of `RULE=VALUE`. The API checks what it means.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from cli.acting import Step, confirm, perform
from cli.exit_codes import Exit
from cli.options import Acting, Form, Target
from cli.render import Column, Shape, moment, show, show_one, table
from cli.target import open_api
from schemas.api import Page
from schemas.api_sending import NewOptOut, OptOutView, PacingView
from schemas.errors import BlazzError, ErrorCode
from schemas.pacing import PacingSettings

_PAGE: Final = "200"
_LISTS: Final = frozenset({"stop_words", "start_words"})
OPT_OUTS: Final = Shape[OptOutView](
    (
        Column("CHAT", lambda o: o.chat_id),
        Column("SINCE", lambda o: moment(o.at)),
        Column("BY", lambda o: o.by),
    ),
    lambda o: o.chat_id,
)


async def show_pacing(target: Target, session_id: str | None) -> Exit:
    """Print the rules in force."""
    async with open_api(target) as api:
        view = await api.call("GET", _path(session_id), PacingView)
    return _print(target, view)


async def set_pacing(
    target: Target, acting: Acting, session_id: str | None, rules: Sequence[str]
) -> Exit:
    """Change some of what this level wants otherwise. The API replaces them all, so they are read
    first: of two people who change at once, the later one wins."""
    changes = read_rules(rules)
    async with open_api(target) as api:
        before = await api.call("GET", _path(session_id), PacingView)
        wanted = changed(before.settings, changes)
        step = Step(session_id or "tenant", "PUT", _path(session_id), wanted)
        view = await perform(api, acting, step, PacingView)
    return Exit.OK if view is None else _print(target, view)


def read_rules(rules: Sequence[str]) -> dict[str, Any]:
    """`per_minute=20` by name; `-` is None. Raises `validation_failed`."""
    known = PacingSettings.__struct_fields__
    read: dict[str, Any] = {}
    for rule in rules:
        name, equals, value = rule.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in known:
            raise BlazzError(
                ErrorCode.VALIDATION_FAILED,
                f"{rule!r}: RULE=VALUE, with a RULE of: {_words(known)}",
            )
        if value == "-":
            read[name] = None
        else:
            read[name] = [each for each in value.split(",") if each] if name in _LISTS else value
    if not read:
        raise BlazzError(ErrorCode.VALIDATION_FAILED, f"name a rule, of: {_words(known)}")
    return read


def changed(before: PacingSettings, changes: dict[str, Any]) -> PacingSettings:
    """The settings with the changes. Raises `validation_failed`."""
    whole = {**msgspec.to_builtins(before), **changes}
    try:
        # Not strict: what is typed is text.
        return msgspec.convert(whole, PacingSettings, strict=False)
    except msgspec.ValidationError as error:
        raise BlazzError(ErrorCode.VALIDATION_FAILED, str(error)) from error


async def list_opt_outs(target: Target) -> Exit:
    """Print all of them."""
    found: list[OptOutView] = []
    query = {"limit": _PAGE}
    async with open_api(target) as api:
        while True:
            page = await api.call("GET", "/v1/opt-outs", Page[OptOutView], query=query)
            found += page.data
            if page.next_cursor is None:
                return show(found, OPT_OUTS, target.form)
            query["cursor"] = page.next_cursor


async def add_opt_outs(target: Target, acting: Acting, recipients: Sequence[str]) -> Exit:
    """Opt them out, one after the other; the first refusal ends it."""
    done: list[OptOutView] = []
    async with open_api(target) as api:
        for to in recipients:
            step = Step(to, "POST", "/v1/opt-outs", NewOptOut(to=to))
            view = await perform(api, acting, step, OptOutView)
            if view is not None:
                done.append(view)
    return show(done, OPT_OUTS, target.form) if done else Exit.OK


async def remove_opt_outs(target: Target, acting: Acting, recipients: Sequence[str]) -> Exit:
    """Take them off the list."""
    confirm(target, acting, "lets messages go to people who wanted none", recipients)
    async with open_api(target) as api:
        for to in recipients:
            step = Step(to, "DELETE", f"/v1/opt-outs/{quote(to, safe='')}")
            await perform(api, acting, step, msgspec.Raw)
            if not acting.dry_run:
                print(f"{to} is off the list", file=sys.stderr)
    return Exit.OK


def _path(session_id: str | None) -> str:
    return "/v1/pacing" if session_id is None else f"/v1/sessions/{session_id}/pacing"


def _words(names: Sequence[str]) -> str:
    return ", ".join(names)


def _print(target: Target, view: PacingView) -> Exit:
    if target.form not in (Form.TABLE, Form.WIDE):
        return show_one(view, Shape[PacingView]((), lambda _: "pacing"), target.form)
    own = msgspec.to_builtins(view.settings)
    rows = [
        (name, _value(value), "set here" if own.get(name) is not None else "-")
        for name, value in msgspec.to_builtins(view.rules).items()
    ]
    print(table(("RULE", "VALUE", "FROM"), rows), end="")
    if view.quiet_now:
        print("It is quiet now: nothing cold is sent.")
    if view.cold_sent_today is not None:
        print(f"Cold messages today: {view.cold_sent_today} of {view.cold_limit_today}.")
    return Exit.OK


def _value(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)
