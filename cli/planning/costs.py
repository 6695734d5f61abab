"""What a fleet costs.

Owns the sums. All amounts are USD a month, without tax.
"""

from collections.abc import Sequence

import msgspec

from cli.planning.catalogue import Catalogue
from cli.planning.sizing import Choice
from cli.planning.spread import Node


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """A month's costs: of nodes, of what is needed once, of all; for a session, for a customer."""

    nodes_usd: float
    fixed_usd: float
    month_usd: float
    session_usd: float
    customer_usd: float


class FixedCost(msgspec.Struct, frozen=True):
    """One line of what is needed once."""

    name: str
    count: int
    month_usd: float


def fixed_costs(catalogue: Catalogue) -> tuple[FixedCost, ...]:
    """What is needed once, a line each."""
    return tuple(
        FixedCost(item.name, item.count, round(item.price * item.count, 2))
        for item in catalogue.fixed
    )


def costs(
    nodes: Sequence[Node],
    choices: Sequence[Choice],
    fixed: Sequence[FixedCost],
    sessions: int,
    sessions_per_customer: int,
) -> Costs:
    """The sums. A customer costs what its sessions cost."""
    price = {one.provider.id: one.price_usd for one in choices}
    for_nodes = sum(price[node.provider] for node in nodes)
    for_once = sum(item.month_usd for item in fixed)
    month = for_nodes + for_once
    return Costs(
        nodes_usd=round(for_nodes, 2),
        fixed_usd=round(for_once, 2),
        month_usd=round(month, 2),
        session_usd=round(month / sessions, 4),
        customer_usd=round(month / sessions * sessions_per_customer, 4),
    )
