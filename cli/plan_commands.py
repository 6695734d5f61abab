"""The words of `blazz plan`.

Owns their grammar. `cli.plan` does the work and is imported when the command runs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import App, Group, Parameter

from cli.exit_codes import Exit
from cli.options import Form
from schemas.errors import BlazzError, ErrorCode

Do = Callable[[Callable[[], Exit]], NoReturn]


def add_plan_command(app: App, group: Group, do: Do) -> None:
    """`blazz plan`"""

    @app.command(group=group)
    def plan(
        *,
        sessions: Annotated[int | None, Parameter(help="How many sessions to hold.")] = None,
        sessions_per_node: Annotated[
            int | None, Parameter(help="On each node; by default what its memory holds.")
        ] = None,
        sessions_per_customer: Annotated[int, Parameter(help="For the cost of a customer.")] = 3,
        spare: Annotated[
            Literal["none", "node", "region", "place", "provider"],
            Parameter(help="What may be lost with all sessions still finding a place."),
        ] = "node",
        providers: Annotated[
            tuple[str, ...],
            Parameter(help="Only these: vultr,hetzner.", negative="", show_default=False),
        ] = (),
        size: Annotated[
            tuple[str, ...],
            Parameter(
                help="Machines to take: 8gb, or vultr/8gb,hetzner/4gb.",
                negative="",
                show_default=False,
            ),
        ] = (),
        host: Annotated[
            Literal["isolated", "shared"],
            Parameter(help="One browser a session, or (not built yet) one for several."),
        ] = "isolated",
        session_mb: Annotated[
            float | None, Parameter(help="Memory of a session, where you measured it.")
        ] = None,
        catalogue: Annotated[
            Path | None, Parameter(help="Your providers, sizes and prices: a TOML file.")
        ] = None,
        write_catalogue: Annotated[
            Path | None, Parameter(help="Write the shipped catalogue there, to be edited.")
        ] = None,
        inventory: Annotated[
            Path | None,
            Parameter(
                help="Write an Ansible inventory there; - prints it.", allow_leading_hyphen=True
            ),
        ] = None,
        replace: Annotated[
            bool, Parameter(help="Write files anew that are there.", negative="")
        ] = False,
        output: Annotated[Form, Parameter(name=["--output", "-o"], help="How to print.")] = (
            Form.TABLE
        ),
    ) -> None:
        """From sessions to machines: how many, where, what a loss takes, what it costs.

        `nodes` are those that hold the sessions; `spare_nodes` stand beside them, so that what is
        lost finds a place. Prices come from a catalogue and are never asked for anywhere.
        """

        def run() -> Exit:
            from cli import plan as planner
            from cli.planning.plan import Wanted
            from cli.planning.sizing import Sizing
            from cli.planning.spread import Spare

            if write_catalogue is not None:
                return planner.write_catalogue(write_catalogue, replace=replace)
            if sessions is None:
                raise BlazzError(
                    ErrorCode.CONFIG_INVALID, "how many sessions? `blazz plan --sessions 1000`"
                )
            wanted = Wanted(
                sessions=sessions,
                sizing=Sizing(
                    sessions_per_node=sessions_per_node,
                    sizes=_listed(size),
                    host_mode=host,
                    session_mb=session_mb,
                ),
                sessions_per_customer=sessions_per_customer,
                spare=Spare(spare),
                providers=_listed(providers),
            )
            return planner.run_plan(
                wanted, planner.PlanOutput(output, catalogue, inventory, replace)
            )

        do(run)


def _listed(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for word in words for part in word.split(",") if part.strip())
