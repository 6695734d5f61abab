"""Children: ready, respawned, stopped, and never left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from cli.client import Api
from cli.processes import Child, ChildSpec, Supervised, spawn, supervise
from cli.stack import CONTROL_PLANE, StackPlan, open_stack
from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind
from tests.waiting import eventually, never

READY = """
import json, os, signal, sys, time
open(sys.argv[-1] + ".new", "w").write(json.dumps({"pid": os.getpid()}))
os.rename(sys.argv[-1] + ".new", sys.argv[-1])
"""
OBEDIENT = READY + "signal.pause()\n"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + OBEDIENT
REFUSING = (
    "import json, sys\n"
    'print(json.dumps({"event": "process.failed", "code": "port_in_use", "detail": "8080"}))\n'
    "sys.exit(6)\n"
)


def _spec(tmp_path: Path, code: str, name: str = "child", ready_timeout_s: float = 20) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-c", code), tmp_path, ready_timeout_s=ready_timeout_s)


def _gone(child: Child) -> bool:
    return not psutil.pid_exists(child.pid)


async def test_a_child_says_that_it_is_ready_and_stops_on_request(tmp_path: Path) -> None:
    child = await spawn(_spec(tmp_path, OBEDIENT))
    assert (await child.wait_ready())["pid"] == child.pid
    assert await child.stop() == -signal.SIGTERM
    assert await child.stop() == -signal.SIGTERM


async def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    child = await spawn(_spec(tmp_path, STUBBORN))
    await child.wait_ready()
    assert await child.stop(timeout_s=0.2) == -signal.SIGKILL


async def test_the_error_a_child_ended_with_is_ours(tmp_path: Path) -> None:
    child = await spawn(_spec(tmp_path, REFUSING))
    with pytest.raises(BlazzError) as error:
        await child.wait_ready()
    assert error.value.code is ErrorCode.PORT_IN_USE


async def test_one_that_is_never_ready_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    child = await spawn(_spec(tmp_path, "import signal; signal.pause()", ready_timeout_s=0.3))
    with pytest.raises(BlazzError, match=r"child\.log"):
        await child.wait_ready()
    await child.kill()


async def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    respawned: list[str] = []

    async def heard(name: str) -> None:
        respawned.append(name)

    async with supervise([_spec(tmp_path, OBEDIENT)], heard) as children:
        first = children["child"].child
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: respawned == ["child"], timeout_s=20)
        second = children["child"].child
        assert second.pid != first.pid
    assert _gone(first)
    assert _gone(second)


async def test_one_that_is_taken_down_stays_down_until_it_is_started(tmp_path: Path) -> None:
    respawned: list[str] = []

    async def heard(name: str) -> None:
        respawned.append(name)

    async with supervise([_spec(tmp_path, OBEDIENT)], heard) as children:
        first = children["child"].child
        await children["child"].take_down()
        assert _gone(first)
        # Longer than a crashed one would stay away.
        await never(lambda: children["child"].child is not first, for_s=1.5)
        facts = await children["child"].start()
        second = children["child"].child
        assert facts["pid"] == second.pid != first.pid
        # From now on it is watched again.
        os.kill(second.pid, signal.SIGKILL)
        await eventually(lambda: respawned == ["child"], timeout_s=20)


async def test_a_restart_on_request_is_no_crash(tmp_path: Path) -> None:
    async with supervise([_spec(tmp_path, OBEDIENT)]) as children:
        child: Supervised = children["child"]
        before = child.child.pid
        facts = await child.restart()
        assert facts["pid"] == child.child.pid != before
        assert child.restarts == 0


async def test_when_one_can_not_start_the_others_are_stopped(tmp_path: Path) -> None:
    specs = [_spec(tmp_path, OBEDIENT, "good"), _spec(tmp_path, REFUSING, "bad")]
    with pytest.raises(BlazzError):
        async with supervise(specs):
            pytest.fail("the block must not be entered")
    assert not (tmp_path / "bad.ready.json").exists()
    ready = (tmp_path / "good.ready.json").read_text()
    await eventually(lambda: not psutil.pid_exists(int(ready.split(":")[1].strip(" }"))))


async def test_children_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent_code = (
        "import asyncio, pathlib, sys\n"
        "from cli.processes import ChildSpec, supervise\n"
        f"spec = ChildSpec('child', (sys.executable, '-c', {OBEDIENT!r}), "
        "pathlib.Path(sys.argv[1]))\n"
        "async def main():\n"
        "    async with supervise([spec]):\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent_code, str(tmp_path), stdin=asyncio.subprocess.DEVNULL
    )
    ready = tmp_path / "child.ready.json"
    await eventually(ready.exists, timeout_s=20)
    pid = int(ready.read_text().split(":")[1].strip(" }"))
    parent.kill()
    await parent.wait()
    await eventually(lambda: not psutil.pid_exists(pid), timeout_s=10)


async def test_a_control_plane_comes_back_where_it_was(tmp_path: Path) -> None:
    plan = StackPlan(data_dir=tmp_path, nodes=(), port=0, engine=EngineKind.LOOPBACK)
    async with open_stack(plan) as stack, Api(stack.api_url, stack.api_key) as api:
        assert await api.sessions() == []
        child = stack.children[CONTROL_PLANE]
        os.kill(child.child.pid, signal.SIGKILL)

        async def answers() -> bool:
            try:
                return await api.sessions() == [] and child.restarts == 1
            except BlazzError:
                return False

        await eventually(answers, timeout_s=30)
