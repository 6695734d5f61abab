"""The words of `blazz node …` and `blazz session …` that operate a fleet.

Owns their grammar. `cli.operate` does the work and is imported when a command runs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, Parameter

from cli.exit_codes import Exit

Run = Callable[[Callable[[asyncio.Event], Coroutine[Any, Any, Exit]]], NoReturn]
DataDir = Annotated[
    Path | None,
    Parameter(
        help="The data directory of `blazz up` or demo; or set BLAZZ_API_URL, BLAZZ_API_KEY."
    ),
]
Json = Annotated[bool, Parameter(help="Print JSON.", negative="")]
Why = Annotated[str | None, Parameter(help="For those who wonder later.")]


def add_node_commands(node: App, run: Run) -> None:
    """`blazz node list|cordon|uncordon|drain|rebalance`"""

    @node.command(name="list")
    def list_nodes(*, data_dir: DataDir = None, json: Json = False) -> None:
        """List the nodes."""
        from cli.operate import Target, list_nodes

        run(lambda _stop: list_nodes(Target(data_dir, json)))

    @node.command
    def cordon(*nodes: str, data_dir: DataDir = None, reason: Why = None) -> None:
        """Let no new session go to these nodes; those on them stay."""
        from cli.operate import Target, mark_nodes

        run(lambda _stop: mark_nodes(Target(data_dir), nodes, "cordon", reason))

    @node.command
    def uncordon(*nodes: str, data_dir: DataDir = None) -> None:
        """Let new sessions go to these nodes again; ends a drain."""
        from cli.operate import Target, mark_nodes

        run(lambda _stop: mark_nodes(Target(data_dir), nodes, "uncordon", None))

    @node.command
    def drain(
        *nodes: str,
        data_dir: DataDir = None,
        deadline: Annotated[
            float | None,
            Parameter(help="Seconds until sessions that fit nowhere are stopped all the same."),
        ] = 600.0,
        wait: Annotated[bool, Parameter(help="Stay until it is done.")] = True,
        reason: Why = None,
    ) -> None:
        """Move all sessions off these nodes. Ctrl-C ends the waiting, not the drain.

        Exit codes: 0 the nodes are empty (or, with --no-wait, the drain has begun); 6 sessions are
        left a minute after the deadline, or somebody ended the drain; 130 ctrl-C.
        """
        from cli.operate import DrainOptions, Target, drain_nodes

        options = DrainOptions(nodes, deadline, wait, reason)
        run(lambda stop: drain_nodes(Target(data_dir), options, stop))

    @node.command
    def rebalance(*, data_dir: DataDir = None, max_moves: int = 10) -> None:
        """Move sessions from the fuller nodes to the emptier ones."""
        from cli.operate import Target, rebalance

        run(lambda _stop: rebalance(Target(data_dir), max_moves))


def add_session_commands(session: App, run: Run) -> None:
    """`blazz session list|move`"""

    @session.command(name="list")
    def list_sessions(*, data_dir: DataDir = None, json: Json = False) -> None:
        """List all tenants' sessions."""
        from cli.operate import Target, list_sessions

        run(lambda _stop: list_sessions(Target(data_dir, json)))

    @session.command
    def move(
        session_id: str,
        *,
        to: Annotated[str | None, Parameter(help="A node; by default the best other one.")] = None,
        data_dir: DataDir = None,
    ) -> None:
        """Move a session to another node; its link goes along."""
        from cli.operate import Target, move_session

        run(lambda _stop: move_session(Target(data_dir), session_id, to))
