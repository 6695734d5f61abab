"""`python -m sandbox`: a local WhatsApp to play with, until interrupted.

Owns the command line only.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from sandbox.phone import PhoneBook
from sandbox.server import ORIGIN, Sandbox
from sandbox.settings import SandboxSettings


def _settings() -> SandboxSettings:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--page-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--api-port", type=int, default=8790, help="the phones' page; 0: any")
    parser.add_argument("--time-scale", type=float, default=1.0, help="0.1: codes live a tenth")
    parser.add_argument("--log", type=Path, help="append the switch's log here, as JSON lines")
    given = parser.parse_args()
    return SandboxSettings(
        page_port=given.page_port,
        api_port=given.api_port,
        time_scale=given.time_scale,
        log_path=given.log,
    )


async def serve(settings: SandboxSettings) -> None:
    """Run a sandbox with two phones until a signal comes."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with Sandbox(settings) as sandbox:
        async with PhoneBook(sandbox.api_url) as book:
            await book.create("15550001", "Ann", lid="7770001")
            await book.create("15550002", "Bob", lid="7770002")
        lines = [
            f"Phones:  {sandbox.api_url}",
            f"Page:    {ORIGIN} in a Chromium started with",
            *(f"         '{argument}'" for argument in sandbox.chromium_args()),
            f"Link:    {sandbox.link_url}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(_settings()))
