"""`blazz api`: any request of the HTTP API, with the fleet and key that commands use.

Owns the reading of what is sent. Prints the answer as it came.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from cli.acting import Step, confirm, perform
from cli.exit_codes import Exit
from cli.options import Acting, Form, Target
from cli.render import Shape, show_one
from cli.target import open_api
from schemas.errors import BlazzError, ErrorCode

STDIN: Final = "-"


async def call(
    target: Target,
    acting: Acting,
    path: str,
    *,
    method: str | None,
    body: str | None,
    query: Sequence[str],
) -> Exit:
    """One request; by default GET, POST with a body. DELETE asks first. Raises the problem's code,
    `validation_failed` for a body that is no JSON."""
    verb = (method or ("GET" if body is None else "POST")).upper()
    sent = _body(body)
    if not path.startswith("/"):
        path = f"/v1/{path}"
    if verb == "DELETE":
        confirm(target, acting, "deletes", [path])
    step = Step(path, verb, path, sent, dict(_pair(each) for each in query))
    async with open_api(target) as api:
        if verb == "GET":
            answer: Any = await api.call(verb, path, msgspec.Raw, query=step.query)
        else:
            answer = await perform(api, acting, step, msgspec.Raw)
    if answer is None or not bytes(answer):
        return Exit.OK
    if target.form in (Form.TABLE, Form.WIDE):
        print(msgspec.json.format(bytes(answer)).decode())
        return Exit.OK
    return show_one(msgspec.json.decode(answer), Shape[Any]((), str), target.form)


def _body(text: str | None) -> Any:
    if text is None:
        return None
    raw = sys.stdin.read() if text == STDIN else text
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise BlazzError(ErrorCode.VALIDATION_FAILED, f"--body is no JSON: {error}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BlazzError(ErrorCode.VALIDATION_FAILED, f"{text!r} is not NAME=VALUE")
    return name, value
