"""A lab leaves nothing behind, however it ends. As root, and only where it is asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.hosts import cgroups
from bench.hosts.namespace import missing
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif("BLAZZ_TEST_LAB" not in os.environ, reason="BLAZZ_TEST_LAB is not set"),
    pytest.mark.skipif(bool(missing()), reason=f"the lab lacks {missing()}"),
    pytest.mark.xdist_group("lab"),
]


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.lab_hold", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def tree(process: subprocess.Popen[str]) -> set[psutil.Process]:
    return set(psutil.Process(process.pid).children(recursive=True))


def cgroup(process: subprocess.Popen[str]) -> Path:
    mount = cgroups.mount_point(Path("/proc/self/mountinfo").read_text())
    return mount / f"{cgroups.PREFIX}{process.pid}"


def folder(process: subprocess.Popen[str]) -> Path:
    return Path("/tmp") / f"{cgroups.PREFIX}{process.pid}"  # noqa: S108 - only looked at


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_nothing_of_a_lab_outlives_a_signal(number: signal.Signals) -> None:
    process = start()
    assert process.stdout is not None
    assert process.stdout.readline() == "up systemd\n"
    lived = tree(process)
    assert len(lived) > 5
    process.send_signal(number)
    process.wait(60)
    await eventually(lambda: not any(one.is_running() for one in lived), timeout_s=60)
    await eventually(lambda: not cgroup(process).exists(), timeout_s=60)
    assert not any(name.startswith("region") for name in psutil.net_if_addrs())
    if number is not signal.SIGKILL:
        assert not folder(process).exists()
        return
    # Its directory is all that is left, and goes with the next lab.
    following = start("fails")
    following.communicate(timeout=60)
    assert not folder(process).exists()


async def test_a_bench_that_fails_leaves_nothing() -> None:
    process = start("fails")
    said, _ = process.communicate(timeout=60)
    assert said == "up systemd\n"
    assert process.returncode == 1
    assert not cgroup(process).exists()
    assert not folder(process).exists()
