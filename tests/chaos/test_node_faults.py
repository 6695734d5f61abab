"""A node dies, stalls or is cut off while messages flow: its sessions go on elsewhere, once."""

from __future__ import annotations

import asyncio

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
