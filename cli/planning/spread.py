"""Where the nodes stand: one after the other, so that a larger fleet has the smaller one in it.

Owns the order in which nodes are given out, and how many are needed. Never knows a price.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from cli.planning.sizing import Choice
from schemas.errors import BlazzError, ErrorCode


class Loss(StrEnum):
    """What can go at once. A place is a city, whoever has machines there."""

    ADDRESS = "address"
    REGION = "region"
    PLACE = "place"
    PROVIDER = "provider"


class Spare(StrEnum):
    """What the fleet can lose and still hold every session."""

    NONE = "none"
    NODE = "node"
    REGION = "region"
    PLACE = "place"
    PROVIDER = "provider"


class Node(msgspec.Struct, frozen=True):
    """One machine. `number` counts within its region from 1."""

    provider: str
    region: str
    number: int
    sessions_max: int

    @property
    def id(self) -> str:
        """Its host name and node id."""
        return f"blazz-{self.provider}-{self.region}-{self.number}"

    def part_of(self, loss: Loss) -> str:
        """What it goes with."""
        return {
            Loss.ADDRESS: self.id,
            Loss.REGION: f"{self.provider}/{self.region}",
            Loss.PLACE: self.region,
            Loss.PROVIDER: self.provider,
        }[loss]


class Fleet(msgspec.Struct, frozen=True):
    """The nodes that hold the sessions, and those that stand by for a loss."""

    needed: tuple[Node, ...]
    spare: tuple[Node, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All of them."""
        return self.needed + self.spare


_LOSS = {
    Spare.NODE: Loss.ADDRESS,
    Spare.REGION: Loss.REGION,
    Spare.PLACE: Loss.PLACE,
    Spare.PROVIDER: Loss.PROVIDER,
}


def capacity(nodes: Sequence[Node]) -> int:
    """How many sessions they hold."""
    return sum(node.sessions_max for node in nodes)


def by_part(nodes: Sequence[Node], loss: Loss) -> Counter[str]:
    """How many sessions each part that can go holds."""
    held: Counter[str] = Counter()
    for node in nodes:
        held[node.part_of(loss)] += node.sessions_max
    return held


def spread(choices: Sequence[Choice], sessions: int, spare: Spare) -> Fleet:
    """As many nodes as the sessions need, then as many as a loss needs.

    Raises `config_invalid` if no number of nodes is enough: one provider can't outlive itself.
    """
    _refuse_hopeless(choices, spare)
    source = in_order(choices)
    needed: list[Node] = []
    held = 0
    while held < sessions:
        node = next(source)
        needed.append(node)
        held += node.sessions_max
    if spare is Spare.NONE:
        return Fleet(tuple(needed), ())
    loss, extra = _LOSS[spare], list[Node]()
    parts = by_part(needed, loss)
    worst = max(parts.values())
    while held - worst < sessions:
        node = next(source)
        extra.append(node)
        held += node.sessions_max
        parts[node.part_of(loss)] += node.sessions_max
        worst = max(worst, parts[node.part_of(loss)])
    return Fleet(tuple(needed), tuple(extra))


def in_order(choices: Sequence[Choice]) -> Iterator[Node]:
    """Nodes without end, each where its provider, then its region, is furthest behind its weight.

    Sainte-Laguë's method: at any length the weights hold as nearly as whole nodes allow, and no
    node is ever taken back. Of regions equally far behind, the place with fewest nodes is first.
    """
    weights = [sum(region.weight for region in one.provider.regions) for one in choices]
    given = [0] * len(choices)
    in_region = [[0] * len(one.provider.regions) for one in choices]
    in_place: Counter[str] = Counter()
    while True:
        n = max(range(len(choices)), key=lambda n: (weights[n] / (2 * given[n] + 1), -n))
        regions, counts = choices[n].provider.regions, in_region[n]
        _, _, back = max(
            (region.weight / (2 * counts[r] + 1), -in_place[region.id], -r)
            for r, region in enumerate(regions)
        )
        chosen = regions[-back]
        given[n] += 1
        counts[-back] += 1
        in_place[chosen.id] += 1
        yield Node(choices[n].provider.id, chosen.id, counts[-back], choices[n].sessions_per_node)


def _refuse_hopeless(choices: Sequence[Choice], spare: Spare) -> None:
    regions = [(one.provider.id, region.id) for one in choices for region in one.provider.regions]
    ways = {
        Spare.REGION: len(set(regions)),
        Spare.PLACE: len({region for _, region in regions}),
        Spare.PROVIDER: len({provider for provider, _ in regions}),
    }
    if ways.get(spare, 2) < 2:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"--spare {spare}: there is only one {spare}, and nothing to go on with; take more "
            "--providers, or --spare node",
        )
