"""Background tasks with an owner: they live exactly as long as an `async with` block.

Owns one idea: `asyncio.TaskGroup` without wrapping the block's own errors in a group. Never
leaves a task behind.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class Background:
    """A TaskGroup whose tasks are cancelled when the block ends.

    The block's own exception passes unchanged. A crash of a task cancels the block and is raised
    in its place (as itself when there is only one).
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` until it ends or the block does."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, timeout_s: float) -> None:
        """Wait for the running tasks to end by themselves, at most `timeout_s`."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        try:
            if cancelled:
                await self._group.__aexit__(kind, error, trace)
            else:
                # The group would wrap the block's error; hidden from it, it passes as it is.
                await self._group.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise
