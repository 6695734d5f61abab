"""A process's word to systemd, over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.service import ENDING_GRACE_S, Ending, Service, Vitals
from cli.systemd import Notifier
from schemas.turns import Turn, overdue
from tests.notify_socket import Systemd
from tests.waiting import eventually


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    found = Systemd(tmp_path / "notify")
    yield found
    found.close()


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def service(systemd: Systemd, stop: asyncio.Event | None = None) -> tuple[Service, Clock]:
    clock = Clock()
    made = Service(Notifier(str(systemd.path)), stop=stop or asyncio.Event(), clock=clock)
    return made, clock


def test_the_environment_says_where_and_how_often(systemd: Systemd) -> None:
    notifier = Notifier.from_environment(systemd.environ(WATCHDOG_USEC="30000000"))
    assert (notifier.heard, notifier.watchdog_s) == (True, 30.0)
    notifier.words("two\nlines")
    assert systemd.heard == ["STATUS=two lines"]


def test_a_watchdog_of_another_process_is_not_ours(systemd: Systemd) -> None:
    ours = systemd.environ(WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()))
    others = systemd.environ(WATCHDOG_USEC="30000000", WATCHDOG_PID="1")
    assert Notifier.from_environment(ours).watchdog_s == 30.0
    assert Notifier.from_environment(others).watchdog_s is None


def test_without_systemd_nothing_is_said_and_nothing_fails() -> None:
    notifier = Notifier.from_environment({})
    assert not notifier.heard
    notifier.ready()


def test_a_socket_that_went_away_fails_nothing(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "gone")).alive()


def test_an_abstract_socket_is_found() -> None:
    name = f"blazz-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        Notifier("@" + name).ready()
        assert listener.recv(100) == b"READY=1"


def test_the_loop_that_is_longest_overdue_is_named() -> None:
    turns = [Turn("fine", 95.0, 10.0), Turn("late", 80.0, 10.0), Turn("later", 50.0, 10.0)]
    found = overdue(turns, 100.0)
    assert found is not None
    assert found.name == "later"
    assert overdue(turns[:1], 100.0) is None


def test_alive_is_said_while_every_loop_turns(systemd: Systemd) -> None:
    told, clock = service(systemd)
    turned_at = clock.now_s
    told.ready(lambda: Vitals("3 of 30 sessions", (Turn("heartbeat", turned_at, 60.0),)))
    told.look()
    assert systemd.heard == ["READY=1", "WATCHDOG=1", "STATUS=3 of 30 sessions"]


def test_a_stuck_loop_ends_the_watchdogs_food_and_is_named(systemd: Systemd) -> None:
    told, clock = service(systemd)
    turned_at = clock.now_s
    told.ready(lambda: Vitals("3 of 30 sessions", (Turn("heartbeat", turned_at, 60.0),)))
    clock.now_s += 61
    told.look()
    assert "WATCHDOG=1" not in systemd.heard
    assert systemd.heard[-1] == "STATUS=stuck: heartbeat; 3 of 30 sessions"
    turned_at = clock.now_s
    told.look()
    assert "WATCHDOG=1" in systemd.heard


def test_words_are_said_when_they_change(systemd: Systemd) -> None:
    told, _ = service(systemd)
    told.ready(lambda: Vitals("the same"))
    for _turn in range(3):
        told.look()
    assert systemd.heard.count("STATUS=the same") == 1


def test_an_end_that_goes_on_gets_more_time_and_one_that_hangs_does_not(systemd: Systemd) -> None:
    stop = asyncio.Event()
    told, clock = service(systemd, stop)
    left = 5
    told.ready(lambda: Vitals("5 sessions", left=left))
    stop.set()
    more = f"EXTEND_TIMEOUT_USEC={round(ENDING_GRACE_S * 1_000_000)}"
    told.look()
    assert systemd.heard[1:] == [
        "WATCHDOG=1",
        "STOPPING=1",
        more,
        "STATUS=stopping: 5 sessions left",
    ]
    clock.now_s += ENDING_GRACE_S + 1
    told.look()
    assert systemd.heard.count(more) == 1
    left = 4
    told.look()
    assert systemd.heard.count(more) == 2
    left = 0
    told.look()
    assert systemd.heard.count(more) == 2
    assert systemd.heard.count("STOPPING=1") == 1


def test_more_left_is_no_progress() -> None:
    ending = Ending(left=3, since_s=0.0).now(4, 50.0)
    assert not ending.goes_on(61.0)


async def test_it_tells_at_once_that_it_stops(systemd: Systemd) -> None:
    stop = asyncio.Event()
    told = Service(Notifier(str(systemd.path), watchdog_s=3600.0), stop=stop)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(told.run())
        told.ready(lambda: Vitals("up"))
        await eventually(lambda: "STATUS=up" in systemd.heard, timeout_s=15)
        stop.set()
        await eventually(lambda: "STOPPING=1" in systemd.heard, timeout_s=15)
        running.cancel()
