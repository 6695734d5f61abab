"""`python -m bench.hosts.inside`: the process that runs a bench inside of the lab's namespaces.

Owns only its own life: it does what the first line of its input says, and stops at the input's end.
"""

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Awaitable, Callable

import msgspec
import uvloop

from bench.hosts.namespace import Task
from cli.exit_codes import Exit
from schemas.errors import BlazzError

Bench = Callable[[Task], Awaitable[Exit]]


def _bench(module: str) -> Bench:
    found: Bench = importlib.import_module(module).inside
    return found


async def _main() -> Exit:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    task = msgspec.json.decode(await reader.readline(), type=Task)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(transport.close)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        running = group.create_task(_run(task))
        ended = group.create_task(reader.read())
        await asyncio.wait((running, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not running.done():
            running.cancel()
    return Exit.INTERRUPTED if running.cancelled() else running.result()


async def _run(task: Task) -> Exit:
    try:
        return await _bench(task.bench)(task)
    except BlazzError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr, flush=True)
        return Exit.FAILED


if __name__ == "__main__":
    sys.exit(uvloop.run(_main()))
