"""The commands as a user runs them: the story without a browser, and a bad start."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import psutil

from cli.exit_codes import Exit
from tests.waiting import eventually

RUN_LIMIT_S = 50.0


class Ran:
    """A finished command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


async def start(*args: str, **env: str) -> asyncio.subprocess.Process:
    """Start `blazz` with these words."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *args,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **env},
    )


async def blazz(*args: str, limit_s: float = RUN_LIMIT_S, **env: str) -> Ran:
    """Run `blazz` to its end."""
    process = await start(*args, **env)
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(process.returncode or 0, out.decode(), err.decode())


async def test_the_story_holds_on_the_loopback_engine(tmp_path: Path) -> None:
    ran = await blazz("demo", "--once", "--engine", "loopback", TMPDIR=str(tmp_path))
    last = json.loads(ran.out.splitlines()[-1])
    assert ran.code == Exit.OK, ran.out + ran.err
    assert last["ok"] is True
    names = [step["name"] for step in last["steps"]]
    assert names[:4] == ["start", "create", "qr", "scan"]
    assert {"send_text", "send_image", "read", "receive", "online_again", "logout"} <= set(names)
    assert {"kill", "failover", "send_from_there"} <= set(names)
    assert all(step["ms"] >= 0 for step in last["steps"])
    assert left_in(tmp_path) == []


async def test_ctrl_c_ends_the_demo_and_removes_everything(tmp_path: Path) -> None:
    demo = await start(
        *("demo", "--engine", "loopback", "--port", "0", "--phone-port", "0"), TMPDIR=str(tmp_path)
    )
    try:
        await eventually(lambda: _ready(tmp_path), timeout_s=RUN_LIMIT_S)
        family = psutil.Process(demo.pid).children(recursive=True)
        assert len(family) >= 4  # nats-server, control plane, two nodes
        demo.send_signal(signal.SIGINT)
        async with asyncio.timeout(RUN_LIMIT_S):
            out, _ = await demo.communicate()
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
    assert demo.returncode == Exit.OK
    assert "Link a number" in out.decode()
    assert not any(process.is_running() for process in family)
    assert left_in(tmp_path) == []


def left_in(folder: Path) -> list[str]:
    """What still lies there."""
    return [path.name for path in folder.iterdir()]


def _ready(folder: Path) -> bool:
    return any(folder.glob("blazz-demo-*/stack.json"))


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = await blazz("up", "--data-dir", str(tmp_path), "--port", port)
    assert ran.code == Exit.CONFLICT
    assert "port_in_use" in ran.err
    assert port in ran.err


async def test_a_missing_browser_is_said_before_anybody_waits_for_a_qr(tmp_path: Path) -> None:
    ran = await blazz(
        "up", "--data-dir", str(tmp_path), "--port", "0", BLAZZ_CHROMIUM=str(tmp_path / "none")
    )
    assert ran.code == Exit.FAILED
    assert "browser_missing" in ran.err
    assert "BLAZZ_CHROMIUM" in ran.err


async def test_a_missing_bundle_is_said_likewise(tmp_path: Path) -> None:
    ran = await blazz(
        "up", "--data-dir", str(tmp_path), "--port", "0", BLAZZ_WA_JS=str(tmp_path / "none.js")
    )
    assert ran.code == Exit.FAILED
    assert "wa_js_missing" in ran.err


async def test_a_data_directory_serves_one_at_a_time(tmp_path: Path) -> None:
    first = await start("up", "--data-dir", str(tmp_path), "--port", "0")
    try:
        await eventually((tmp_path / "stack.json").exists, timeout_s=RUN_LIMIT_S)
        second = await blazz("up", "--data-dir", str(tmp_path), "--port", "0")
    finally:
        first.send_signal(signal.SIGTERM)
        await first.communicate()
    assert second.code == Exit.CONFLICT
    assert "data_dir_locked" in second.err


async def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('node_id = "a"\ndata_dir = "x"\nsesions_max = 3\n')
    ran = await blazz("node", "--config", str(config))
    assert ran.code == Exit.USAGE
    assert "sesions_max" in ran.err


async def test_the_terminal_says_when_there_is_no_fleet(tmp_path: Path) -> None:
    ran = await blazz("tui", "--data-dir", str(tmp_path))
    assert ran.code == Exit.USAGE
    assert "blazz up" in ran.err
