"""`blazz config …`: a person's own configuration.

Owns its grammar and words. `cli.configuration` owns the keys.
"""

from collections.abc import Callable
from typing import Annotated, Final, NoReturn

from cyclopts import App, Parameter

from cli.exit_codes import Exit
from cli.options import Form
from schemas.errors import BlazzError, ErrorCode

Do = Callable[[Callable[[], Exit]], NoReturn]
Output = Annotated[Form, Parameter(name=["--output", "-o"], help="How to print.")]
DryRun = Annotated[bool, Parameter(help="Print what would be set; do nothing.", negative="")]


def add_config_commands(config: App, do: Do) -> None:
    """`blazz config list|get|set|unset|path|show`"""

    @config.command(name="list")
    def list_(*, output: Output = Form.TABLE) -> None:
        """List what is set: contexts, the one in use, and how the terminal looks."""
        do(lambda: _list(output))

    @config.command
    def get(key: str, *, output: Output = Form.NAME) -> None:
        """Print a key's value, as `current` or `contexts.prod.api_url`."""
        do(lambda: _get(key, output))

    @config.command(name="set")
    def set_(key: str, value: str, *, dry_run: DryRun = False) -> None:
        """Set a key, as `tui.light true` or `contexts.prod.production true`."""
        do(lambda: _change(key, value, dry_run=dry_run))

    @config.command
    def unset(key: str, *, dry_run: DryRun = False) -> None:
        """Have a key not set any more."""
        do(lambda: _change(key, None, dry_run=dry_run))

    @config.command
    def path() -> None:
        """Print where the contexts are kept."""
        do(_path)

    @config.command
    def show() -> None:
        """Print that file."""
        do(_print_file)


def _list(form: Form) -> Exit:
    from cli import configuration
    from cli.render import Column, Shape, show

    shape = Shape[configuration.Setting](
        (Column("KEY", lambda s: s.key), Column("VALUE", lambda s: s.value)), lambda s: s.key
    )
    return show(configuration.all_set(), shape, form)


def _get(key: str, form: Form) -> Exit:
    from cli import configuration
    from cli.render import Shape, show_one

    found = configuration.get(key)
    shape = Shape[configuration.Setting]((), lambda s: _text(s.value))
    return show_one(found, shape, form)


def _change(key: str, value: str | None, *, dry_run: bool) -> Exit:
    from cli import configuration

    if dry_run:
        print(f"would unset {key}" if value is None else f"would set {key} to {value}")
        return Exit.OK
    configuration.change(key, value)
    return Exit.OK


def _text(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def _path() -> Exit:
    from cli import contexts

    print(contexts.config_path())
    return Exit.OK


def _print_file() -> Exit:
    from cli import contexts

    path: Final = contexts.config_path()
    if not path.is_file():
        raise BlazzError(ErrorCode.NOT_FOUND, f"there is no {path} yet: `blazz context add`")
    print(path.read_text(encoding="utf-8").rstrip())
    return Exit.OK
