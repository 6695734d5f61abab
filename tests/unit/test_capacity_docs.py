"""The figures of the page about capacity are those that the shipped catalogue gives."""

import re
from pathlib import Path

import pytest

from cli.plan import read_catalogue
from cli.planning.catalogue import HostMode, Size
from cli.planning.plan import Plan, Wanted, make
from cli.planning.sizing import Sizing, fits

PAGE = (Path(__file__).parents[2] / "docs/capacity.md").read_text(encoding="utf-8")
CATALOGUE = read_catalogue(None)
WAYS: tuple[tuple[Sizing, tuple[str, ...]], ...] = (
    (Sizing(sessions_per_node=30), ()),
    (Sizing(), ()),
    (Sizing(), ("hetzner",)),
    (Sizing(host_mode="shared"), ()),
    (Sizing(host_mode="shared"), ("hetzner",)),
)
"""The columns of its last table after the first two."""


def plan(sessions: int, sizing: Sizing, providers: tuple[str, ...]) -> Plan:
    return make(CATALOGUE, Wanted(sessions=sessions, sizing=sizing, providers=providers)).plan


def cells(first: str) -> list[str]:
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("sessions", [100, 500, 1000, 3000, 9000])
def test_nodes_and_costs_are_those_of_the_catalogue(sessions: int) -> None:
    _, claimed, *shown = cells(f"{sessions:,}")
    claim = next(claim for claim in CATALOGUE.claims if claim.sessions == sessions)
    assert claimed == f"{claim.nodes}, {claim.month_usd:,.0f}"
    made = [plan(sessions, *way) for way in WAYS]
    assert shown == [f"{p.nodes}, {p.costs.needed.month_usd:,.0f}" for p in made]


def test_so_are_those_for_a_session_and_a_customer() -> None:
    needed = [plan(9000, *way).costs.needed for way in WAYS]
    assert cells("a session, at 9,000")[2:] == [f"{one.session_usd:.2f}" for one in needed]
    assert cells("a customer")[2:] == [f"{one.customer_usd:.2f}" for one in needed]


@pytest.mark.parametrize(("mode", "column"), [("isolated", 1), ("shared", 2)])
def test_so_is_what_a_machine_holds(mode: HostMode, column: int) -> None:
    rows = re.findall(r"^\| (\d+) GB \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        size = Size(id="s", memory_mb=int(row[0]) * 1024, vcpus=8, price=1)
        assert fits(size, CATALOGUE, Sizing(host_mode=mode)) == int(row[column]), row
