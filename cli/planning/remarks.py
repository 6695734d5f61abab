"""What a plan says about itself: where its figures are doubtful, or others' do not add up.

Owns these sentences. Each is one line, with figures; `docs/capacity.md` has the reasons.
"""

from collections.abc import Iterator, Sequence

import msgspec

from cli.planning.catalogue import Catalogue
from cli.planning.costs import Costs, FixedCost, costs
from cli.planning.sizing import Choice, Sizing, choose, memory_mb
from cli.planning.spread import Fleet, Spare, spread
from schemas.errors import BlazzError


class Remark(msgspec.Struct, frozen=True):
    """One of them; `code` is for scripts."""

    code: str
    text: str


def remarks(
    catalogue: Catalogue,
    sizing: Sizing,
    choices: Sequence[Choice],
    fleet: Fleet,
    sessions: int,
    needed: Costs,
    fixed: Sequence[FixedCost],
) -> tuple[Remark, ...]:
    """All that there is to say."""
    return (
        *_memory(catalogue, sizing, choices, sessions, fixed),
        *_claims(catalogue, choices, fleet, sessions, needed),
        *_prices(catalogue, choices),
        *_modes(sizing),
    )


def _memory(
    catalogue: Catalogue,
    sizing: Sizing,
    choices: Sequence[Choice],
    sessions: int,
    fixed: Sequence[FixedCost],
) -> Iterator[Remark]:
    too_many = [one for one in choices if one.sessions_per_node > one.fits]
    if not too_many:
        return
    memory = catalogue.memory
    own = memory.host_reserve_mb + memory.node_mb
    one = memory_mb(1, memory, sizing.host_mode, sizing.session_mb)
    held = ", ".join(
        f"{choice.provider.id}/{choice.size.id} holds {choice.fits}" for choice in too_many
    )
    left = min((choice.size.memory_mb - own) / choice.sessions_per_node for choice in too_many)
    yield Remark(
        "memory_too_small",
        f"{too_many[0].sessions_per_node} sessions a node do not fit: on the smallest they leave "
        f"{max(0, left):.0f} MB for each, and one is planned with {one:.0f} MB besides {own} MB "
        f"for host and node. By memory {held}.",
    )
    measured = msgspec.structs.replace(sizing, sessions_per_node=None, sizes=())
    try:
        fitting = choose(catalogue, [choice.provider for choice in choices], measured)
    except BlazzError:
        return
    nodes = spread(fitting, sessions, Spare.NONE).needed
    sums = costs(nodes, fitting, fixed, sessions, 1)
    sizes = ", ".join(
        f"{choice.provider.id}/{choice.size.id} with {choice.sessions_per_node}"
        for choice in fitting
    )
    yield Remark(
        "by_measured_memory",
        f"By measured memory it takes {len(nodes):,} nodes ({sizes}) and ${sums.month_usd:,.0f} a "
        f"month, ${sums.session_usd:.2f} a session: leave out --sessions-per-node.",
    )


def _claims(
    catalogue: Catalogue,
    choices: Sequence[Choice],
    fleet: Fleet,
    sessions: int,
    needed: Costs,
) -> Iterator[Remark]:
    for claim in catalogue.claims:
        if claim.sessions != sessions:
            continue
        beside = claim.month_usd - claim.nodes * claim.node_usd
        price = {one.provider.id: one.price_usd for one in choices}
        others = sum(price[node.provider] != claim.node_usd for node in fleet.needed)
        if len(fleet.needed) == claim.nodes and others:
            yield Remark(
                "nodes_at_other_prices",
                f"The founding plan takes all {claim.nodes} nodes at ${claim.node_usd:g}, "
                f"${claim.nodes * claim.node_usd:,.0f} in all; {others} of these cost something "
                f"else, and all of them ${needed.nodes_usd:,.2f}.",
            )
        if abs(beside - needed.fixed_usd) >= 1:
            yield Remark(
                "fixed_costs_differ",
                f"The founding plan's ${claim.month_usd:,.0f} for {sessions:,} sessions leaves "
                f"${beside:,.0f} beside its nodes; its own list of fixed costs, taken here, is "
                f"${needed.fixed_usd:,.0f}.",
            )


def _prices(catalogue: Catalogue, choices: Sequence[Choice]) -> Iterator[Remark]:
    for one in choices:
        if one.size.note:
            yield Remark("price_doubtful", f"{one.provider.id}/{one.size.id}: {one.size.note}.")
        if (currency := one.provider.currency) != "USD":
            yield Remark(
                "currency",
                f"{one.provider.id} asks {one.size.price:g} {currency}; taken at "
                f"{catalogue.rates[currency]:g} USD. Taxes are in no price.",
            )
    if catalogue.source:
        yield Remark("prices", f"Prices: {catalogue.source}.")


def _modes(sizing: Sizing) -> Iterator[Remark]:
    if sizing.host_mode == "shared":
        yield Remark(
            "not_built",
            "Several sessions in one browser (`shared`) were measured and are not built: nodes run "
            "one browser a session.",
        )
