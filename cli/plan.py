"""`blazz plan`: reads a catalogue, prints the plan, writes inventory and catalogue.

Owns the files and the words. What is planned, and how, is `cli.planning`'s.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Final

from cli.exit_codes import Exit
from cli.options import Form
from cli.planning.catalogue import Catalogue, parse
from cli.planning.costs import Costs
from cli.planning.inventory import inventory
from cli.planning.plan import LossRow, Made, Plan, Row, Wanted, make
from cli.render import Column, Shape, render, show, show_one, yaml_text
from schemas.errors import BlazzError, ErrorCode

_SPREAD: Final = Shape[Row](
    (
        Column("PROVIDER", lambda r: r.provider),
        Column("REGION", lambda r: r.region),
        Column("NODES", lambda r: r.nodes),
        Column("SPARE", lambda r: r.spare_nodes),
        Column("SIZE", lambda r: r.size),
        Column("MB", lambda r: r.memory_mb, wide=True),
        Column("VCPUS", lambda r: r.vcpus, wide=True),
        Column("A NODE", lambda r: r.sessions_per_node),
        Column("SESSIONS", lambda r: r.sessions),
        Column("USD EACH", lambda r: f"{r.node_usd:.2f}", wide=True),
        Column("USD", lambda r: f"{r.month_usd:,.2f}"),
    ),
    lambda r: f"{r.provider}/{r.region}",
)
_LOSSES: Final = Shape[LossRow](
    (
        Column("LOSS OF ONE", lambda r: r.of.value),
        Column("WORST", lambda r: r.worst),
        Column("NODES", lambda r: r.nodes),
        Column("SESSIONS", lambda r: r.sessions),
        Column("NO PLACE", lambda r: r.homeless),
        Column("WITH SPARE", lambda r: r.homeless_with_spare),
    ),
    lambda r: r.of.value,
)
_COSTS: Final = Shape[tuple[str, Costs]](
    (
        Column("USD A MONTH", lambda r: r[0]),
        Column("NODES", lambda r: f"{r[1].nodes_usd:,.2f}"),
        Column("FIXED", lambda r: f"{r[1].fixed_usd:,.2f}"),
        Column("ALL", lambda r: f"{r[1].month_usd:,.2f}"),
        Column("A SESSION", lambda r: f"{r[1].session_usd:.2f}"),
        Column("A CUSTOMER", lambda r: f"{r[1].customer_usd:.2f}"),
    ),
    lambda r: r[0],
)


@dataclass(frozen=True)
class PlanOutput:
    """Where the plan goes. `replace`: files that exist are written anew."""

    form: Form
    catalogue: Path | None = None
    inventory: Path | None = None
    replace: bool = False


def run_plan(wanted: Wanted, output: PlanOutput) -> Exit:
    """Print a plan, and write its inventory if one is asked for."""
    catalogue = read_catalogue(output.catalogue)
    made = make(catalogue, wanted)
    if output.inventory is not None:
        tree = inventory(made.fleet, made.choices, catalogue, version("blazz"))
        text = yaml_text(tree)
        if str(output.inventory) == "-":
            print(text, end="")
            return Exit.OK
        _write(output.inventory, text, replace=output.replace)
        print(f"The inventory is in {output.inventory}.", file=sys.stderr)
    return _print(made, output.form)


def write_catalogue(path: Path, *, replace: bool) -> Exit:
    """Write the shipped catalogue, to be edited."""
    _write(path, _shipped(), replace=replace)
    print(f"Edit {path}, then: blazz plan --catalogue {path} --sessions …", file=sys.stderr)
    return Exit.OK


def read_catalogue(path: Path | None) -> Catalogue:
    """A catalogue, by default the shipped one. Raises `config_invalid`."""
    if path is None:
        return parse(_shipped(), "the shipped catalogue")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path} can't be read: {error}") from error
    return parse(text, str(path))


def _shipped() -> str:
    return files("cli.planning").joinpath("catalogue.toml").read_text(encoding="utf-8")


def _write(path: Path, text: str, *, replace: bool) -> None:
    try:
        with path.open("w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BlazzError(
            ErrorCode.CONFLICT, f"there is a file {path} already: --replace it"
        ) from error
    except OSError as error:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"{path} can't be written: {error.strerror}"
        ) from error


def _print(made: Made, form: Form) -> Exit:
    plan = made.plan
    if form is Form.NAME:
        print("".join(f"{node.id}\n" for node in made.fleet.nodes), end="")
        return Exit.OK
    if form not in (Form.TABLE, Form.WIDE):
        return show_one(plan, Shape[Plan]((), lambda p: str(p.nodes)), form)
    print(_headline(plan) + "\n")
    show(plan.spread, _SPREAD, form)
    print()
    show(plan.losses, _LOSSES, form)
    print()
    rows = [("needed", plan.costs.needed), ("with spare", plan.costs.with_spare)]
    print(render(rows[: 2 if plan.spare_nodes else 1], _COSTS, form), end="")
    if form is Form.WIDE:
        fixed = ", ".join(f"{f.count}x {f.name} {f.month_usd:.2f}" for f in plan.fixed)
        print(f"fixed: {fixed}")
    for remark in plan.remarks:
        print(f"- {remark.text}", file=sys.stderr)
    return Exit.OK


def _headline(plan: Plan) -> str:
    spare = f", and {plan.spare_nodes} to lose a {plan.spare_for.value}" if plan.spare_nodes else ""
    return (
        f"{plan.sessions:,} sessions of {plan.customers:,} customers: {plan.nodes:,} nodes{spare}."
    )
