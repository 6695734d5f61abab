"""What must hold of any plan, whatever is asked and whatever the catalogue says."""

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from cli.plan import read_catalogue
from cli.planning.catalogue import Provider, Region, Size
from cli.planning.inventory import inventory
from cli.planning.plan import Wanted, make
from cli.planning.sizing import Choice, Sizing
from cli.planning.spread import Loss, Spare, by_part, capacity, in_order, spread

CATALOGUE = read_catalogue(None)
SIZE = Size(id="s", memory_mb=4096, vcpus=2, price=10)
PLACES = ("here", "there", "yonder", "nowhere")


@st.composite
def fleets(draw: st.DrawFn) -> list[Choice]:
    """Two to four providers, each with regions, weights and a size of its own."""
    made = []
    for n in range(draw(st.integers(2, 4))):
        places = draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=4, unique=True))
        regions = tuple(Region(id=place, weight=draw(st.integers(1, 99))) for place in places)
        made.append(
            Choice(
                provider=Provider(id=f"p{n}", size="s", regions=regions, sizes=(SIZE,)),
                size=SIZE,
                sessions_per_node=draw(st.integers(1, 40)),
                fits=1,
                price_usd=10.0,
            )
        )
    return made


@given(fleets(), st.integers(1, 2_000), st.sampled_from([Spare.NONE, Spare.NODE, Spare.PROVIDER]))
def test_enough_and_no_more_and_a_loss_finds_a_place(
    choices: list[Choice], sessions: int, spare: Spare
) -> None:
    fleet = spread(choices, sessions, spare)
    assert capacity(fleet.needed) >= sessions > capacity(fleet.needed[:-1])
    assert len({node.id for node in fleet.nodes}) == len(fleet.nodes)
    assert spread(choices, sessions, spare) == fleet
    loss = {Spare.NODE: Loss.ADDRESS, Spare.PROVIDER: Loss.PROVIDER}.get(spare)
    if loss is None:
        assert not fleet.spare
        return
    held = capacity(fleet.nodes)
    assert all(held - lost >= sessions for lost in by_part(fleet.nodes, loss).values())
    if fleet.spare:
        fewer = fleet.nodes[:-1]
        assert capacity(fewer) - max(by_part(fewer, loss).values()) < sessions


@given(fleets(), st.integers(1, 60))
def test_weights_hold_exactly_where_whole_nodes_allow(choices: list[Choice], times: int) -> None:
    weights = {
        (one.provider.id, region.id): region.weight
        for one in choices
        for region in one.provider.regions
    }
    total = sum(weights.values())
    given_out = list(islice(in_order(choices), total * min(times, 3)))
    for (provider, region), weight in weights.items():
        here = sum((node.provider, node.region) == (provider, region) for node in given_out)
        assert here == weight * min(times, 3)


@settings(max_examples=30)
@given(
    st.integers(1, 3_000),
    st.none() | st.integers(1, 60),
    st.sets(st.sampled_from([provider.id for provider in CATALOGUE.providers]), min_size=1),
)
def test_the_record_agrees_with_itself(
    sessions: int, per_node: int | None, providers: set[str]
) -> None:
    wanted = Wanted(
        sessions=sessions,
        sizing=Sizing(sessions_per_node=per_node),
        providers=tuple(sorted(providers)),
    )
    made = make(CATALOGUE, wanted)
    plan = made.plan
    assert sum(row.nodes for row in plan.spread) == plan.nodes == sum(plan.providers.values())
    assert sum(row.spare_nodes for row in plan.spread) == plan.spare_nodes
    assert sum(row.sessions for row in plan.spread) == plan.capacity >= sessions
    assert plan.losses[0].homeless_with_spare == 0
    assert abs(sum(row.month_usd for row in plan.spread) - plan.costs.needed.nodes_usd) < 0.1
    groups = inventory(made.fleet, made.choices, CATALOGUE, "1")["all"]["children"]
    assert len(groups["swarm_nodes"]["hosts"]) == plan.nodes + plan.spare_nodes
