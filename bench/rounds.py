"""`blazz bench rounds`: a linked session is stopped and started again and again; what stays behind?

Owns the counting of processes, threads, file handles and temp files before and after.
"""

import asyncio
import sys

import msgspec

from bench.process_tree import TreeUse, count_files, read_tree
from bench.report import at_most, percentile, print_report
from bench.stage import Stage, link_session, open_stage
from cli.exit_codes import Exit
from cli.stack import NodePlan
from schemas.states import SessionState

NODE = "bench-node"
ROUND_LIMIT_S = 90.0
WARM_UP = 3
"""Rounds before the first count: imports, caches and pools fill once."""


class RoundsOptions(msgspec.Struct, frozen=True):
    """What the command line said."""

    quiet: bool
    rounds: int
    engine: str


async def run_rounds(options: RoundsOptions, stop: asyncio.Event) -> Exit:
    """Measure, and print the one line."""
    async with open_stage(options.engine, (NodePlan(NODE, "local", 2),)) as stage:
        linked = await link_session(stage, "15550000001")
        session_id = linked.session.session_id
        for _ in range(WARM_UP):
            await _round(stage, session_id)
        await _stop(stage, session_id)
        before, files_before = read_tree(_node_pid(stage)), count_files(stage.temp_dir)
        took = []
        for number in range(1, options.rounds + 1):
            if stop.is_set():
                return Exit.INTERRUPTED
            took.append(await _round(stage, session_id))
            if not options.quiet:
                print(f"round {number}: online after {took[-1]:.2f} s", file=sys.stderr)
        await _stop(stage, session_id)
        after, files_after = read_tree(_node_pid(stage)), count_files(stage.temp_dir)
    growth = TreeUse(
        processes=after.processes - before.processes,
        pss_bytes=after.pss_bytes - before.pss_bytes,
        threads=after.threads - before.threads,
        file_handles=after.file_handles - before.file_handles,
    )
    figures = {
        "engine": options.engine,
        "rounds": options.rounds,
        "start_to_online_s": {
            "p50": round(percentile(took, 0.5), 2),
            "p99": round(percentile(took, 0.99), 2),
        },
        "stopped_before": msgspec.to_builtins(before),
        "stopped_after": msgspec.to_builtins(after),
        "pss_growth_mb": round(growth.pss_bytes / 2**20, 1),
        "temp_files": {"before": files_before, "after": files_after},
    }
    goals = [
        at_most("processes left behind", 0, growth.processes, "processes"),
        at_most("threads grown", 0, growth.threads, "threads"),
        at_most("file handles grown", 0, growth.file_handles, "handles"),
        at_most("temp files grown", 0, files_after - files_before, "files"),
    ]
    print_report("rounds", figures, goals)
    return Exit.OK


async def _round(stage: Stage, session_id: str) -> float:
    """Stop (if it runs), start, wait until online; seconds from start to online."""
    await _stop(stage, session_id)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await stage.api.act(session_id, "start")
    await stage.api.wait_state(session_id, SessionState.ONLINE, timeout_s=ROUND_LIMIT_S)
    return loop.time() - began


async def _stop(stage: Stage, session_id: str) -> None:
    await stage.api.act(session_id, "stop")
    await stage.api.wait_state(session_id, SessionState.STOPPED, timeout_s=ROUND_LIMIT_S)


def _node_pid(stage: Stage) -> int:
    return stage.stack.node(NODE).child.pid
