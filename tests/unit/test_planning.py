"""A plan: the founding plan's counts and spread, what is remarked about it, and what is refused."""

from collections.abc import Callable

import msgspec
import pytest

from cli.plan import read_catalogue
from cli.planning.catalogue import parse
from cli.planning.inventory import homes_near
from cli.planning.plan import Plan, Wanted, make
from cli.planning.sizing import Sizing
from cli.planning.spread import Spare
from schemas.errors import BlazzError, ErrorCode

CATALOGUE = read_catalogue(None)
SMALL = """
[node]
sessions_max = 30
sessions_per_vcpu = 30
[memory]
host_reserve_mb = 400
node_mb = 200
margin = 1.5
[memory.isolated]
session_mb = 300
[memory.shared]
session_mb = 100
[[providers]]
id = "acme"
size = "2gb"
regions = [{ id = "moon", weight = 1 }]
sizes = [
    { id = "2gb", memory_mb = 2048, vcpus = 1, price = 6 },
    { id = "8gb", memory_mb = 8192, vcpus = 4, price = 24 },
]
"""


def plan(sessions: int, per_node: int | None = 30, **more: object) -> Plan:
    wanted = Wanted(sessions=sessions, sizing=Sizing(sessions_per_node=per_node))
    return make(CATALOGUE, msgspec.structs.replace(wanted, **more)).plan


def said(made: Plan) -> dict[str, str]:
    return {remark.code: remark.text for remark in made.remarks}


def refused(do: Callable[[], object]) -> str:
    with pytest.raises(BlazzError) as caught:
        do()
    assert caught.value.code is ErrorCode.CONFIG_INVALID
    return caught.value.detail


@pytest.mark.parametrize(
    ("sessions", "nodes"), [(100, 4), (500, 17), (1000, 34), (3000, 100), (9000, 300)]
)
def test_the_founding_plans_counts_come_out(sessions: int, nodes: int) -> None:
    made = plan(sessions)
    assert (made.nodes, made.spare_nodes) == (nodes, 0 if nodes * 30 - 30 >= sessions else 1)
    assert sum(row.nodes for row in made.spread) == nodes == sum(made.providers.values())


def test_its_spread_of_300_nodes_comes_out() -> None:
    made = plan(9000)
    assert made.providers == {"vultr": 100, "digitalocean": 100, "linode": 50, "hetzner": 50}
    assert {(row.provider, row.region): row.nodes for row in made.spread} == {
        ("vultr", "singapore"): 25,
        ("vultr", "jakarta"): 25,
        ("vultr", "tokyo"): 25,
        ("vultr", "sydney"): 25,
        ("digitalocean", "singapore"): 40,
        ("digitalocean", "san-francisco"): 30,
        ("digitalocean", "amsterdam"): 30,
        ("linode", "jakarta"): 25,
        ("linode", "singapore"): 25,
        ("hetzner", "germany"): 25,
        ("hetzner", "finland"): 25,
    }
    lost = {row.of.value: row.sessions for row in made.losses}
    assert lost == {"address": 30, "region": 1200, "place": 2700, "provider": 3000}


def test_a_small_fleet_is_spread_too() -> None:
    assert set(plan(100).providers.values()) == {1}
    places = [row.region for row in plan(300, spare=Spare.NONE).spread if row.nodes]
    assert len(set(places)) >= 7


def test_its_sum_comes_out_only_with_its_one_price() -> None:
    alone = plan(9000, providers=("vultr",)).costs.needed
    assert (alone.nodes_usd, alone.fixed_usd, alone.month_usd) == (1800, 200, 2000)
    assert (round(alone.session_usd, 2), round(alone.customer_usd, 2)) == (0.22, 0.67)
    made = plan(9000)
    assert made.costs.needed.nodes_usd == pytest.approx(200 * 6 + 50 * 5 + 50 * 3.79 * 1.1)
    assert "100 of these cost something else" in said(made)["nodes_at_other_prices"]
    assert "leaves $51 beside" in said(plan(100))["fixed_costs_differ"]


def test_a_spare_node_stands_beside_and_costs() -> None:
    made = plan(100)
    assert (made.nodes, made.spare_nodes, made.capacity_with_spare) == (4, 1, 150)
    assert made.costs.with_spare.month_usd > made.costs.needed.month_usd
    address = made.losses[0]
    assert (address.homeless, address.homeless_with_spare) == (10, 0)
    assert plan(100, spare=Spare.NONE).spare_nodes == 0


def test_outliving_a_provider_takes_half_as_many_again() -> None:
    made = plan(9000, spare=Spare.PROVIDER)
    assert (made.nodes, made.spare_nodes) == (300, 150)
    assert {row.of.value: row.homeless_with_spare for row in made.losses}["provider"] == 0


