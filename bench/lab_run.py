"""What the benches on the lab's hosts have in common: getting in, watching, and what must hold.

Owns the preparation outside of the namespaces, and the figures that every such bench reports.
Never tells a story of its own.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.chaos_judge import Verdict
from bench.hosts.lab import open_lab
from bench.hosts.namespace import Task, lab_folder, run_inside
from bench.hosts.plan import LabPlan
from bench.hosts.playbooks import ansible_playbook
from bench.hosts.shell import call
from bench.hosts.wheels import ROOT, build_wheel, fill_wheelhouse, versions_after
from bench.lab_fleet import Install, LabFleet, open_lab_fleet
from bench.report import Goal, at_most
from bench.roll_gaps import OnlineWatch
from bench.stage import all_sessions
from cli.exit_codes import Exit
from schemas.errors import BlazzError
from schemas.states import EngineKind

SESSIONS: Final = {EngineKind.LOOPBACK: 12, EngineKind.CHROMIUM: 4}
PERIOD_S: Final = 1.0
"""Between two messages of one session; as many come in."""
LOOK_EVERY_S: Final = 0.2
LIMIT_S: Final = 3600.0


class LabOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said."""

    quiet: bool
    engine: str
    sessions: int | None
    logs: Path | None
    nodes: int = 4


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """What a bench is told inside of the lab's namespaces."""

    quiet: bool
    engine: EngineKind
    sessions: int
    nodes: int
    wheelhouse: str
    wheels: str
    versions: list[str]
    chromium_build: str
    logs: str | None


async def enter(
    bench: str,
    options: LabOptions,
    stop: asyncio.Event,
    *,
    releases: int,
    broken_on: str | None = None,
) -> Exit:
    """Build so many releases, the last one broken on a host if one is named, and run the bench in
    namespaces of its own. Raises `config_invalid` with what this machine lacks."""
    engine = EngineKind(options.engine)
    with lab_folder() as folder:
        ansible_playbook()
        say(quiet=options.quiet, text=f"building {releases} release(s)")
        wheelhouse = await fill_wheelhouse()
        pyproject = await asyncio.to_thread((ROOT / "pyproject.toml").read_text)
        versions = versions_after(pyproject, releases)
        for version in versions:
            breaks_on = broken_on if version == versions[-1] else None
            await build_wheel(folder, version, breaks_on=breaks_on)
        told = Inside(
            quiet=options.quiet,
            engine=engine,
            sessions=options.sessions or SESSIONS[engine],
            nodes=options.nodes,
            wheelhouse=str(wheelhouse),
            wheels=str(folder / "dist"),
            versions=versions,
            chromium_build=await _chromium_build() if engine is EngineKind.CHROMIUM else "",
            logs=None if options.logs is None else str(options.logs.absolute()),
        )
        return await run_inside(bench, folder, told, stop)


@asynccontextmanager
async def installed(task: Task, told: Inside, plan: LabPlan) -> AsyncIterator[LabFleet]:
    """For the block: hosts up, the first release installed, every session online."""
    began = time.monotonic()
    async with (
        asyncio.timeout(LIMIT_S),
        open_lab(plan, Path(task.folder), Path(task.cgroup), Path(told.wheelhouse)) as lab,
    ):
        say(quiet=told.quiet, text=f"{len(plan.hosts)} hosts up; {_since(began)}")
        install = Install(
            engine=told.engine,
            sessions=told.sessions,
            version=told.versions[0],
            wheels=Path(told.wheels),
            chromium_build=told.chromium_build,
            logs=None if told.logs is None else Path(told.logs),
        )
        async with open_lab_fleet(lab, install) as fleet:
            say(quiet=told.quiet, text=f"{told.sessions} sessions online; {_since(began)}")
            yield fleet


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
    held: Mapping[str, Sequence[object]] = {
        "lost": verdict.lost + verdict.not_final + verdict.inbound_not_in_ledger,
        "duplicates": verdict.duplicates + verdict.inbound_events_twice,
        "out of order": verdict.out_of_order,
        "failed or unknown without a reason": verdict.unexplained,
        "failed, but sent": verdict.sent_all_the_same,
        "inbound with no event": verdict.inbound_no_event,
    }
    goals = [at_most(name, 0, len(found), "messages") for name, found in held.items()]
    return [*goals, at_most("double holds", 0, verdict.double_holds, "holds")]


def yes(name: str, held: bool) -> Goal:
    """A goal that is met or not."""
    return Goal(name=name, goal="yes", got=float(held), ok=held)


def message_figures(verdict: Verdict) -> dict[str, Any]:
    """The counts, and the first of what went wrong."""
    return {
        "out": verdict.accepted,
        "in": verdict.inbound,
        "states": verdict.states,
        "lost": len(verdict.lost),
        "duplicates": len(verdict.duplicates),
        "out_of_order": len(verdict.out_of_order),
        "broken": verdict.broken(),
        "failed": verdict.failed[:5],
        "unknown": verdict.unknown[:5],
        "double_holds": verdict.double_holds,
    }


def say(*, quiet: bool, text: str) -> None:
    """To the person who waits."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


async def _chromium_build() -> str:
    """The build of this machine's Chromium, which is the hosts' as well."""
    said = (await call("/usr/bin/chromium", "--version")).stdout
    return next((word for word in said.split() if word[:1].isdigit()), "")


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"
