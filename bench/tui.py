"""`blazz bench tui`: the terminal on a pty with 300 nodes and 10,000 sessions, beside a stock
DataTable with the same.

Owns what is measured and how: bytes are what the pty's other end read, a key's time runs until a
terminal emulator shows its effect, CPU is the whole process's, made-up fleet included.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pexpect
import psutil
import pyte

from bench.report import at_most, percentile, print_report
from bench.tui_fleet import FleetSize, MadeUpFleet
from cli.exit_codes import Exit
from schemas.records import Heartbeat
from schemas.timing import CLUSTER, FAST
from tui.changes import Pulse

COLUMNS: Final = 120
LINES: Final = 40
START_LIMIT_S: Final = 60.0
KEY_LIMIT_S: Final = 10.0
KEY_PERIOD_S: Final = 0.37
"""No divisor of a repaint's period: keys come at every phase of it."""
SETTLE_S: Final = 3.0
CURSOR_MARK: Final = "▌"
Kind = Literal["fleet", "datatable"]


class TuiOptions(msgspec.Struct, frozen=True):
    """What the command line said."""

    quiet: bool
    nodes: int
    sessions: int
    changing: float
    seconds: float
    keys: int = 40


class Measured(msgspec.Struct, frozen=True):
    """One application's figures."""

    first_paint_s: float
    first_paint_cpu_s: float
    cpu_share: float
    bytes_s: float
    keys_s: list[float]
    memory_mb: float


class Stopped(Exception):
    """Ctrl-C."""


async def run_tui(options: TuiOptions, stop: asyncio.Event) -> Exit:
    """Measure both, one after the other, and print the one line."""
    try:
        ours = await asyncio.to_thread(measure, "fleet", options, stop.is_set)
        stock = await asyncio.to_thread(measure, "datatable", options, stop.is_set)
    except Stopped:
        return Exit.INTERRUPTED
    figures = {
        "nodes": options.nodes,
        "sessions": options.sessions,
        "changing_each_second": options.changing,
        "screen": f"{COLUMNS}x{LINES}",
        "fleet": _figures(ours),
        "datatable": _figures(stock),
        "feed": _feed_figures(options),
    }
    goals = [
        at_most("first paint after data", 0.5, ours.first_paint_s, "s"),
        at_most("share of a core", 0.10, ours.cpu_share, ""),
        at_most("to the terminal", 15.0, ours.bytes_s / 1000, "kB/s"),
        at_most("key to paint, p95", 50.0, percentile(ours.keys_s, 0.95) * 1000, "ms"),
    ]
    print_report("tui", figures, goals)
    return Exit.OK


class _Terminal:
    """A child on a pty, read into a terminal emulator."""

    def __init__(self, child: Any, stopped: Callable[[], bool]) -> None:
        self.child = child
        self._stopped = stopped
        self.screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self.screen)
        self.bytes_read = 0

    def read(self, timeout_s: float) -> None:
        """Take what comes, or wait in vain."""
        if self._stopped():
            raise Stopped
        try:
            data = self.child.read_nonblocking(65_536, timeout=min(timeout_s, 0.5))
        except pexpect.TIMEOUT:
            return
        self.bytes_read += len(data)
        self._stream.feed(data)

    def read_for(self, seconds: float) -> None:
        """Take all that comes in so many seconds."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.read(left)

    def read_until(self, shown: Callable[[], bool], limit_s: float) -> float:
        """Take what comes until it shows; seconds it took."""
        began = time.monotonic()
        while not shown():
            if time.monotonic() - began > limit_s:
                raise TimeoutError("it never showed:\n" + "\n".join(self.screen.display))
            self.read(KEY_LIMIT_S)
        return time.monotonic() - began

    def cursor_line(self, kind: Kind) -> int | None:
        """Where the table's cursor is shown: by its mark, or by its background."""
        if kind == "fleet":
            marked = [y for y, line in enumerate(self.screen.display) if CURSOR_MARK in line[:1]]
        else:
            grounds = [self.screen.buffer[y][2].bg for y in range(1, LINES)]
            usual = max(set(grounds), key=grounds.count)
            odd = [y for y in range(1, LINES) if self.screen.buffer[y][2].bg != usual]
            marked = [y for y in odd if self.screen.display[y].strip()]
        return marked[-1] if marked else None


