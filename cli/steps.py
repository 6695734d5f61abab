"""Steps of a story: each is named, timed, shown as it runs, and holds or does not.

Owns the timing, the progress lines and the summary. Never knows what a step does.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TextIO, TypeVar

import msgspec

from schemas.errors import BlazzError

T = TypeVar("T")

POLL_S: Final = 0.05


class StepDone(msgspec.Struct, frozen=True):
    """A finished step."""

    name: str
    ms: int
    ok: bool
    title: str
    note: str = ""


class StepFailed(Exception):
    """A step did not hold; the story ends here."""


class Expectation(AssertionError):
    """What a step saw is not what must hold."""


def expect(holds: bool, otherwise: str) -> None:
    """Say what a step must see; `otherwise` is the words if it doesn't."""
    if not holds:
        raise Expectation(otherwise)


async def until(check: Callable[[], Awaitable[T | None]]) -> T:
    """Ask again and again until there is an answer; the step's limit bounds it."""
    while True:
        found = await check()
        if found is not None:
            return found
        await asyncio.sleep(POLL_S)


class Note:
    """What a step wants to have said beside its time."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, text: str) -> None:
        self.text = text


class Story:
    """Runs steps one after the other and keeps what they took."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self.steps: list[StepDone] = []
        self._out = out
        self._tty = out.isatty()

    @asynccontextmanager
    async def step(self, name: str, title: str, *, limit_s: float) -> AsyncIterator[Note]:
        """Time the block, at most `limit_s`; show it while it runs and when it is done.

        Raises `StepFailed` when it did not hold.
        """
        note = Note()
        if self._tty:
            self._out.write(f"  … {title}\r")
            self._out.flush()
        began = time.perf_counter()
        failure: BaseException | None = None
        try:
            async with asyncio.timeout(limit_s):
                yield note
        except (BlazzError, Expectation, TimeoutError, OSError) as error:
            failure = error
            note(_words(error, limit_s))
        done = StepDone(
            name=name,
            ms=round((time.perf_counter() - began) * 1000),
            ok=failure is None,
            title=title,
            note=note.text,
        )
        self.steps.append(done)
        mark = "✓" if done.ok else "✗"
        beside = f"  {done.note}" if done.note else ""
        self._out.write(f"  {mark} {title:<44} {done.ms / 1000:7.2f} s{beside}\n")
        self._out.flush()
        if failure is not None:
            raise StepFailed(name) from failure

    @property
    def ok(self) -> bool:
        """Whether there were steps and all held."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    def print_table(self) -> None:
        """The timing table."""
        total = sum(step.ms for step in self.steps)
        self._out.write(f"\n  {'step':<22} {'ms':>8}\n  {'-' * 22} {'-' * 8}\n")
        for step in self.steps:
            self._out.write(f"  {step.name:<22} {step.ms:>8}\n")
        self._out.write(f"  {'-' * 22} {'-' * 8}\n  {'total':<22} {total:>8}\n\n")

    def print_line(self) -> None:
        """The last line: one JSON object."""
        line: dict[str, Any] = {
            "ok": self.ok,
            "steps": [{"name": step.name, "ms": step.ms} for step in self.steps],
        }
        failed = [step for step in self.steps if not step.ok]
        if failed:
            line["failed"] = {"name": failed[0].name, "why": failed[0].note}
        self._out.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")
        self._out.flush()


def _words(error: BaseException, limit_s: float) -> str:
    if isinstance(error, BlazzError):
        return f"{error.code}: {error.detail or error.spec.title}"
    if isinstance(error, TimeoutError):
        return f"not within {limit_s:g} s"
    return str(error) or type(error).__name__
