"""The same with real browsers: they outlive what started them, and hold files and connections."""

from __future__ import annotations

import time

from bench.chaos_faults import Death
from cli.stack import NodePlan
from schemas.states import EngineKind
from tests.chaos import faults
from tests.chaos.harness import NODE, OTHER, moved_from, newer_than, open_world
from tests.waiting import eventually

BROWSER_S = 60.0
"""Two browsers started on two shared cores."""
NODES = (NodePlan(NODE, sessions_max=4), NodePlan(OTHER, sessions_max=4))


async def test_a_killed_browser_or_renderer_is_back_on_the_same_node() -> None:
    async with open_world(EngineKind.CHROMIUM, nodes=NODES[:1]) as world:
        await world.link(1)
        (linked,) = world.linked
        sid = linked.session.session_id
        load = world.load()
        async with load.running():
            before = await world.views()
            main = faults.browser(world.stage, NODE, sid)
            faults.kill(main)
            await world.online([linked], newer_than(before), within_s=BROWSER_S)
            assert faults.browser(world.stage, NODE, sid) != main

            before = await world.views()
            pages = faults.renderers(world.stage, NODE, sid)
            assert pages
            for pid in pages:
                faults.kill(pid)
            await eventually(lambda: not faults.alive(pages), what="its renderers are gone")
            await world.online([linked], newer_than(before), within_s=BROWSER_S)
            await world.flows(within_s=BROWSER_S)
            after = await world.views()
            assert after[sid].epoch == linked.session.epoch
        await world.check(load)


async def test_two_browsers_of_a_killed_node_come_online_on_the_other() -> None:
    async with open_world(EngineKind.CHROMIUM, nodes=NODES) as world:
        await world.link(3)
        before = await world.views()
        busier = max((NODE, OTHER), key=lambda n: sum(v.node_id == n for v in before.values()))
        hit = await world.on(busier)
        assert len(hit) == 2
        load = world.load()
        async with load.running():
            tree = faults.node_tree(world.stage, busier)
            killed_at = time.time()
            await world.stage.stack.node(busier).take_down()
            world.say(
                f"killed {busier} and left {len(faults.alive(tree))} of {len(tree)} processes"
            )
            # Its browsers lose their driver with it: nobody may stay online there.
            await eventually(lambda: not faults.alive(tree), what="its processes are gone")
            world.deaths.append(Death(busier, killed_at, gone_at=time.time()))
            await world.online(hit, moved_from(before), within_s=BROWSER_S)
            await world.flows(within_s=BROWSER_S)
            # Back with its old profiles: they are not what it goes on with.
            await world.stage.stack.node(busier).start()
            await world.node_alive(busier)
        await world.check(load)


async def test_a_browser_of_a_node_off_the_bus_is_gone_before_the_next_one_begins() -> None:
    async with open_world(EngineKind.CHROMIUM, nodes=NODES, proxied=[NODE, OTHER]) as world:
        await world.link(1)
        before = await world.views()
        (linked,) = world.linked
        where = before[linked.session.session_id].node_id or ""
        load = world.load()
        async with load.running():
            world.proxies[where].black_hole()
            await world.online([linked], moved_from(before), within_s=BROWSER_S)
            assert not faults.renderers(world.stage, where, linked.session.session_id)
            world.proxies[where].heal()
            await world.node_alive(where)
        await world.check(load)