def measure(kind: Kind, options: TuiOptions, stopped: Callable[[], bool]) -> Measured:
    """Run one application on a pty and watch it."""
    with tempfile.TemporaryDirectory(prefix="blazz-bench-") as folder:
        notes = Path(folder) / "notes"
        child = pexpect.spawn(
            sys.executable,
            ["-m", "bench.tui_child", kind, str(notes), str(options.nodes),
             str(options.sessions), str(options.changing)],
            dimensions=(LINES, COLUMNS),
            env={"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8",
                 "PATH": "", "PYTHONPATH": str(Path(__file__).parents[1])},
            timeout=None,
        )  # fmt: skip
        try:
            return _watch(kind, _Terminal(child, stopped), notes, options)
        finally:
            child.close(force=True)


def _watch(kind: Kind, terminal: _Terminal, notes: Path, options: TuiOptions) -> Measured:
    def rows_shown() -> bool:
        lines = "\n".join(terminal.screen.display)
        return "Reading" not in lines and "online" in lines and "number-0" in lines

    terminal.read_until(rows_shown, START_LIMIT_S)
    process = psutil.Process(terminal.child.pid)
    data_at, data_cpu_s = map(float, notes.read_text("ascii").split())
    first_paint_s, first_cpu_s = time.monotonic() - data_at, _cpu_s(process) - data_cpu_s
    _say(options, f"{kind}: first paint after {first_paint_s:.2f} s")
    terminal.read_for(SETTLE_S)
    bytes_before, cpu_before, began = terminal.bytes_read, _cpu_s(process), time.monotonic()
    terminal.read_for(options.seconds)
    took_s = time.monotonic() - began
    cpu_share = (_cpu_s(process) - cpu_before) / took_s
    bytes_s = (terminal.bytes_read - bytes_before) / took_s
    _say(options, f"{kind}: {cpu_share:.1%} of a core, {bytes_s / 1000:.1f} kB/s")
    keys_s = []
    for number in range(options.keys):
        terminal.read_for(KEY_PERIOD_S)
        before = terminal.cursor_line(kind)
        terminal.child.send("\x1b[B" if number // 5 % 2 == 0 else "\x1b[A")

        def moved(was: int | None = before) -> bool:
            return terminal.cursor_line(kind) != was

        keys_s.append(terminal.read_until(moved, KEY_LIMIT_S))
    _say(options, f"{kind}: key to paint p95 {percentile(keys_s, 0.95) * 1000:.0f} ms")
    memory_mb = process.memory_info().rss / 2**20
    return Measured(first_paint_s, first_cpu_s, cpu_share, bytes_s, keys_s, memory_mb)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _figures(measured: Measured) -> dict[str, float]:
    return {
        "first_paint_s": round(measured.first_paint_s, 3),
        "first_paint_cpu_s": round(measured.first_paint_cpu_s, 3),
        "cpu_share": round(measured.cpu_share, 3),
        "terminal_kb_s": round(measured.bytes_s / 1000, 2),
        "key_to_paint_p50_ms": round(percentile(measured.keys_s, 0.5) * 1000, 1),
        "key_to_paint_p95_ms": round(percentile(measured.keys_s, 0.95) * 1000, 1),
        "memory_mb": round(measured.memory_mb, 1),
    }


def _feed_figures(options: TuiOptions) -> dict[str, float]:
    """What a viewer's feed costs: heartbeats with a line a session, per second."""
    fleet = MadeUpFleet(FleetSize(options.nodes, options.sessions, options.changing), time.time())
    pulses = [pulse.heartbeat for pulse in fleet.pulses() if isinstance(pulse, Pulse)]
    wire = [msgspec.json.encode(pulse) for pulse in pulses]
    began = time.process_time()
    for data in wire:
        msgspec.json.decode(data, type=Heartbeat)
    decode_s = time.process_time() - began
    size = sum(map(len, wire))

    figures = {}
    for profile in (FAST, CLUSTER):
        name = f"heartbeats_{profile.name}"
        figures[f"{name}_kb_s"] = round(size / profile.heartbeat_s / 1000, 1)
        figures[f"{name}_decode_share"] = round(decode_s / profile.heartbeat_s, 4)
    return figures


def _say(options: TuiOptions, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
