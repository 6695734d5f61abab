"""`blazz bench partition`: two regions, the way between them cut and healed while messages flow.

Owns the story: the bus, the control plane and two nodes are in one region, two nodes in the other;
WhatsApp's stand-in, the customers and the operator reach both throughout. The nodes that are cut
off must let go of their sessions, which come up in the other region, each once. Exit 1 when
something that is promised did not hold.
"""

import asyncio
import time
from typing import Any, Final

import msgspec

from bench.chaos_judge import judge
from bench.chaos_traffic import Traffic
from bench.hosts.namespace import Task
from bench.hosts.plan import LabPlan, make_plan
from bench.lab_fleet import LabFleet
from bench.lab_run import (
    PERIOD_S,
    Inside,
    LabOptions,
    enter,
    installed,
    message_figures,
    say,
    verdict_goals,
    watching,
    yes,
)
from bench.report import print_report
from bench.roll_gaps import longest_gaps, spread
from bench.stage import all_sessions
from cli.exit_codes import Exit
from cli.steps import until
from schemas.api import SessionView
from schemas.errors import BlazzError
from schemas.states import SessionState

NEAR: Final = "near"
FAR: Final = "far"
BEFORE_S: Final = 5.0
CUT_MIN_S: Final = 20.0
"""At least this long, and until every session is online in the near region."""
AFTER_S: Final = 10.0
MOVED_MAX_S: Final = 120.0
BACK_MAX_S: Final = 120.0


async def run_partition(options: LabOptions, stop: asyncio.Event) -> Exit:
    """Build a release, then run the story."""
    return await enter("bench.partition", options, stop, releases=1)


async def inside(task: Task) -> Exit:
    """The same, inside of the namespaces."""
    told = msgspec.convert(task.options, Inside)
    async with installed(task, told, _plan(told.nodes)) as fleet:
        return await _story(fleet, told)


async def _story(fleet: LabFleet, told: Inside) -> Exit:
    near, far = fleet.lab.plan.regions
    far_nodes = {host.name for host in fleet.nodes if host.region == far}
    traffic = Traffic(fleet, out_period_s=PERIOD_S, in_period_s=PERIOD_S)
    async with traffic.running(), watching(fleet) as watch:
        await asyncio.sleep(BEFORE_S)
        views = await all_sessions(fleet.api)
        cut_off = sorted(view.session_id for view in views if view.node_id in far_nodes)
        say(quiet=told.quiet, text=f"cut: {len(cut_off)} sessions are beyond")
        await fleet.lab.cut(near, far)
        cut_at, began = time.time(), time.monotonic()
        online_s = await _online_elsewhere(fleet, cut_off, far_nodes)
        await asyncio.sleep(max(0.0, CUT_MIN_S - (time.monotonic() - began)))
        cut_s = time.monotonic() - began
        say(quiet=told.quiet, text=f"all online after {max(online_s.values()):.1f} s; healed")
        await fleet.lab.heal(near, far)
        healed = time.monotonic()
        await _all_back(fleet)
        back_s = time.monotonic() - healed
        await asyncio.sleep(AFTER_S)
        views = await all_sessions(fleet.api)
        await traffic.stop()
    verdict = await judge(fleet, traffic.record, ())
    log = await fleet.book.log(0, "message.accepted", "message.stored")
    gaps = longest_gaps(traffic.record, log, cut_at, time.time())
    beyond = {sid: gap for sid, gap in gaps.items() if sid in cut_off}
    here = {sid: gap for sid, gap in gaps.items() if sid not in cut_off}
    goals = [
        *verdict_goals(verdict),
        yes("sessions were beyond the cut", bool(cut_off)),
        yes(
            "every session is online",
            sum(view.state is SessionState.ONLINE for view in views) == told.sessions,
        ),
        yes(
            "sessions of the near region stayed online",
            not any(sid in watch.longest for sid in here),
        ),
    ]
    figures: dict[str, Any] = {
        "engine": told.engine,
        "nodes": {NEAR: len(fleet.nodes) - len(far_nodes), FAR: len(far_nodes)},
        "sessions": told.sessions,
        "beyond_the_cut": len(cut_off),
        "cut_s": round(cut_s, 1),
        "online_elsewhere_s": spread(online_s),
        "gap_s": {"beyond": spread(beyond), "near": spread(here)},
        "nodes_back_s": round(back_s, 1),
        "messages": message_figures(verdict),
    }
    print_report("partition", figures, goals)
    return Exit.OK if all(goal.ok for goal in goals) else Exit.FAILED


async def _online_elsewhere(
    fleet: LabFleet, sessions: list[str], far_nodes: set[str]
) -> dict[str, float]:
    """When each was online on a node on this side (seconds from now)."""
    began = time.monotonic()
    found: dict[str, float] = {}

    async def look() -> bool | None:
        for view in await _views(fleet):
            there = view.node_id is not None and view.node_id not in far_nodes
            if view.session_id in sessions and there and view.state is SessionState.ONLINE:
                found.setdefault(view.session_id, time.monotonic() - began)
        return len(found) == len(sessions) or None

    async with asyncio.timeout(MOVED_MAX_S):
        await until(look)
    return found


async def _views(fleet: LabFleet) -> list[SessionView]:
    try:
        return await all_sessions(fleet.api)
    except BlazzError as error:
        if error.retryable:
            return []
        raise


async def _all_back(fleet: LabFleet) -> None:
    wanted = {host.name for host in fleet.nodes}

    async def look() -> bool | None:
        return (await fleet.versions()).keys() >= wanted or None

    async with asyncio.timeout(BACK_MAX_S):
        await until(look)


def _plan(nodes: int) -> LabPlan:
    half = nodes // 2
    return make_plan(
        {
            NEAR: [("nats", "control_plane"), *[("swarm_nodes",)] * (nodes - half)],
            FAR: [("swarm_nodes",)] * half,
        }
    )
