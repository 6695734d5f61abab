"""Every wait that tests do: bounded, in one place.

Owns the polling loop. Must never be used by code outside `tests/`: the product waits on events,
not on the clock.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

PATIENCE = 3
"""How many times a bound is stretched: bounds are written for a quiet machine, and a suite with
three workers a core never has one. A wait that succeeds is no longer for it."""
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.1


@overload
async def eventually(
    predicate: Callable[[], Coroutine[Any, Any, T | None]],
    *,
    timeout_s: float = ...,
    what: str | None = ...,
) -> T: ...
@overload
async def eventually(
    predicate: Callable[[], T | None], *, timeout_s: float = ..., what: str | None = ...
) -> T: ...
async def eventually(
    predicate: Callable[[], Any],
    *,
    timeout_s: float = 5.0,
    what: str | None = None,
) -> Any:
    """Return the predicate's first true value; raise `AssertionError` after `timeout_s`, stretched
    by `PATIENCE`.

    An `AssertionError` from the predicate counts as "not yet" and is chained to the final one;
    every other exception ends the wait at once, so that a broken predicate is not waited out.
    """
    timeout_s *= PATIENCE
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    last: object = None
    cause: AssertionError | None = None
    while True:
        remaining_s = deadline - time.monotonic()
        try:
            async with asyncio.timeout(max(remaining_s, _FIRST_PAUSE_S)):
                result = predicate()
                value = await result if inspect.isawaitable(result) else result
        except AssertionError as not_yet:
            cause = not_yet
        except TimeoutError:
            # The predicate's own timeout counts as "not yet"; ours is seen by the clock below.
            last = "no answer in time"
        else:
            if value:
                return value
            last, cause = value, None
        if time.monotonic() >= deadline:
            message = f"not within {timeout_s} s: {what or _name(predicate)} (last: {last!r})"
            raise AssertionError(message) from cause
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def eventually_sync(
    predicate: Callable[[], T], *, timeout_s: float = 5.0, what: str | None = None
) -> T:
    """`eventually` for tests without an event loop."""
    timeout_s *= PATIENCE
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"not within {timeout_s} s: {what or _name(predicate)} (last: {value!r})"
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


async def never(predicate: Callable[[], Any], *, for_s: float) -> None:
    """Raise `AssertionError` if the predicate turns true within `for_s`; nothing stretches it."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        value = predicate()
        assert not value, f"within {for_s} s: {_name(predicate)} (last: {value!r})"
        await asyncio.sleep(_LONGEST_PAUSE_S)


def free_port() -> int:
    """A loopback TCP port that was free a moment ago.

    Only for programs that can't bind port 0 and report what they got; everything else uses port 0.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _name(predicate: object) -> str:
    code = getattr(predicate, "__code__", None)
    if code is None:
        return repr(predicate)
    return f"{predicate.__qualname__} at line {code.co_firstlineno}"  # type: ignore[attr-defined]
