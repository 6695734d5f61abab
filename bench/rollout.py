"""`blazz bench rollout`: the real playbooks roll a fleet of hosts from one release to the next.

Owns the story: install, link, let messages flow, upgrade, run everything a second time, then roll
to a release that fails on the second node. The ground truth is the switch's log. Exit 1 when
something that is promised did not hold.
"""

import asyncio
import time
from typing import Any, Final

import msgspec

from bench.chaos_judge import judge
from bench.chaos_traffic import Traffic
from bench.hosts.namespace import Task
from bench.hosts.plan import HOSTS_MAX, LabPlan, make_plan
from bench.hosts.playbooks import Recap
from bench.lab_fleet import LabFleet, must_work
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
from bench.report import at_most, print_report
from bench.roll_gaps import OnlineWatch, longest_gaps, spread
from bench.stage import all_sessions
from cli.exit_codes import Exit
from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState

NODES: Final = (4, HOSTS_MAX - 1)
SITE: Final = "site"
UPGRADE: Final = "upgrade"


async def run_rollout(options: LabOptions, stop: asyncio.Event) -> Exit:
    """Build three releases, the last one broken on the second node, then run the story."""
    least, most = NODES
    if not least <= options.nodes <= most:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"--hosts is {least} to {most}")
    second = _plan(options.nodes).group("swarm_nodes")[1].name
    return await enter("bench.rollout", options, stop, releases=3, broken_on=second)


async def inside(task: Task) -> Exit:
    """The same, inside of the namespaces."""
    told = msgspec.convert(task.options, Inside)
    async with installed(task, told, _plan(told.nodes)) as fleet:
        return await _story(fleet, told)


class Roll(msgspec.Struct, frozen=True):
    """What a playbook under traffic came to, and what sessions felt of it."""

    recap: Recap
    from_s: float
    until_s: float
    watch: OnlineWatch
    versions: dict[str, str]
    """What each node says it runs, afterwards."""


async def _story(fleet: LabFleet, told: Inside) -> Exit:
    old, new, broken = told.versions
    traffic = Traffic(fleet, out_period_s=PERIOD_S, in_period_s=PERIOD_S)
    async with traffic.running():
        site_again = await _play(fleet, told, SITE, old)
        upgrade = await _play(fleet, told, UPGRADE, new)
        must_work(fleet.operator, upgrade.recap)
        upgrade_again = await _play(fleet, told, UPGRADE, new)
        stopped = await _play(fleet, told, UPGRADE, broken)
        cordoned = await fleet.cordoned()
        views = await all_sessions(fleet.api)
        await traffic.stop()
    verdict = await judge(fleet, traffic.record, ())
    log = await fleet.book.log(0, "message.accepted", "message.stored")

    def felt(roll: Roll) -> dict[str, Any]:
        gaps = longest_gaps(traffic.record, log, roll.from_s, roll.until_s)
        return {
            "took_s": roll.recap.took_s,
            "gap_s": spread(gaps),
            "offline_s": spread(roll.watch.longest),
            "times_offline": sum(roll.watch.times.values()),
            "versions": roll.versions,
        }

    second = fleet.nodes[1].name
    beyond = {host.name for host in fleet.nodes[2:]}
    online = sum(view.state is SessionState.ONLINE for view in views)
    goals = [
        *verdict_goals(verdict),
        at_most("site.yml again: changed", 0, site_again.recap.total("changed"), "tasks"),
        at_most("upgrade.yml again: changed", 0, upgrade_again.recap.total("changed"), "tasks"),
        yes(
            "every node runs the new release",
            upgrade.versions == dict.fromkeys((host.name for host in fleet.nodes), new),
        ),
        yes("the broken roll stopped", not stopped.recap.ok),
        yes("the failed node, and it alone, stays cordoned", cordoned == [second]),
        yes(
            "nothing after it was touched",
            {name for name, version in stopped.versions.items() if version == new} == beyond,
        ),
        yes("every session is online elsewhere", online == told.sessions),
        yes("none is on the failed node", all(view.node_id != second for view in views)),
    ]
    figures = {
        "engine": told.engine,
        "nodes": told.nodes,
        "sessions": told.sessions,
        "releases": {"from": old, "to": new, "broken": broken},
        "playbooks": [_shown(run) for run in fleet.operator.runs],
        "upgrade": felt(upgrade),
        "stopped": felt(stopped)
        | {"cordoned": cordoned, "reason": fleet.operator.reason(), "online": online},
        "messages": message_figures(verdict),
    }
    print_report("rollout", figures, goals)
    return Exit.OK if all(goal.ok for goal in goals) else Exit.FAILED


async def _play(fleet: LabFleet, told: Inside, playbook: str, version: str) -> Roll:
    say(quiet=told.quiet, text=f"{playbook}.yml to {version}")
    from_s = time.time()
    async with watching(fleet) as watch:
        recap = await fleet.operator.play(playbook, variables={"blazz_version": version})
    until_s = time.time()
    changed = recap.total("changed")
    text = f"  ended with {recap.code} after {recap.took_s} s; {changed} changed"
    say(quiet=told.quiet, text=text)
    return Roll(recap, from_s, until_s, watch, await fleet.versions())


def _shown(run: Recap) -> dict[str, Any]:
    words = ("ok", "changed", "failed", "unreachable")
    counts = {word: run.total(word) for word in words}
    return {"playbook": run.playbook, "exit": run.code, "took_s": run.took_s, **counts}


def _plan(nodes: int) -> LabPlan:
    return make_plan({"one": [("nats", "control_plane"), *[("swarm_nodes",)] * nodes]})
