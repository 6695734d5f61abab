"""What the Chromium engine does when browser, page or machine let it down.

Each fault is real: processes are killed, modules come late, the origin is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import psutil
import pytest

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium import open_host, reap_profiles
from swarm_node.engines.chromium.hosts.processes import browser_pids
from swarm_node.engines.contract import ConnectionChanged, EngineFailed, QrShown
from tests.e2e.chromium_engine_rig import BOB, ME, Rig, rigged
from tests.waiting import eventually


async def test_crashes_of_page_and_browser(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start()
        await rig.link(rig.book.phone(ME))
        await rig.send(1, "before")

        # The page's process dies: a new page in the same browser, still linked.
        browser = rig.live.pids[0]
        os.kill(rig.renderer_pid(), signal.SIGKILL)
        await rig.event(ConnectionChanged)
        await rig.online()
        assert rig.live.pids[0] == browser
        assert not [event for event in rig.events if isinstance(event, EngineFailed)]
        assert (await rig.send(1, "before")).found_before
        await rig.arrived(await rig.book.phone(BOB).send_text(ME, "still there?"))

        # The browser dies: the engine says so, leaves nothing, and a new one needs no code.
        os.kill(browser, signal.SIGKILL)
        failed = await rig.event(EngineFailed, timeout_s=10)
        assert failed.code == ErrorCode.BROWSER_CRASHED
        with pytest.raises(BlazzError):
            await rig.send(2, "nobody")
        await eventually(lambda: not browser_pids(rig.profile))
        await rig.stop()
        assert not list(rig.profile.glob("Singleton*"))
        await rig.start()
        await rig.online()
        assert not [event for event in rig.events if isinstance(event, QrShown)]
        assert (await rig.send(1, "before")).found_before
        assert await rig.accepted(1) == 1

        # Killed while it runs: at once, with nothing left.
        pids = rig.live.pids
        assert pids
        await rig.kill()
        await eventually(lambda: not any(map(psutil.pid_exists, pids)))
        assert not list(rig.profile.glob("Singleton*"))


async def test_a_browser_that_does_not_close_is_killed_and_not_called_clean(
    tmp_path: Path,
) -> None:
    async with rigged(tmp_path, close_timeout_s=0.5) as rig:
        await rig.start()
        pids = rig.live.pids
        os.kill(pids[0], signal.SIGSTOP)
        with pytest.raises(BlazzError) as raised:
            await rig.stop()
        assert raised.value.code is ErrorCode.TIMEOUT
        await eventually(lambda: not any(map(psutil.pid_exists, pids)))


async def test_modules_that_come_late_are_mended_by_a_new_page(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        # wa-js would be fully ready, and never tell of a message.
        await rig.book.set_faults(late_modules=["WAWebMsgCollection"], late_ms=2500)
        await rig.start()
        await rig.event(ConnectionChanged)
        await rig.book.clear_faults()
        await rig.link(rig.book.phone(ME))
        await rig.arrived(await rig.book.phone(BOB).send_text(ME, "heard"))


async def test_it_gives_up_on_a_page_that_never_gets_right(tmp_path: Path) -> None:
    async with rigged(tmp_path, reloads_max=1, page_ready_timeout_s=4.0) as rig:
        await rig.book.set_faults(late_modules=["WAWebStreamModel"], late_ms=60_000)
        await rig.start()
        failed = await rig.event(EngineFailed, timeout_s=30)
        assert failed.code == ErrorCode.PAGE_SELF_TEST_FAILED
        assert "Stream" in failed.detail
        await eventually(lambda: not browser_pids(rig.profile))
        await rig.stop()

        # No page at all at that address.
        await rig.book.clear_faults()
        rules = ("--host-resolver-rules=MAP * 127.0.0.1:9",)
        nowhere = msgspec.structs.replace(rig.settings, extra_args=rules)
        async with open_host(nowhere) as host:
            lost = Rig(rig.book, host, nowhere, tmp_path / "lost")
            await lost.start()
            failed = await lost.event(EngineFailed, timeout_s=30)
            assert failed.code == ErrorCode.PAGE_NOT_READY
            assert not (await lost.live.probe()).online
            await lost.kill()


async def test_a_browser_that_is_missing_or_does_not_start(tmp_path: Path) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    for executable, code in (
        (tmp_path / "nothing", ErrorCode.BROWSER_MISSING),
        (broken, ErrorCode.BROWSER_START_FAILED),
    ):
        async with rigged(tmp_path, executable=executable) as rig:
            with pytest.raises(BlazzError) as error:
                await rig.start()
            assert error.value.code is code
    async with rigged(tmp_path, wa_js_path=broken) as rig:
        with pytest.raises(BlazzError) as error:
            await rig.start()
        assert error.value.code is ErrorCode.WA_JS_MISSING
        assert "npm ci" in error.value.detail


async def test_a_planned_new_page_loses_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start()
        await rig.link(rig.book.phone(ME))
        await rig.stop()
        settings = {"page_age_max_s": 3.0, "watch_period_s": 0.2}
        await rig.start(msgspec.structs.replace(rig.settings, **settings))
        await rig.online()
        bob = rig.book.phone(BOB)
        sent: list[str] = []

        async def renewed() -> bool:
            sent.append(await bob.send_text(ME, f"number {len(sent)}"))
            return bool([e for e in rig.events if isinstance(e, ConnectionChanged)])

        await eventually(renewed, timeout_s=15)
        sent.append(await bob.send_text(ME, "in the middle"))
        await rig.online()
        for message_id in sent:
            await rig.arrived(message_id)
        told = [e.message.message_id for e in rig.events if hasattr(e, "message")]
        assert sorted(told) == sorted(sent)
        assert not [event for event in rig.events if isinstance(event, QrShown)]


async def test_what_the_reader_was_not_done_with_is_told_again(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start()
        await rig.link(rig.book.phone(ME))
        bob = rig.book.phone(BOB)
        await rig.arrived(await bob.send_text(ME, "before"))
        rig.reading.clear()
        in_hand = await bob.send_text(ME, "in hand")
        behind = await bob.send_text(ME, "behind it")
        await rig.arrived(in_hand)
        # The page may have given both out, and must not note that as told.
        await rig.stop_unread()
        await rig.start()
        await rig.arrived(in_hand)
        await rig.arrived(behind)


_NODE = """
import asyncio, sys
from pathlib import Path
from swarm_node.engines.chromium import ChromiumEngine, ChromiumSettings, open_host
from swarm_node.engines.contract import EngineSpec

