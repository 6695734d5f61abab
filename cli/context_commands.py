"""`blazz context …`: the fleets a person operates.

Owns their grammar and words. `cli.contexts` owns the file.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
from cyclopts import App, Parameter

from cli import contexts
from cli.contexts import Context
from cli.exit_codes import Exit
from cli.options import Form
from schemas.errors import BlazzError, ErrorCode

Do = Callable[[Callable[[], Exit]], NoReturn]
Output = Annotated[Form, Parameter(name=["--output", "-o"], help="How to print.")]


class Row(msgspec.Struct, frozen=True):
    """A context, as it is listed."""

    name: str
    current: bool
    context: Context


def add_context_commands(context: App, do: Do) -> None:
    """`blazz context add|use|list|show|remove|rename`"""

    @context.command
    def add(
        name: str,
        *,
        api_url: Annotated[str | None, Parameter(help="Where the fleet's API is.")] = None,
        key_file: Annotated[Path | None, Parameter(help="A file that holds an API key.")] = None,
        bus_url: Annotated[
            str | None, Parameter(help="The fleet's NATS, for the terminal.")
        ] = None,
        bus_identity: Annotated[str, Parameter(help="The bus user to be.")] = "viewer",
        bus_seed_file: Annotated[Path | None, Parameter(help="Its NKey seed.")] = None,
        bus_creds_file: Annotated[Path | None, Parameter(help="Or its NATS credentials.")] = None,
        skin: Annotated[
            str | None, Parameter(help="The terminal's: dark, light, green or violet.")
        ] = None,
        read_only: Annotated[bool, Parameter(help="Refuse every act on it.", negative="")] = False,
        production: Annotated[
            bool, Parameter(help="Show it in red, and name it in questions.", negative="")
        ] = False,
        replace: Annotated[bool, Parameter(help="In place of one so named.", negative="")] = False,
        use: Annotated[bool, Parameter(help="Use it from now on.", negative="")] = False,
    ) -> None:
        """Remember a fleet. Secrets stay in their files."""
        made = Context(
            api_url=api_url,
            key_file=_path(key_file),
            bus_url=bus_url,
            bus_identity=bus_identity,
            bus_seed_file=_path(bus_seed_file),
            bus_creds_file=_path(bus_creds_file),
            skin=skin,
            read_only=read_only,
            production=production,
        )
        do(lambda: _add(name, made, replace=replace, use=use))

    @context.command
    def use(name: str) -> None:
        """Use a context where none is named."""
        do(lambda: _use(name))

    @context.command(name="list")
    def list_(*, output: Output = Form.TABLE) -> None:
        """List the contexts; the one in use has a star."""
        do(lambda: _list(output))

    @context.command
    def show(name: str | None = None, *, output: Output = Form.TABLE) -> None:
        """Show a context, by default the one in use."""
        do(lambda: _show(name, output))

    @context.command
    def remove(name: str) -> None:
        """Forget a context; its key's file stays."""
        do(lambda: _remove(name))

    @context.command
    def rename(old: str, new: str) -> None:
        """Give a context another name."""
        do(lambda: _rename(old, new))


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().absolute())


def _add(name: str, made: Context, *, replace: bool, use: bool) -> Exit:
    file = contexts.read()
    if contexts.check_name(name) in file.contexts and not replace:
        raise BlazzError(ErrorCode.CONFLICT, f"there is a context {name} already: --replace it")
    if made.skin is not None:
        from cli.taste import checked_skin

        checked_skin(made.skin, "--skin")
    if made.key_file is not None and not Path(made.key_file).is_file():
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"there is no file {made.key_file}")
    current = name if use or file.current is None else file.current
    _keep(file, file.contexts | {name: made}, current)
    if current == name:
        print(f"{name} is in use.", file=sys.stderr)
    else:
        print(f"Use it: blazz context use {name}", file=sys.stderr)
    return Exit.OK


def _use(name: str) -> Exit:
    file = contexts.read()
    file.named(name)
    _keep(file, file.contexts, name)
    if chosen := os.environ.get(contexts.CONTEXT_VARIABLE):
        print(f"{contexts.CONTEXT_VARIABLE}={chosen} still wins here.", file=sys.stderr)
    return Exit.OK


def _list(form: Form) -> Exit:
    from cli.render import Column, Shape, show

    shape = Shape[Row](
        (
            Column("", lambda r: "*" if r.current else " "),
            Column("CONTEXT", lambda r: r.name),
            Column("API", lambda r: r.context.api_url),
            Column("BUS", lambda r: r.context.bus_url),
            Column("MARKS", lambda r: _marks(r.context)),
            Column("KEY", lambda r: r.context.key_file, wide=True),
        ),
        lambda r: r.name,
    )
    file, current = contexts.read(), _current(contexts.read())
    rows = [Row(name, name == current, file.contexts[name]) for name in sorted(file.contexts)]
    return show(rows, shape, form)


def _show(name: str | None, form: Form) -> Exit:
    from cli.render import Shape, show_one

    file = contexts.read()
    chosen = name or _current(file)
    if chosen is None:
        raise BlazzError(ErrorCode.NOT_FOUND, "no context is in use: `blazz context add`")
    row = Row(chosen, chosen == _current(file), file.named(chosen))
    return show_one(row, Shape[Row]((), lambda r: r.name), form)


def _remove(name: str) -> Exit:
    file = contexts.read()
    file.named(name)
    left = {known: context for known, context in file.contexts.items() if known != name}
    _keep(file, left, None if file.current == name else file.current)
    return Exit.OK


def _rename(old: str, new: str) -> Exit:
    file = contexts.read()
    found = file.named(old)
    if contexts.check_name(new) in file.contexts:
        raise BlazzError(ErrorCode.CONFLICT, f"there is a context {new} already")
    left = {known: context for known, context in file.contexts.items() if known != old}
    _keep(file, left | {new: found}, new if file.current == old else file.current)
    return Exit.OK


def _keep(file: contexts.ContextFile, all_of_them: dict[str, Context], current: str | None) -> None:
    contexts.write(msgspec.structs.replace(file, contexts=all_of_them, current=current))


def _current(file: contexts.ContextFile) -> str | None:
    return os.environ.get(contexts.CONTEXT_VARIABLE) or file.current


def _marks(context: Context) -> str:
    marks = (("production", context.production), ("read-only", context.read_only))
    return ", ".join(word for word, holds in marks if holds)
