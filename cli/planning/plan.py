"""A plan: what was asked, what it takes, what goes with each loss, what it costs.

Owns the record that every form prints, and putting it together.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from cli.planning.catalogue import Catalogue
from cli.planning.costs import Costs, FixedCost, costs, fixed_costs
from cli.planning.remarks import Remark, remarks
from cli.planning.sizing import Choice, Sizing, choose
from cli.planning.spread import Fleet, Loss, Node, Spare, by_part, capacity, spread
from schemas.errors import BlazzError, ErrorCode

SESSIONS_MAX: Final = 100_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked. `providers`: which of the catalogue's; none means all."""

    sessions: int
    sizing: Sizing = Sizing()
    sessions_per_customer: int = 3
    spare: Spare = Spare.NODE
    providers: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A region's part. `sessions` is what its needed nodes hold, `month_usd` what these cost."""

    provider: str
    region: str
    size: str
    memory_mb: int
    vcpus: int
    nodes: int
    spare_nodes: int
    sessions_per_node: int
    sessions: int
    node_usd: float
    month_usd: float


class LossRow(msgspec.Struct, frozen=True, kw_only=True):
    """The worst that one loss takes.

    `sessions` are cut off and come up elsewhere, but for those without a place: with the needed
    nodes alone (`homeless`), and with the spare ones (`homeless_with_spare`).
    """

    of: Loss
    worst: str
    nodes: int
    sessions: int
    homeless: int
    homeless_with_spare: int


class BothCosts(msgspec.Struct, frozen=True):
    """Without and with the spare nodes."""

    needed: Costs
    with_spare: Costs


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `nodes` hold the sessions; `spare_nodes` stand beside them.

    `sessions_per_node` is that of the node that holds most.
    """

    sessions: int
    customers: int
    sessions_per_customer: int
    sessions_per_node: int
    nodes: int
    spare_nodes: int
    spare_for: Spare
    capacity: int
    capacity_with_spare: int
    providers: dict[str, Annotated[int, Meta(description="Nodes, without spare ones.")]]
    spread: tuple[Row, ...]
    losses: tuple[LossRow, ...]
    costs: BothCosts
    fixed: tuple[FixedCost, ...]
    prices: str
    remarks: tuple[Remark, ...]


class Made(msgspec.Struct, frozen=True):
    """The plan, and the machines behind it."""

    plan: Plan
    fleet: Fleet
    choices: tuple[Choice, ...]


def make(catalogue: Catalogue, wanted: Wanted) -> Made:
    """Raises `config_invalid` for what can't be had."""
    _check(wanted)
    ids = dict.fromkeys(wanted.providers) or [provider.id for provider in catalogue.providers]
    choices = choose(catalogue, [catalogue.provider(one) for one in ids], wanted.sizing)
    fleet = spread(choices, wanted.sessions, wanted.spare)
    fixed = fixed_costs(catalogue)

    def sums(nodes: Sequence[Node]) -> Costs:
        return costs(nodes, choices, fixed, wanted.sessions, wanted.sessions_per_customer)

    both = BothCosts(sums(fleet.needed), sums(fleet.nodes))
    plan = Plan(
        sessions=wanted.sessions,
        customers=math.ceil(wanted.sessions / wanted.sessions_per_customer),
        sessions_per_customer=wanted.sessions_per_customer,
        sessions_per_node=max(node.sessions_max for node in fleet.nodes),
        nodes=len(fleet.needed),
        spare_nodes=len(fleet.spare),
        spare_for=wanted.spare,
        capacity=capacity(fleet.needed),
        capacity_with_spare=capacity(fleet.nodes),
        providers={one: sum(node.provider == one for node in fleet.needed) for one in ids},
        spread=_rows(fleet, choices),
        losses=tuple(_loss(fleet, loss, wanted.sessions) for loss in Loss),
        costs=both,
        fixed=fixed,
        prices=catalogue.source,
        remarks=remarks(
            catalogue, wanted.sizing, choices, fleet, wanted.sessions, both.needed, fixed
        ),
    )
    return Made(plan, fleet, tuple(choices))


def _check(wanted: Wanted) -> None:
    limits = {
        "--sessions": (wanted.sessions, SESSIONS_MAX),
        "--sessions-per-customer": (wanted.sessions_per_customer, SESSIONS_MAX),
        "--sessions-per-node": (wanted.sizing.sessions_per_node, 10_000),
    }
    for flag, (value, most) in limits.items():
        if value is not None and not 1 <= value <= most:
            raise BlazzError(ErrorCode.CONFIG_INVALID, f"{flag} {value}: from 1 to {most:,}")
    if wanted.sizing.session_mb is not None and not 1 <= wanted.sizing.session_mb <= 100_000:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"--session-mb {wanted.sizing.session_mb:g}: from 1 to 100,000",
        )


def _rows(fleet: Fleet, choices: Sequence[Choice]) -> tuple[Row, ...]:
    rows = []
    for one in choices:
        for region in one.provider.regions:
            here = (one.provider.id, region.id)
            nodes = sum((node.provider, node.region) == here for node in fleet.needed)
            spare = sum((node.provider, node.region) == here for node in fleet.spare)
            if nodes or spare:
                rows.append(
                    Row(
                        provider=one.provider.id,
                        region=region.id,
                        size=one.size.id,
                        memory_mb=one.size.memory_mb,
                        vcpus=one.size.vcpus,
                        nodes=nodes,
                        spare_nodes=spare,
                        sessions_per_node=one.sessions_per_node,
                        sessions=nodes * one.sessions_per_node,
                        node_usd=round(one.price_usd, 2),
                        month_usd=round(nodes * one.price_usd, 2),
                    )
                )
    return tuple(rows)


def _loss(fleet: Fleet, loss: Loss, sessions: int) -> LossRow:
    needed, both = by_part(fleet.needed, loss), by_part(fleet.nodes, loss)
    worst, held = needed.most_common(1)[0]

    def homeless(nodes: Sequence[Node], lost: int) -> int:
        return max(0, sessions - (capacity(nodes) - lost))

    return LossRow(
        of=loss,
        worst=worst,
        nodes=sum(node.part_of(loss) == worst for node in fleet.needed),
        sessions=min(held, sessions),
        homeless=homeless(fleet.needed, held),
        homeless_with_spare=homeless(fleet.nodes, max(both.values())),
    )
