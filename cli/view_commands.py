"""The words of `blazz tui`.

Owns their grammar. `cli.view` does the work and is imported when the command runs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, Group, Parameter

from cli.exit_codes import Exit

Run = Callable[[Callable[[asyncio.Event], Coroutine[Any, Any, Exit]]], NoReturn]
RunPlain = Callable[[Callable[[], Exit]], NoReturn]


def add_tui_command(app: App, group: Group, run: Run, run_plain: RunPlain) -> None:
    """`blazz tui`; `run_plain` is for what has an event loop and keys of its own."""

    @app.command(group=group)
    def tui(
        *,
        data_dir: Annotated[
            Path | None, Parameter(help="The data directory of `blazz up` or demo.")
        ] = None,
        server: Annotated[
            str | None,
            Parameter(help="NATS address of a fleet; BLAZZ_API_URL, BLAZZ_API_KEY to act on it."),
        ] = None,
        seed_file: Annotated[Path | None, Parameter(help="The viewer's NATS seed.")] = None,
        context: Annotated[str | None, Parameter(help="A fleet by its name.")] = None,
        production: Annotated[
            bool, Parameter(help="Customers are on it: a red header.", negative="")
        ] = False,
        read_only: Annotated[bool | None, Parameter(help="Refuse every act.")] = None,
        low_bandwidth: Annotated[
            bool | None, Parameter(help="Fewer repaints, for slow lines.")
        ] = None,
        light: Annotated[bool | None, Parameter(help="Dark letters on light.")] = None,
        at: Annotated[
            str | None,
            Parameter(
                help="The fleet as it was: 14:05 (UTC), -10m, or an ISO time.",
                allow_leading_hyphen=True,
            ),
        ] = None,
        browser: Annotated[
            int | None, Parameter(help="Serve it, read-only, to a browser of this machine: a port.")
        ] = None,
    ) -> None:
        """Watch and operate the fleet, live, in the terminal."""
        from cli.view import TuiOptions, run_tui_command, tui_words

        options = TuiOptions(
            data_dir=data_dir,
            server=server,
            seed_file=seed_file,
            context=context,
            production=production,
            read_only=read_only,
            low_bandwidth=low_bandwidth,
            light=light,
            at=at,
        )
        if browser is not None:
            from cli.browser import run_browser

            run(lambda stop: run_browser(tui_words(options), browser, stop))
        run_plain(lambda: run_tui_command(options))
