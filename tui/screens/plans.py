"""Plans: an act on some rows, asked for, confirmed, carried out, reported.

Owns the whole way of an act from a key to the report. Never acts without the count having been
shown where it is dangerous, and never stops half-way because one target was refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from textual.app import App

from schemas.errors import BlazzError
from tui.acts import Actor
from tui.desk import Desk
from tui.screens.confirm import ConfirmScreen

AT_ONCE_MAX: Final = 4
_REFUSED_SHOWN: Final = 3


class Target(NamedTuple):
    """One thing to act on, as people know it, and the act."""

    label: str
    act: Callable[[Actor], Awaitable[None]]


class Plan(NamedTuple):
    """`verb` and `noun` read as a sentence ("Drain 3 nodes"). `warning`: what it means, shown
    before; with one the plan is confirmed even for a single target. `names`: many targets are
    confirmed by typing the fleet's name."""

    verb: str
    noun: str
    targets: Sequence[Target]
    warning: str = ""
    names: bool = False

    @property
    def title(self) -> str:
        """Verb, count and noun."""
        return f"{self.verb} {counted(len(self.targets), self.noun)}"


def counted(count: int, noun: str) -> str:
    """`1 node`, `3 nodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def carry_out(
    app: App[Any], desk: Desk, plan: Plan, after: Callable[[], None] | None = None
) -> None:
    """Ask if need be, then do it beside the screen; the outcome is a notice. `after`: called when
    all was asked for."""
    actor = desk.actor
    if actor is None:
        app.notify(desk.why_read_only, severity="warning")
        return
    if not plan.targets:
        return

    def begin(sure: bool | None) -> None:
        if sure:
            app.run_worker(_perform(app, actor, plan, after), group="acts", exit_on_error=True)

    if plan.warning or len(plan.targets) > 1:
        word = desk.settings.context if plan.names and len(plan.targets) > 1 else ""
        labels = [target.label for target in plan.targets]
        app.push_screen(ConfirmScreen(plan.title, plan.warning, labels, word), begin)
    else:
        begin(True)


async def _perform(
    app: App[Any], actor: Actor, plan: Plan, after: Callable[[], None] | None
) -> None:
    places = asyncio.Semaphore(AT_ONCE_MAX)
    refused: list[tuple[str, BlazzError]] = []

    async def one(target: Target) -> None:
        async with places:
            try:
                await target.act(actor)
            except BlazzError as error:
                refused.append((target.label, error))

    async with asyncio.TaskGroup() as group:
        for target in plan.targets:
            group.create_task(one(target), name=f"act {plan.verb}")
    message = report(plan, refused)
    app.notify(message, severity="error" if refused else "information", markup=False)
    if after is not None:
        after()


def report(plan: Plan, refused: Sequence[tuple[str, BlazzError]]) -> str:
    """What became of a plan, with the first refusals and their codes."""
    if not refused:
        return f"{plan.title}: asked for"
    done = len(plan.targets) - len(refused)
    lines = [f"{plan.title}: {done} asked for, {len(refused)} refused"]
    lines += [
        f"{label}: {error.detail or error.spec.title} ({error.code})"
        for label, error in refused[:_REFUSED_SHOWN]
    ]
    if len(refused) > _REFUSED_SHOWN:
        lines.append(f"and {len(refused) - _REFUSED_SHOWN} more")
    return "\n".join(lines)
