"""`blazz backup …` and `blazz restore`: their grammar.

Owns the words and their defaults; what they do is `cli/backup`'s.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, Group, Parameter

from cli.exit_codes import Exit

Run = Callable[[Callable[[asyncio.Event], Coroutine[Any, Any, Exit]]], NoReturn]

Config = Annotated[
    Path | None, Parameter(help="A control plane's TOML file, whose bus and stores are meant.")
]
FleetDir = Annotated[Path | None, Parameter(help="Instead: the data directory of `blazz up`.")]
KeyFile = Annotated[
    Path | None,
    Parameter(help="What seals the backup: a file like the vault's master key, which it is else."),
]
Root = Annotated[Path, Parameter(help="Where the backups are; or one of them.")]
TempDir = Annotated[
    Path | None, Parameter(help="Where there is room to unpack all of it; else the system's.")
]
JsonOut = Annotated[bool, Parameter(help="Print one JSON object.", negative="")]


def add_backup_commands(app: App, backup: App, group: Group, run: Run) -> None:
    """Give `backup` its verbs, and `app` the command `restore`."""

    @backup.command
    def create(
        *,
        to: Root,
        config: Config = None,
        data_dir: FleetDir = None,
        key_file: KeyFile = None,
        creds_file: Annotated[
            Path | None, Parameter(help="Of `blazz identity issue backup …`; else as the config.")
        ] = None,
        temp_dir: TempDir = None,
        json: JsonOut = False,
    ) -> None:
        """Take a backup while the fleet runs, and prove it at once. Exit 1 if it has findings.

        It is read back and opened in a scratch server on this machine. The vault's master key is
        not in it: keep that apart.
        """
        from cli.backup.acts import Choice, run_create

        choice = Choice(config, data_dir, key_file, creds_file=creds_file)
        run(lambda stop: run_create(choice, to, temp_dir, as_json=json, stop=stop))

    @backup.command(name="list")
    def list_backups(root: Root, *, json: JsonOut = False) -> None:
        """List the backups in a directory, the newest first."""
        from cli.backup.acts import run_list

        run(lambda stop: run_list(root, as_json=json, stop=stop))

    @backup.command
    def show(root: Root, *, json: JsonOut = False) -> None:
        """Show what the newest backup says of itself, or the one that is named."""
        from cli.backup.acts import run_show

        run(lambda stop: run_show(root, as_json=json, stop=stop))

    @backup.command
    def verify(
        root: Root,
        *,
        config: Config = None,
        data_dir: FleetDir = None,
        key_file: KeyFile = None,
        json: JsonOut = False,
    ) -> None:
        """Check the newest backup's sums and seals, or those of the one that is named. Exit 1 if
        it is damaged. `drill` proves more."""
        from cli.backup.acts import Choice, run_verify

        choice = Choice(config, data_dir, key_file)
        run(lambda stop: run_verify(choice, root, as_json=json, stop=stop))

    @backup.command
    def drill(
        root: Root,
        *,
        config: Config = None,
        data_dir: FleetDir = None,
        key_file: KeyFile = None,
        master_key_file: Annotated[
            Path | None, Parameter(help="The copy of the vault's master key that you keep apart.")
        ] = None,
        temp_dir: TempDir = None,
        json: JsonOut = False,
    ) -> None:
        """Restore the newest backup, or the one that is named, into a scratch server, and open
        every session's snapshot, every key and every message there. Exit 1 unless all is well."""
        from cli.backup.acts import Choice, run_drill

        choice = Choice(config, data_dir, key_file, master_key_file)
        run(lambda stop: run_drill(choice, root, temp_dir, as_json=json, stop=stop))

    @app.command(group=group)
    def restore(
        *,
        from_: Annotated[Path, Parameter(name="--from", help="Where the backups are; or one.")],
        config: Config = None,
        data_dir: FleetDir = None,
        key_file: KeyFile = None,
        replace: Annotated[
            bool, Parameter(help="Delete what the bus holds first.", negative="")
        ] = False,
        dry_run: Annotated[bool, Parameter(help="Only say what it would do.", negative="")] = False,
        yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.", negative="")] = (
            False
        ),
        json: JsonOut = False,
    ) -> None:
        """Put a backup back onto an empty bus. Stop every control plane and node first.

        Exit 1 if something could not be brought back; it is named then.
        """
        from cli.backup.acts import Choice, run_restore

        choice = Choice(config, data_dir, key_file)
        run(
            lambda stop: run_restore(
                choice, from_, replace=replace, dry_run=dry_run, yes=yes, as_json=json, stop=stop
            )
        )
