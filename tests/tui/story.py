"""An operator's story on a real stack: find a session, look at a node, drain it, watch.

Owns the story and its recording: `python -m tests.tui.story FILE.svg` writes one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.stage import link_sessions, open_stage
from cli.stack import NodePlan
from tests.tui.pty_terminal import Terminal, animation
from tests.waiting import eventually

NODES = (NodePlan("fra-1", "eu-central", 8), NodePlan("sgp-1", "ap-southeast", 8))
NUMBERS = tuple(f"6281100000{number:02}" for number in range(6))
_SHIFT_TAB = "\x1b[Z"
_ESCAPE = "\x1b"


async def stage_and_story(keep: Callable[[str, Terminal], None]) -> None:
    """Open a stack with six online sessions, and tell the story on it. `keep` is called at each of
    its moments."""
    async with open_stage("loopback", NODES) as stage:
        await link_sessions(stage, NUMBERS)
        data_dir = stage.temp_dir.parent / "data"
        terminal = Terminal(
            sys.executable, "-m", "cli", "tui", "--data-dir", str(data_dir),
            XDG_CONFIG_HOME=str(stage.temp_dir),
        )  # fmt: skip
        try:
            before = await tell(terminal, NUMBERS, keep)
        finally:
            terminal.process.close(force=True)
        past = Terminal(
            sys.executable, "-m", "cli", "tui", "--data-dir", str(data_dir), "--at", before,
            XDG_CONFIG_HOME=str(stage.temp_dir),
        )  # fmt: skip
        try:
            await eventually(lambda: past.shows("THE PAST", before.replace("T", " ")), timeout_s=30)
            await eventually(lambda: past.shows(NUMBERS[0], "● online", "fra-1"), timeout_s=20)
            keep("blazz tui --at: before the drain", past)
        finally:
            past.process.close(force=True)


async def tell(
    terminal: Terminal, numbers: tuple[str, ...], keep: Callable[[str, Terminal], None]
) -> str:
    """Each step is awaited on the screen. Returns the moment before the drain, as `--at` has it."""

    def on(node_id: str) -> list[str]:
        return [
            number
            for number in numbers
            if any(number in line and node_id in line and "● online" in line
                   for line in terminal.lines())
        ]  # fmt: skip

    await eventually(lambda: len(on("fra-1")) + len(on("sgp-1")) == len(numbers), timeout_s=60)
    await eventually(lambda: terminal.shows("fra-1", "● alive"), timeout_s=20)
    keep("six sessions on two nodes", terminal)

    wanted = numbers[2]
    terminal.press("/")
    await eventually(lambda: terminal.shows("/"), timeout_s=5)
    terminal.press(wanted)
    await eventually(lambda: terminal.shows("SESSIONS 1 of 6"), timeout_s=10)
    keep(f"/{wanted} finds one", terminal)
    terminal.press("\r")
    await eventually(lambda: not typing(terminal), timeout_s=5)
    terminal.press("\r")
    await eventually(lambda: terminal.shows("Lane", "empty"), timeout_s=10)
    keep("enter: the session, its states and its lane", terminal)

    terminal.press(_ESCAPE)
    await eventually(lambda: terminal.shows("SESSIONS 1 of 6"), timeout_s=10)
    terminal.press(_ESCAPE)
    await eventually(lambda: terminal.shows("SESSIONS 6"), timeout_s=10)
    terminal.press(_SHIFT_TAB)
    await eventually(lambda: terminal.shows("▌", "fra-1", "● alive"), timeout_s=10)
    keep("S-tab: the nodes", terminal)
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    terminal.press("r")
    await eventually(lambda: terminal.shows("Drain 1 node?"), timeout_s=10)
    keep("r drains a node, after a question", terminal)
    terminal.press("y")
    await eventually(lambda: terminal.shows("fra-1", "◨ draining"), timeout_s=20)
    keep("y: nothing new goes there, and its sessions move", terminal)
    await eventually(lambda: len(on("sgp-1")) == len(numbers), timeout_s=60)
    await eventually(lambda: terminal.shows("fra-1", "0/8"), timeout_s=20)
    keep("all are online on the other node", terminal)
    assert not on("fra-1")
    terminal.press("q")
    await eventually(lambda: terminal.lines() and not terminal.process.isalive(), timeout_s=15)
    assert terminal.process.exitstatus == 0
    return before


def typing(terminal: Terminal) -> bool:
    """Whether the prompt is open."""
    return any(line.startswith(" / ") for line in terminal.lines())


def main() -> None:
    """Record it."""
    frames: list[tuple[str, str]] = []

    def keep(told: str, terminal: Terminal) -> None:
        frames.append((told, terminal.picture()))

    asyncio.run(stage_and_story(keep))
    Path(sys.argv[1]).write_text(animation(frames, seconds=3.0), encoding="utf-8")


if __name__ == "__main__":
    main()
