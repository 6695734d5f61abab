"""A control plane or the bus itself dies while messages flow: no session notices."""

from __future__ import annotations

from cli.stack import CONTROL_PLANE
from tests.chaos import faults
from tests.chaos.harness import FAILOVER_S, NODE, moved_from, open_world, same_as
from tests.waiting import eventually

SESSIONS = 4
BACK_WITHIN_S = 20.0


async def test_a_killed_control_plane_is_replaced_and_no_session_moves() -> None:
    async with open_world(control_planes=2) as world:
        await world.link(SESSIONS)
        before = await world.views()
        load = world.load()
        async with load.running():
            faults.kill(world.stage.stack.children[CONTROL_PLANE].child.pid)
            await eventually(
                lambda: world.stage.stack.children[CONTROL_PLANE].restarts == 1,
                timeout_s=BACK_WITHIN_S,
            )
            await world.flows(within_s=BACK_WITHIN_S)
            await world.online(world.linked, same_as(before), within_s=BACK_WITHIN_S)
        await world.check(load)


async def test_a_node_and_the_control_plane_die_at_once() -> None:
    """The one that would have noticed the loss is lost too."""
    async with open_world(control_planes=2) as world:
        await world.link(SESSIONS)
        before, hit = await world.views(), await world.on(NODE)
        load = world.load()
        async with load.running():
            await world.stage.stack.children[CONTROL_PLANE].take_down()
            await world.stage.stack.node(NODE).take_down()
            await world.online(hit, moved_from(before), within_s=FAILOVER_S + BACK_WITHIN_S)
            await world.stage.stack.children[CONTROL_PLANE].start()
        await world.check(load)


async def test_a_killed_bus_is_back_before_anybody_is_given_up() -> None:
    async with open_world() as world:
        await world.link(SESSIONS)
        before = await world.views()
        load = world.load()
        async with load.running():
            faults.kill(world.stage.stack.nats.pid)
            await eventually(
                lambda: world.stage.stack.nats.restarts == 1 and world.stage.stack.nats.pid,
                timeout_s=BACK_WITHIN_S,
            )
            await world.flows(within_s=BACK_WITHIN_S)
            await world.online(world.linked, same_as(before), within_s=BACK_WITHIN_S)
        await world.check(load)


async def test_a_long_outage_of_the_bus_moves_nobody() -> None:
    """Longer than a lease: every node lets go, and takes its own sessions back."""
    async with open_world() as world:
        await world.link(SESSIONS)
        before = await world.views()
        load = world.load()
        async with load.running():
            with faults.frozen(world.stage.stack.nats.pid):
                await world.lines_closed(within_s=BACK_WITHIN_S)
            await world.online(
                world.linked,
                lambda v: v.node_id == before[v.session_id].node_id,
                within_s=FAILOVER_S,
            )
            await world.flows(within_s=BACK_WITHIN_S)
        await world.check(load)
