"""A node dies, stalls or is cut off while messages flow: its sessions go on elsewhere, once."""

from __future__ import annotations

import asyncio
import time

from cli.stack import NodePlan
from schemas.timing import FAST
from tests.chaos import faults, truth
from tests.chaos.harness import FAILOVER_S, NODE, OTHER, moved_from, newer_than, open_world
from tests.waiting import eventually

SESSIONS = 4
AWAY_S = 12.0
"""Longer than a lease lives and a verdict takes: whoever is away so long has lost its sessions."""


async def test_sessions_of_a_killed_node_come_online_on_the_other() -> None:
    async with open_world() as world:
        await world.link(SESSIONS)
        before, hit = await world.views(), await world.on(NODE)
        assert hit
        load = world.load()
        async with load.running():
            tree = faults.node_tree(world.stage, NODE)
            await world.stage.stack.node(NODE).take_down()
            world.say(f"killed {NODE} with {len(hit)} sessions")
            await world.online(hit, moved_from(before), within_s=FAILOVER_S)
            await eventually(lambda: not faults.alive(tree), what="its processes are gone")
        outcome = await world.check(load)
        assert outcome.states.keys() == {"sent"}


async def test_a_killed_node_that_is_back_at_once_shares_no_session_with_another() -> None:
    """Whether it takes its own sessions back or finds them moved: each runs once."""
    async with open_world() as world:
        await world.link(SESSIONS)
        before, hit = await world.views(), await world.on(NODE)
        load = world.load()
        async with load.running():
            faults.kill(world.stage.stack.node(NODE).child.pid)
            await world.online(hit, newer_than(before), within_s=FAILOVER_S)
        await world.check(load)


async def test_a_node_cut_off_the_bus_lets_go_and_is_of_use_again_when_healed() -> None:
    """Its engines are online all the while: they must be gone before the others begin."""
    async with open_world(proxied=[NODE]) as world:
        await world.link(SESSIONS)
        before, hit = await world.views(), await world.on(NODE)
        load = world.load()
        async with load.running():
            await world.proxies[NODE].cut()
            world.say(f"cut {NODE} off with {len(hit)} sessions")
            await world.online(hit, moved_from(before), within_s=FAILOVER_S)
            world.proxies[NODE].heal()
            await world.node_alive(NODE)
            await world.stage.stack.node(OTHER).take_down()
            await world.online(world.linked, lambda v: v.node_id == NODE, within_s=FAILOVER_S)
        await world.check(load)


async def test_what_a_black_hole_kept_back_changes_nothing_when_it_arrives() -> None:
    """TCP delivers late: a node's old words come after its sessions moved."""
    async with open_world(proxied=[NODE]) as world:
        await world.link(SESSIONS)
        before, hit = await world.views(), await world.on(NODE)
        load = world.load()
        async with load.running():
            world.proxies[NODE].black_hole()
            await world.online(hit, moved_from(before), within_s=FAILOVER_S)
            after = await world.views()
            world.proxies[NODE].heal()
            await world.node_alive(NODE)
            now = await world.views()
            assert {sid: v.epoch for sid, v in now.items()} == {
                sid: v.epoch for sid, v in after.items()
            }
            await world.online(world.linked, lambda v: v.node_id == OTHER, within_s=FAILOVER_S)
        await world.check(load)


async def test_a_frozen_node_does_not_win_its_sessions_back() -> None:
    """The one case no lease can help: it stalls whole, its connections stand, and it can't let
    go. WhatsApp sees two at once; the older gives way, for good, and there is no second time."""
    async with open_world() as world:
        await world.link(SESSIONS)
        before, hit = await world.views(), await world.on(NODE)
        world.holds_wanted = len(hit)
        load = world.load()
        async with load.running():
            with faults.frozen(world.stage.stack.node(NODE).child.pid):
                await world.online(hit, moved_from(before), within_s=FAILOVER_S)
                after = await world.views()
            await world.node_alive(NODE)
            await eventually(world.one_browser_each, timeout_s=FAILOVER_S)
            await world.online(hit, lambda v: v.node_id == OTHER, within_s=FAILOVER_S)
            views = await world.views()
            assert {sid: v.epoch for sid, v in views.items()} == {
                sid: v.epoch for sid, v in after.items()
            }
        await world.check(load)
        # Once each: which also shows that the switch does notice.
        assert await truth.holds(world.stage) == len(hit)


async def test_when_most_nodes_fall_silent_at_once_the_verdict_waits_and_is_then_carried_out() -> (
    None
):
    """Two of three: more likely it is the net between. But they are dead, and no wait is for
    ever."""
    third = NodePlan("node-c")
    async with open_world(nodes=(NodePlan(NODE), NodePlan(OTHER), third)) as world:
        await world.link(3)
        before = await world.views()
        hit = [*await world.on(NODE), *await world.on(OTHER)]
        assert len(hit) == 2, "one session on each node"
        began = time.monotonic()
        for node_id in (NODE, OTHER):
            await world.stage.stack.node(node_id).take_down()
        await world.online(hit, lambda v: v.node_id == third.node_id, within_s=FAILOVER_S)
        took_s = time.monotonic() - began
        # A lease may have been renewed right before, and one node alone would have had its grace.
        alone_s = FAST.lease_ttl_s - FAST.lease_renew_s + FAST.lease_absent_grace_s
        assert took_s >= alone_s + FAST.thaw_after_s
        await world.online(await world.on(third.node_id), within_s=FAILOVER_S)
        (own,) = [sid for sid, view in before.items() if view.node_id == third.node_id]
        assert (await world.views())[own].epoch == before[own].epoch
        assert await truth.holds(world.stage) == 0


async def test_a_slow_bus_is_no_lost_node() -> None:
    async with open_world(proxied=[NODE]) as world:
        await world.link(2)
        before = await world.views()
        load = world.load()
        async with load.running():
            world.proxies[NODE].delay_s = 0.2
            await asyncio.sleep(AWAY_S)
            world.proxies[NODE].heal()
        assert {sid: v.epoch for sid, v in (await world.views()).items()} == {
            sid: v.epoch for sid, v in before.items()
        }
        await world.check(load)
