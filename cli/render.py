"""Printing data: one renderer for every command and form.

Owns the forms (`table|wide|json|jsonl|yaml|name`), and watching. Data goes to stdout and nothing
else does; a table is for people, all other forms keep every field.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from cli.exit_codes import Exit
from cli.options import Form, Watch

T = TypeVar("T")
_WORD: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@")
_CLEAR: Final = "\x1b[H\x1b[2J"


class Column(msgspec.Struct, Generic[T], frozen=True):
    """A column of a table; `wide` only in the wide one."""

    header: str
    of: Callable[[T], object]
    wide: bool = False


class Shape(msgspec.Struct, Generic[T], frozen=True):
    """How rows are shown: their columns, and the id that `-o name` prints."""

    columns: tuple[Column[T], ...]
    name: Callable[[T], str]


def show(rows: Sequence[T], shape: Shape[T], form: Form) -> Exit:
    """Print a list."""
    print(render(rows, shape, form), end="")
    return Exit.OK


def show_one(row: T, shape: Shape[T], form: Form) -> Exit:
    """Print one thing: for people every field, a line each."""
    if form in (Form.TABLE, Form.WIDE):
        print("\n".join(_described(msgspec.to_builtins(row))))
    elif form is Form.JSON:
        print(msgspec.json.encode(row).decode())
    elif form is Form.YAML:
        print(yaml_text(row), end="")
    else:
        print(render([row], shape, form), end="")
    return Exit.OK


def render(rows: Sequence[T], shape: Shape[T], form: Form) -> str:
    """The text of a list in a form, with its last line break."""
    if form is Form.JSON:
        return msgspec.json.encode(rows).decode() + "\n"
    if form is Form.JSONL:
        return "".join(msgspec.json.encode(row).decode() + "\n" for row in rows)
    if form is Form.NAME:
        return "".join(shape.name(row) + "\n" for row in rows)
    if form is Form.YAML:
        return yaml_text(rows)
    columns = [c for c in shape.columns if form is Form.WIDE or not c.wide]
    cells = [[_cell(column.of(row)) for column in columns] for row in rows]
    return table([column.header for column in columns], cells)


def yaml_text(value: object) -> str:
    """A value as YAML, with its last line break."""
    return "\n".join(_yaml(msgspec.to_builtins(value))) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    return "".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in (header, *rows)
    )


async def shown(stop: asyncio.Event, watch: Watch, once: Callable[[], Awaitable[Exit]]) -> Exit:
    """Run `once`, with `watch` until `stop`: on a terminal each on a cleared screen."""
    if not watch.watch:
        return await once()
    while True:
        if sys.stdout.isatty():
            print(_CLEAR, end="")
        await once()
        sys.stdout.flush()
        try:
            async with asyncio.timeout(max(0.2, watch.every)):
                await stop.wait()
        except TimeoutError:
            continue
        return Exit.INTERRUPTED


def moment(at: float | None) -> str:
    """A time, for people, on this machine's clock."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def size(count: int) -> str:
    """Bytes, for people."""
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return " ".join(str(value).split())


def _described(row: Any) -> list[str]:
    if not isinstance(row, dict):
        return [_cell(row)]
    width = max((len(name) for name in row), default=0)
    lines = []
    for name, value in row.items():
        if isinstance(value, dict) and value:
            lines += [name, *(f"  {line}" for line in _described(value))]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(name)
            for item in value:
                lines += [f"  {line}" for line in [*_described(item), ""]]
        else:
            lines.append(f"{name:{width}}  {_shown_value(name, value)}")
    return lines


def _shown_value(name: str, value: object) -> str:
    if name.endswith("_at") and isinstance(value, float | int):
        return moment(value)
    return "-" if value in ({}, [], ()) else _cell(value)


def _yaml(value: Any, indent: str = "") -> list[str]:
    """YAML's block style; scalars that are not plain words are written as JSON, which is YAML."""
    if isinstance(value, Mapping) and value:
        lines = []
        for key, below in value.items():
            if isinstance(below, Mapping | list | tuple) and below:
                lines += [f"{indent}{_scalar(key)}:", *_yaml(below, indent + "  ")]
            else:
                lines.append(f"{indent}{_scalar(key)}: {_scalar(below)}")
        return lines
    if isinstance(value, list | tuple) and value:
        lines = []
        for item in value:
            first, *more = _yaml(item, indent + "  ")
            lines += [f"{indent}- {first[len(indent) + 2 :]}", *more]
        return lines
    return [f"{indent}{_scalar(value)}"]


def _scalar(value: object) -> str:
    plain = (
        isinstance(value, str)
        and value[:1].isalpha()
        and _WORD.issuperset(value)
        and value.lower() not in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
    )
    return str(value) if plain else msgspec.json.encode(value).decode()