async def main():
    settings = ChromiumSettings(extra_args=("--host-resolver-rules=MAP * 127.0.0.1:9",))
    async with open_host(settings) as host:
        engine = ChromiumEngine(EngineSpec("ses_x", "t", 1, Path(sys.argv[1])), settings, host)
        await engine.start()
        print("started", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_browser_outlives_a_killed_node(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles"
    node = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _NODE, str(profiles / "one"), stdout=asyncio.subprocess.PIPE
    )
    assert node.stdout is not None
    try:
        async with asyncio.timeout(30):
            while await node.stdout.readline() != b"started\n":
                assert not node.stdout.at_eof(), "the node did not start"
        assert browser_pids(profiles / "one")
        drivers = [p for p in psutil.Process(node.pid).children() if _is_driver(p)]
        assert drivers
        for process in drivers:
            process.kill()
    finally:
        node.kill()
        await node.communicate()
    # The browser notices that its pipe has ended, even without a driver to tell it.
    await eventually(lambda: not browser_pids(profiles / "one"), timeout_s=10)
    reap_profiles(profiles)
    assert not list(profiles.rglob("Singleton*"))


async def test_reaping_ends_what_is_left_and_nothing_else(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine" / "ses_1", tmp_path / "other" / "ses_2"
    left = []
    for profile in (mine, other):
        profile.mkdir(parents=True)
        # Stands for a browser that hangs: what is looked at is its command line.
        left.append(
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import time; time.sleep(60)", f"--user-data-dir={profile}"
            )
        )
    (mine / "SingletonLock").symlink_to("somewhere-1")
    try:
        assert reap_profiles(tmp_path / "mine") == 1
        async with asyncio.timeout(20):
            assert await left[0].wait() == -signal.SIGKILL
        assert left[1].returncode is None
        assert not (mine / "SingletonLock").is_symlink()
    finally:
        left[1].kill()
        await left[1].wait()


async def test_rounds_of_start_and_stop_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A directory of its own for temporary files, with a path short enough for a socket.
    with tempfile.TemporaryDirectory(prefix="b-") as ours:
        monkeypatch.setenv("TMPDIR", ours)
        monkeypatch.setattr(tempfile, "tempdir", None)
        await _rounds(tmp_path, Path(ours))


async def _rounds(root: Path, temporary: Path) -> None:
    async with rigged(root) as rig:
        await rig.start()
        await rig.link(rig.book.phone(ME))
        await rig.stop()
        here, driver = psutil.Process(), _driver()
        before = _names(temporary), here.num_fds(), driver.num_fds(), here.memory_info().rss
        for _ in range(5):
            await rig.start()
            await rig.online()
            await rig.stop()
        assert _names(temporary) <= before[0]
        assert here.num_fds() <= before[1] + 2
        assert driver.num_fds() <= before[2] + 2
        assert here.memory_info().rss < before[3] + 60_000_000


def _driver() -> psutil.Process:
    (driver,) = [p for p in psutil.Process().children() if _is_driver(p)]
    return driver


def _is_driver(process: psutil.Process) -> bool:
    return "run-driver" in " ".join(process.cmdline())


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}
