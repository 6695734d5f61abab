"""`blazz up`: everything on one machine, against the real WhatsApp Web.

Owns the plan of one machine, where its data is, and what is printed.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from cli.exit_codes import Exit
from cli.stack import NodePlan, Stack, StackPlan, open_stack
from swarm_node.engines.chromium.settings import settings_from_environment


class UpOptions(msgspec.Struct, frozen=True):
    """What the command line said."""

    host: str
    port: int
    data_dir: Path | None
    sessions_max: int
    mongo_uri_file: Path | None = None


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/blazz`, or `~/.local/share/blazz`."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "blazz"


async def run_up(options: UpOptions, stop: asyncio.Event) -> Exit:
    """Run until `stop`."""
    data_dir = options.data_dir or default_data_dir()
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True, mode=0o700)
    plan = StackPlan(
        data_dir=data_dir.absolute(),
        nodes=(NodePlan("local", "local", options.sessions_max),),
        host=options.host,
        port=options.port,
        chromium=settings_from_environment(),
        mongo_uri_file=options.mongo_uri_file and options.mongo_uri_file.absolute(),
    )
    print("Starting NATS, the control plane and a node…", file=sys.stderr)
    async with open_stack(plan, _say_respawn) as stack:
        _print_addresses(stack, data_dir)
        await stop.wait()
        print("\nStopping: every session is closed cleanly…", file=sys.stderr)
    return Exit.OK


async def _say_respawn(name: str) -> None:
    print(f"{name} ended by itself and was started again", file=sys.stderr)


def _print_addresses(stack: Stack, data_dir: Path) -> None:
    key_file = stack.info.api_key_file
    print(
        f"""
Blazz runs.

  API                {stack.api_url}/docs
  API key            {key_file}
  Data               {data_dir}
  Fleet in terminal  blazz tui --data-dir {data_dir}

Link your first number: create a session, make a link page for it, open that and scan.

  export KEY=$(cat {key_file})
  curl -X POST -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
       -d '{{"name": "first"}}' {stack.api_url}/v1/sessions
  curl -X POST -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
       -d '{{}}' {stack.api_url}/v1/sessions/SESSION_ID/links

Ctrl-C stops it; the sessions come back online at the next start.
""",
        flush=True,
    )
