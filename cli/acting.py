"""Acts: asked for, confirmed, tried out, and done through the API.

Owns the question before a dangerous one. Never acts without a
word where nobody can be asked.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from cli.client import Api
from cli.options import Acting, Target
from cli.target import find_fleet
from schemas.errors import BlazzError, ErrorCode

_LISTED_MAX: Final = 10


class Step(msgspec.Struct, frozen=True):
    """One request of an act, and the thing it is about."""

    target: str
    method: str
    path: str
    body: Any = None
    query: dict[str, str] = {}


def confirm(target: Target, acting: Acting, what: str, ids: Sequence[str]) -> None:
    """Ask before something that can't be undone; `what` says what happens to `ids`. One is
    confirmed by `yes`, more by their count. Raises `config_invalid` where nobody can be asked,
    `conflict` if the answer is another."""
    if acting.yes or acting.dry_run:
        return
    listed = ", ".join(ids[:_LISTED_MAX]) + (", …" if len(ids) > _LISTED_MAX else "")
    if acting.no_input or not sys.stdin.isatty():
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"this {what} ({len(ids)}: {listed}): add --yes to mean it"
        )
    fleet = find_fleet(target)
    production = " PRODUCTION" if fleet.production else ""
    word = "yes" if len(ids) == 1 else str(len(ids))
    print(f"On{production} {fleet.name}, this {what}: {listed}", file=sys.stderr)
    print(f"Type {word} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != word:
        raise BlazzError(ErrorCode.CONFLICT, "nothing was done")


async def perform(api: Api, acting: Acting, step: Step, kind: Any) -> Any:
    """One request, or (as a dry run) its words and None."""
    if not acting.dry_run:
        return await api.call(step.method, step.path, kind, body=step.body, query=step.query)
    query = "&".join(f"{name}={value}" for name, value in step.query.items())
    body = "" if step.body is None else " " + msgspec.json.encode(step.body).decode()
    print(f"would {step.method} {step.path}{'?' + query if query else ''}{body}")
    return None
