"""The words of `blazz node …` that operate a fleet.

Owns their grammar. `cli.operate` does the work and is imported when a command runs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, NoReturn

from cyclopts import App, Parameter

from cli.exit_codes import Exit
from cli.options import ACT, HERE, ONCE, Acting, Target, Watch

Run = Callable[[Callable[[asyncio.Event], Coroutine[Any, Any, Exit]]], NoReturn]
Why = Annotated[str | None, Parameter(help="For those who wonder later.")]


def add_node_commands(node: App, run: Run) -> None:
    """`blazz node list|show|cordon|uncordon|drain|rebalance`"""

    @node.command(name="list")
    def list_nodes(*, target: Target = HERE, watch: Watch = ONCE) -> None:
        """List the nodes."""
        from cli.operate import list_nodes

        run(lambda stop: list_nodes(target, watch, stop))

    @node.command(name=["show", "describe"])
    def show(node_id: str, *, target: Target = HERE, watch: Watch = ONCE) -> None:
        """Show a node and the sessions on it."""
        from cli.operate import show_node

        run(lambda stop: show_node(target, node_id, watch, stop))

    @node.command
    def cordon(
        *nodes: str, reason: Why = None, target: Target = HERE, acting: Acting = ACT
    ) -> None:
        """Let no new session go to these nodes; those on them stay."""
        from cli.operate import mark_nodes

        run(lambda _stop: mark_nodes(target, acting, nodes, "cordon", reason))

    @node.command
    def uncordon(*nodes: str, target: Target = HERE, acting: Acting = ACT) -> None:
        """Let new sessions go to these nodes again; ends a drain."""
        from cli.operate import mark_nodes

        run(lambda _stop: mark_nodes(target, acting, nodes, "uncordon", None))

    @node.command
    def drain(
        *nodes: str,
        deadline: Annotated[
            float | None,
            Parameter(help="Seconds until sessions that fit nowhere are stopped all the same."),
        ] = 600.0,
        wait: Annotated[bool, Parameter(help="Stay until it is done.")] = True,
        reason: Why = None,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Move all sessions off these nodes. Ctrl-C ends the waiting, not the drain.

        Exit codes: 0 the nodes are empty (or, with --no-wait, the drain has begun); 6 sessions are
        left a minute after the deadline, or somebody ended the drain; 130 ctrl-C.
        """
        from cli.operate import DrainOptions, drain_nodes

        options = DrainOptions(nodes, deadline, wait, reason)
        run(lambda stop: drain_nodes(target, options, stop, acting))

    @node.command
    def rebalance(*, max_moves: int = 10, target: Target = HERE, acting: Acting = ACT) -> None:
        """Move sessions from the fuller nodes to the emptier ones."""
        from cli.operate import rebalance

        run(lambda _stop: rebalance(target, acting, max_moves))
