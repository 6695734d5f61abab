"""`blazz demo`: everything on one machine with two nodes, and a stand-in for WhatsApp.

Owns the demo's plan, what it prints and its clean end. The sandbox is reached through an
operator's plain Chromium settings: the engine has no test path.
"""

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from cli.client import Api
from cli.exit_codes import Exit
from cli.stack import NodePlan, Stack, StackPlan, open_stack
from cli.steps import StepFailed, Story
from cli.story import Scene, create_phones, walk
from control_plane.config import ControlPlaneSettings
from control_plane.outbound.settings import LOOPBACK_TOO
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings
from schemas.api import NewSession
from schemas.pacing import UNPACED
from schemas.states import EngineKind
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.loopback.settings import LoopbackSettings

START_LIMIT_S: Final = 120.0
NODES: Final = (NodePlan("node-a", "region-a", 10), NodePlan("node-b", "region-b", 10))


class DemoOptions(msgspec.Struct, frozen=True):
    """What the command line said. Ports: 0 takes a free one."""

    once: bool
    port: int
    phone_port: int
    engine: str = "chromium"


async def run_demo(options: DemoOptions, stop: asyncio.Event) -> Exit:
    """Run the demo, or walk its story once. Exit 0 only if every step held."""
    if options.once:
        return await _walk_once(options, stop)
    async with _stage(options) as (sandbox, stack):
        async with PhoneBook(sandbox.api_url) as book, Api(stack.api_url, stack.api_key) as api:
            await create_phones(book)
            session = await api.create_session(NewSession(name="demo"))
            link = await api.link(session.session_id)
        _print_addresses(sandbox, stack, link.url)
        await stop.wait()
        print("\nStopping…", file=sys.stderr)
    return Exit.OK


@asynccontextmanager
async def _stage(options: DemoOptions) -> AsyncIterator[tuple[Sandbox, Stack]]:
    """The sandbox and the stack on it, in a directory that goes with them."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="blazz-demo-"))
    try:
        async with (
            Sandbox(SandboxSettings(api_port=options.phone_port)) as sandbox,
            open_stack(plan_on(sandbox, folder, options), _say_respawn) as stack,
        ):
            yield sandbox, stack
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def plan_on(sandbox: Sandbox, folder: Path, options: DemoOptions) -> StackPlan:
    """The demo's plan: two nodes whose WhatsApp is this sandbox."""
    return StackPlan(
        data_dir=folder,
        nodes=NODES,
        port=options.port,
        engine=EngineKind(options.engine),
        # A receiver to try webhooks with is on this machine, too.
        services=ControlPlaneSettings(pacing=UNPACED, outbound=LOOPBACK_TOO),
        chromium=ChromiumSettings(extra_args=tuple(sandbox.chromium_args())),
        loopback=LoopbackSettings(
            link_url=sandbox.link_url, media_url=sandbox.media_base_url, ca_pem=sandbox.ca_pem
        ),
    )


async def _walk_once(options: DemoOptions, stop: asyncio.Event) -> Exit:
    story = Story()
    print("Blazz, the whole story on this machine (no phone, no internet)\n", flush=True)
    async with asyncio.TaskGroup() as tasks:
        walking = tasks.create_task(_perform(options, story))
        watching = tasks.create_task(_cancel_when(stop, walking))
        walking.add_done_callback(lambda _: watching.cancel())
    if walking.cancelled():
        return Exit.INTERRUPTED
    story.print_table()
    story.print_line()
    return Exit.OK if story.ok else Exit.FAILED


async def _cancel_when(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    await stop.wait()
    task.cancel()


async def _perform(options: DemoOptions, story: Story) -> None:
    with contextlib.suppress(StepFailed):  # the story has said which, and why
        async with contextlib.AsyncExitStack() as opened:
            title = "Start NATS, control plane, two nodes"
            async with story.step("start", title, limit_s=START_LIMIT_S) as note:
                sandbox, stack = await opened.enter_async_context(_stage(options))
                book = await opened.enter_async_context(PhoneBook(sandbox.api_url))
                api = await opened.enter_async_context(Api(stack.api_url, stack.api_key))
                note(stack.api_url)
            owner, friend = await create_phones(book)

            async def restart(node_id: str) -> None:
                await stack.node(node_id).restart()

            async def kill(node_id: str) -> None:
                await stack.node(node_id).take_down()

            await walk(story, Scene(api, book, owner, friend, restart, kill))


async def _say_respawn(name: str) -> None:
    print(f"{name} ended by itself and was started again", file=sys.stderr)


def _print_addresses(sandbox: Sandbox, stack: Stack, link_url: str) -> None:
    folder = Path(stack.info.api_key_file).parent
    print(
        f"""
Blazz runs, with a stand-in for WhatsApp. Nothing leaves this machine.

  1. Link a number   {link_url}
  2. The phone       {sandbox.api_url}
                     open both; scan the first one's QR with the second

  API                {stack.api_url}/docs
  API key            {stack.info.api_key_file}
  Fleet in terminal  blazz tui --data-dir {folder}

  curl -H "Authorization: Bearer $(cat {stack.info.api_key_file})" {stack.api_url}/v1/sessions

Ctrl-C ends it and removes everything.
""",
        flush=True,
    )