def test_more_sessions_than_memory_holds_are_remarked_with_what_it_takes() -> None:
    found = said(plan(9000))
    assert "digitalocean/1gb holds 0" in found["memory_too_small"]
    measured = plan(9000, per_node=None)
    assert f"takes {measured.nodes} nodes" in found["by_measured_memory"]
    assert f"${measured.costs.needed.month_usd:,.0f} a month" in found["by_measured_memory"]
    assert not said(measured).keys() & {"memory_too_small", "by_measured_memory"}


@pytest.mark.parametrize(
    ("sizing", "size", "holds"),
    [
        # 2048 - 600 = 1448 MB; 300 x 1.5 each: 3. In 8 GB 7592 MB: 16, and $24/16 < $6/3.
        (Sizing(), "8gb", 16),
        (Sizing(sizes=("2gb",)), "2gb", 3),
        (Sizing(sizes=("acme/2gb",), host_mode="shared"), "2gb", 9),
        (Sizing(sizes=("8gb",), session_mb=7592), "8gb", 1),
        (Sizing(sizes=("8gb",), session_mb=1), "8gb", 30),
    ],
)
def test_a_node_holds_what_memory_cores_and_the_address_allow(
    sizing: Sizing, size: str, holds: int
) -> None:
    made = make(parse(SMALL, "s"), Wanted(sessions=60, sizing=sizing)).plan
    assert (made.spread[0].size, made.spread[0].sessions_per_node) == (size, holds)


def test_of_two_equally_cheap_the_one_that_loses_less_is_taken() -> None:
    equal = SMALL.replace("price = 24", "price = 32")
    made = make(parse(equal, "s"), Wanted(sessions=60)).plan
    assert made.spread[0].size == "2gb"


def test_the_bus_stands_near_each_other_at_three_providers() -> None:
    few, many = make(CATALOGUE, Wanted(sessions=1)), make(CATALOGUE, Wanted(sessions=9000))
    homes = homes_near(many.choices)[:3]
    assert {region for _, region in homes} == {"singapore"}
    assert len({provider for provider, _ in homes}) == 3
    assert homes_near(few.choices)[:3] == homes
    alone = make(CATALOGUE, Wanted(sessions=9, providers=("hetzner",))).choices
    assert {region for _, region in homes_near(alone)} == {"germany", "finland"}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("providers = [", ("my.toml", "at end")),
        (SMALL.replace("price = 24", "prize = 24"), ("prize", "$.providers[0].sizes[1]")),
        (SMALL.replace("price = 24", "price = -1"), ("$.providers[0].sizes[1].price",)),
        (SMALL.replace('size = "2gb"', 'size = "3gb"'), ("provider acme", "3gb", "2gb, 8gb")),
        (SMALL.replace('"8gb"', '"2gb"'), ("acme, sizes", "'2gb'", "2 times")),
        (SMALL.replace('size = "2gb"', 'size = "2gb"\ncurrency = "EUR"'), ("EUR", "[rates]")),
        (SMALL.replace('"moon"', '"The Moon"'), ("$.providers[0].regions[0].id",)),
    ],
)
def test_a_broken_catalogue_is_told_where_and_how_to_mend(
    broken: str, words: tuple[str, ...]
) -> None:
    detail = refused(lambda: parse(broken, "my.toml"))
    assert all(word in detail for word in (*words, "my.toml", "--write-catalogue")), detail


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(sessions=0), ("--sessions 0", "from 1")),
        (Wanted(sessions=5, sessions_per_customer=0), ("--sessions-per-customer",)),
        (Wanted(sessions=5, sizing=Sizing(sessions_per_node=0)), ("--sessions-per-node 0",)),
        (Wanted(sessions=5, sizing=Sizing(session_mb=0)), ("--session-mb 0",)),
        (Wanted(sessions=5, providers=("aws",)), ("'aws'", "vultr, digitalocean")),
        (Wanted(sessions=5, sizing=Sizing(sizes=("9tb",))), ("9tb", "vultr has 1gb")),
        (
            Wanted(sessions=5, sizing=Sizing(sizes=("hetzner/2gb",)), providers=("vultr",)),
            ("'hetzner' is none of the providers: vultr",),
        ),
        (
            Wanted(sessions=5, sizing=Sizing(sizes=("1gb",)), providers=("vultr",)),
            ("vultr/1gb", "1024 MB", "495 MB", "600 MB"),
        ),
        (
            Wanted(sessions=5, spare=Spare.PROVIDER, providers=("vultr",)),
            ("only one provider", "--spare node"),
        ),
    ],
)
def test_what_can_not_be_had_is_refused_with_what_can(
    wanted: Wanted, words: tuple[str, ...]
) -> None:
    detail = refused(lambda: make(CATALOGUE, wanted))
    assert all(word in detail for word in words), detail
