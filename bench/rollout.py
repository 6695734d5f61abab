"""`blazz bench rollout`: the real playbooks roll a fleet of hosts from one release to the next.

Owns the story: install, link, let messages flow, upgrade, run everything a second time, then roll
to a release that fails on the second host. The ground truth is the switch's log. Exit 1 when
something that is promised did not hold.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.chaos_judge import Verdict, judge
from bench.chaos_traffic import Traffic
from bench.hosts.lab import open_lab
from bench.hosts.namespace import Task, lab_folder, run_inside
from bench.hosts.plan import HOSTS_MAX, LabPlan, make_plan
from bench.hosts.playbooks import Recap, ansible_playbook
from bench.hosts.shell import call
from bench.hosts.wheels import ROOT, build_wheel, fill_wheelhouse, versions_after
from bench.lab_fleet import Install, LabFleet, must_work, open_lab_fleet
from bench.report import Goal, at_most, print_report
from bench.roll_gaps import OnlineWatch, longest_gaps, spread
from bench.stage import all_sessions
from cli.exit_codes import Exit
from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind, SessionState

SESSIONS: Final = {EngineKind.LOOPBACK: 12, EngineKind.CHROMIUM: 4}
OUT_PERIOD_S: Final = 0.5
"""Between two messages of one session; as many come in."""
NODES: Final = (4, HOSTS_MAX - 1)
LOOK_EVERY_S: Final = 0.2
LIMIT_S: Final = 3600.0


class RolloutOptions(msgspec.Struct, frozen=True):
    """What the command line said."""

    quiet: bool
    hosts: int
    sessions: int | None
    engine: str


class Inside(msgspec.Struct, frozen=True):
    """What the bench is told inside of the lab's namespaces."""

    quiet: bool
    engine: EngineKind
    sessions: int
    nodes: int
    wheelhouse: str
    wheels: str
    versions: list[str]
    chromium_build: str


async def run_rollout(options: RolloutOptions, stop: asyncio.Event) -> Exit:
    """Build the releases, then run the story in the lab."""
    least, most = NODES
    if not least <= options.hosts <= most:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"--hosts is {least} to {most}")
    engine = EngineKind(options.engine)
    with lab_folder() as folder:
        ansible_playbook()
        say(quiet=options.quiet, text="building three releases")
        wheelhouse = await fill_wheelhouse()
        versions = versions_after((ROOT / "pyproject.toml").read_text(), 3)
        plan = _plan(options.hosts)
        second = plan.group("swarm_nodes")[1].name
        for version in versions:
            broken = second if version == versions[-1] else None
            await build_wheel(folder, version, breaks_on=broken)
        told = Inside(
            options.quiet,
            engine,
            options.sessions or SESSIONS[engine],
            options.hosts,
            str(wheelhouse),
            str(folder / "dist"),
            versions,
            await chromium_build() if engine is EngineKind.CHROMIUM else "",
        )
        return await run_inside("rollout", folder, told, stop)


async def inside(task: Task) -> Exit:
    """The story, inside of the namespaces."""
    told = msgspec.convert(task.options, Inside)
    async with asyncio.timeout(LIMIT_S):
        plan = _plan(told.nodes)
        place = (Path(task.folder), Path(task.cgroup), Path(told.wheelhouse))
        began = time.monotonic()
        async with open_lab(plan, *place) as lab:
            say(quiet=told.quiet, text=f"{len(plan.hosts)} hosts up after {_since(began)} s")
            install = Install(
                told.engine, told.sessions, told.versions[0], Path(told.wheels), told.chromium_build
            )
            async with open_lab_fleet(lab, install) as fleet:
                say(quiet=told.quiet, text=f"{told.sessions} sessions online; {_since(began)} s")
                return await _story(fleet, told)


class Roll(msgspec.Struct, frozen=True):
    """What a playbook under traffic came to, and what sessions felt of it."""

    recap: Recap
    from_s: float
    until_s: float
    watch: OnlineWatch


