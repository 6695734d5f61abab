"""A bench for the lab's own test: one host, which is held until somebody ends it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from bench.hosts.lab import open_lab
from bench.hosts.namespace import Task, lab_folder, run_inside
from bench.hosts.plan import make_plan
from cli.exit_codes import Exit


class Hold(msgspec.Struct, frozen=True):
    fails: bool


async def inside(task: Task) -> Exit:
    plan = make_plan({"one": [("swarm_nodes",)]})
    async with open_lab(plan, Path(task.folder), Path(task.cgroup), Path(task.folder)) as lab:
        comm = await lab.on(plan.hosts[0], "cat", "/proc/1/comm")
        sys.stdout.write(f"up {comm.strip()}\n")
        sys.stdout.flush()
        if task.options["fails"]:
            raise RuntimeError("a bench of no use")
        await asyncio.sleep(60)
    return Exit.OK


async def hold(*, fails: bool) -> Exit:
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with lab_folder() as folder:
        return await run_inside("tests.lab_hold", folder, Hold(fails), stop)


if __name__ == "__main__":
    sys.exit(asyncio.run(hold(fails=sys.argv[1:] == ["fails"])))
