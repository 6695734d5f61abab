"""Programs run to their end, with a bound on their time.

Owns how they are run and what an error of theirs reads like. Never a shell.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode

_TAIL_CHARS: Final = 2000


class Ended(msgspec.Struct, frozen=True):
    """What a program left: its exit code and what it said."""

    code: int
    stdout: str
    stderr: str


async def call(
    *argv: str,
    timeout_s: float = 60.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Ended:
    """Run it and wait; it and all it started is killed at the time's end, and if we are cancelled.

    With `log`, its output is appended there as it comes, and `stdout` and `stderr` are empty.
    """
    sink = log.open("ab") if log is not None else None
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink or asyncio.subprocess.PIPE,
            stderr=sink or asyncio.subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
    finally:
        if sink is not None:
            sink.close()
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        raise BlazzError(ErrorCode.TIMEOUT, f"{argv[0]} did not end in {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Ended(
        process.returncode or 0,
        (out or b"").decode(errors="replace"),
        (err or b"").decode(errors="replace"),
    )


async def must(
    *argv: str,
    timeout_s: float = 60.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """The same for one that has to succeed; answers its stdout."""
    ended = await call(*argv, timeout_s=timeout_s, cwd=cwd, env=env)
    if ended.code != 0:
        raise BlazzError(
            ErrorCode.INTERNAL,
            f"{' '.join(argv[:4])} ended with {ended.code}: "
            f"{(ended.stderr or ended.stdout)[-_TAIL_CHARS:].strip()}",
        )
    return ended.stdout


async def ip(commands: Sequence[Sequence[str]]) -> None:
    """Run `ip` for each."""
    for words in commands:
        await must("ip", *words, timeout_s=10.0)