async def _story(fleet: LabFleet, told: Inside) -> Exit:
    old, new, broken = told.versions
    traffic = Traffic(fleet, out_period_s=OUT_PERIOD_S, in_period_s=OUT_PERIOD_S)
    goals: list[Goal] = []
    async with traffic.running():
        site_again = await _play(fleet, told, "site", old)
        upgrade = await _play(fleet, told, "upgrade", new)
        must_work(fleet.operator, upgrade.recap)
        versions = await fleet.versions()
        upgrade_again = await _play(fleet, told, "upgrade", new)
        stopped = await _play(fleet, told, "upgrade", broken)
        after = await fleet.versions()
        cordoned = await fleet.cordoned()
        reason = fleet.operator.reason()
        views = await all_sessions(fleet.api)
        await traffic.stop()
    verdict = await judge(fleet, traffic.record, ())
    log = await fleet.book.log(0, "message.accepted", "message.stored")
    gaps = {
        name: longest_gaps(traffic.record, log, roll.from_s, roll.until_s)
        for name, roll in (("upgrade", upgrade), ("stopped", stopped))
    }
    second = fleet.nodes[1].name
    untouched = [host.name for host in fleet.nodes[2:]]
    online = sum(view.state is SessionState.ONLINE for view in views)
    goals += [
        *verdict_goals(verdict),
        at_most("site.yml again: changed", 0, site_again.recap.total("changed"), "tasks"),
        at_most("upgrade.yml again: changed", 0, upgrade_again.recap.total("changed"), "tasks"),
        _is("every node runs the new release", set(versions.values()) == {new}),
        _is("the broken roll stopped", not stopped.recap.ok),
        _is("the failed node stays cordoned", cordoned == [second]),
        _is("nothing after it was touched", all(after.get(name) == new for name in untouched)),
        _is("every session is online elsewhere", online == told.sessions),
    ]
    figures = {
        "engine": told.engine,
        "nodes": told.nodes,
        "sessions": told.sessions,
        "releases": {"from": old, "to": new, "broken": broken},
        "playbooks": [msgspec.to_builtins(run) | {"hosts": None} for run in fleet.operator.runs],
        "upgrade": _felt(upgrade, gaps["upgrade"]) | {"versions": versions},
        "stopped": _felt(stopped, gaps["stopped"])
        | {"versions": after, "cordoned": cordoned, "reason": reason, "online": online},
        "messages": message_figures(verdict),
    }
    print_report("rollout", figures, goals)
    return Exit.OK if all(goal.ok for goal in goals) else Exit.FAILED


async def _play(fleet: LabFleet, told: Inside, playbook: str, version: str) -> Roll:
    say(quiet=told.quiet, text=f"{playbook}.yml, {version}")
    from_s = time.time()
    async with watching(fleet) as watch:
        recap = await fleet.operator.play(playbook, variables={"blazz_version": version})
    say(
        quiet=told.quiet,
        text=f"  ended with {recap.code} after {recap.took_s} s, changed {recap.total('changed')}",
    )
    return Roll(recap, from_s, time.time(), watch)


@asynccontextmanager
async def watching(fleet: LabFleet) -> AsyncIterator[OnlineWatch]:
    """For the block, look at the sessions again and again."""
    watch = OnlineWatch()
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            try:
                watch.look(await all_sessions(fleet.api), time.monotonic())
            except BlazzError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(LOOK_EVERY_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        try:
            yield watch
        finally:
            done.set()


def verdict_goals(verdict: Verdict) -> list[Goal]:
    """What must hold of every message."""
    return [
        at_most(name, 0, len(found), "messages")
        for name, found in (
            ("lost", verdict.lost + verdict.not_final + verdict.inbound_not_in_ledger),
            ("duplicates", verdict.duplicates + verdict.inbound_events_twice),
            ("out of order", verdict.out_of_order),
            ("failed or unknown", [*verdict.failed, *verdict.unknown]),
            ("inbound with no event", verdict.inbound_no_event),
        )
    ]


def message_figures(verdict: Verdict) -> dict[str, Any]:
    """The counts, and every message that went wrong."""
    return {
        "out": verdict.accepted,
        "in": verdict.inbound,
        "states": verdict.states,
        "broken": verdict.broken(),
        "failed": verdict.failed[:5],
        "unknown": verdict.unknown[:5],
        "double_holds": verdict.double_holds,
    }


def _felt(roll: Roll, gaps: dict[str, float]) -> dict[str, Any]:
    return {
        "took_s": roll.recap.took_s,
        "gap_s": spread(gaps),
        "offline_s": spread(roll.watch.longest),
        "sessions_that_moved": len(roll.watch.longest),
    }


def _is(name: str, held: bool) -> Goal:
    return Goal(name=name, goal="yes", got=float(held), ok=held)


def _plan(nodes: int) -> LabPlan:
    services = ("nats", "control_plane")
    return make_plan({"one": [services, *[("swarm_nodes",)] * nodes]})


async def chromium_build() -> str:
    """The build of this machine's Chromium, which is the hosts' as well."""
    said = (await call("/usr/bin/chromium", "--version")).stdout
    return next((word for word in said.split() if word[:1].isdigit()), "")


def say(*, quiet: bool, text: str) -> None:
    """To the person who waits."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def _since(began: float) -> int:
    return round(time.monotonic() - began)
