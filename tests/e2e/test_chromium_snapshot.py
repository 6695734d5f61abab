"""A session's snapshot in real browsers: copied while it runs, restored into an empty directory."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from sandbox.phone import Phone
from schemas.states import Ack, EngineKind
from swarm_node.engines.chromium.drill import drill_profile
from swarm_node.engines.chromium.page_storage import BLANK_URL, blank_page, replace_storage
from swarm_node.engines.contract import (
    AckChanged,
    ConnectionChanged,
    Linked,
    LoggedOut,
    QrShown,
    Replaced,
)
from tests.contract.engine_fixtures import Snapshots
from tests.e2e.chromium_engine_rig import BOB, ME, Rig, hex_id, rigged
from tests.waiting import eventually

pytestmark = pytest.mark.browser


async def captured(rig: Rig, target: Path) -> dict[str, str]:
    """A hot copy of the running session in `target`; its page storage is returned."""
    snapshots = Snapshots(rig.profile, EngineKind.CHROMIUM)
    await snapshots.take(rig.live)
    await asyncio.to_thread(snapshots.restore, target)
    assert snapshots.page_storage is not None
    return snapshots.page_storage


def twin(rig: Rig, profile: Path) -> Rig:
    """Another machine's rig, on another profile."""
    other = Rig(rig.book, rig.host, rig.settings, profile.parent)
    other.profile = profile
    return other


async def talk(rig: Rig, bob: Phone, me: Phone, enough: asyncio.Event) -> int:
    """Both write in turn until it is enough; how often each did."""
    number = 0
    while not enough.is_set():
        number += 1
        await bob.send_text(me.wid, f"in {number}")
        await rig.send(number, f"out {number}")
    return number


async def test_a_killed_browser_comes_back_in_an_empty_directory(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone(BOB)
        await rig.start()
        await rig.link(me)
        kept = await bob.send_text(me.wid, "kept")
        await rig.arrived(kept)
        async with asyncio.TaskGroup() as group:
            # However long the copy takes on a busy machine, messages flow before and after it.
            talking = group.create_task(talk(rig, bob, me, enough := asyncio.Event()))
            await rig.event(AckChanged, message_id=hex_id(4))
            storage = await captured(rig, tmp_path / "copy")
            enough.set()
        last = talking.result()
        os.kill(rig.live.pids[0], signal.SIGKILL)
        await rig.kill()
        shutil.copytree(tmp_path / "copy", tmp_path / "scratch")
        # What `append_only` says holds for LevelDB. SQLite, which Chromium is moving to, rewrites.
        (store,) = (tmp_path / "copy/Default/IndexedDB").iterdir()
        assert store.name.endswith(".indexeddb.leveldb")

        opened = len(await rig.book.log(0, "line.opened"))
        report = await drill_profile(tmp_path / "scratch", rig.settings, page_storage=storage)
        assert report.passed, report
        assert (report.keys, report.keys_usable, report.keys_extractable) == (2, 2, 0)
        # WhatsApp heard nothing of it.
        assert len(await rig.book.log(0, "line.opened")) == opened

        rig.profile = tmp_path / "copy"
        await rig.start(page_storage=storage)
        await rig.event(Linked)
        await rig.online()
        assert [event for event in rig.events if isinstance(event, QrShown)] == []
        # Its messages are there, and those it sent are not sent again.
        assert (await rig.send(1, "out 1")).found_before
        await bob.read(me.wid)
        await rig.event(AckChanged, message_id=hex_id(1), ack=Ack.READ)
        await rig.arrived(await bob.send_text(me.wid, "after"))
        assert not (await rig.send(last + 1, "after")).found_before
        assert [await rig.accepted(number) for number in range(1, last + 2)] == [1] * (last + 1)
        assert len(await rig.book.log(0, "device.linked")) == 1
        assert await rig.book.log(0, "hold.started") == []


async def test_a_login_not_yet_on_the_disk_comes_from_the_page_storage(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start()
        await rig.link(rig.book.phone(ME))
        storage = await captured(rig, tmp_path / "bare")
        shutil.copytree(tmp_path / "bare", tmp_path / "whole")
        await rig.kill()

        # Localstorage reaches the disk up to 52 s late: the files alone are half a profile.
        rig.profile = tmp_path / "bare"
        assert not (await drill_profile(rig.profile, rig.settings)).passed
        await rig.start()
        await rig.event(LoggedOut)
        assert [event for event in rig.events if isinstance(event, QrShown)] == []
        await rig.kill()

        rig.profile = tmp_path / "whole"
        await rig.start(page_storage=storage)
        await rig.online()
        assert (await rig.live.page_storage()).items() >= storage.items()


async def test_a_later_page_of_an_engine_keeps_the_newer_page_storage(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start(page_storage={})
        await rig.link(rig.book.phone(ME))
        os.kill(rig.renderer_pid(), signal.SIGKILL)
        await rig.event(ConnectionChanged, detail="the page is loaded again")
        await rig.online()
        assert [event for event in rig.events if isinstance(event, LoggedOut)] == []


async def test_an_older_generation_is_taken_within_the_tolerance(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone(BOB)
        await rig.start()
        await rig.link(me)
        storage = await captured(rig, tmp_path / "older")
        for number in range(5):
            last = await bob.send_text(me.wid, f"{number}")
        await rig.arrived(last)

        async def stored() -> bool:
            return len(await rig.book.log(0, "message.stored")) >= 5

        await eventually(stored, timeout_s=10, what="all are stored")
        await rig.kill()

        rig.profile = tmp_path / "older"
        await rig.start(page_storage=storage)
        await rig.online()
        (behind,) = await rig.book.log(0, "device.rolled_back")
        assert behind.reason == "5 frames behind"
        await rig.arrived(await bob.send_text(me.wid, "goes on"))


async def test_two_browsers_of_one_snapshot_are_seen_and_do_not_fight(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone(BOB)
        await rig.start()
        await rig.link(me)
        storage = await captured(rig, tmp_path / "a")
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        await rig.kill()
        since = (await rig.book.log())[-1].n

        one, two = twin(rig, tmp_path / "a"), twin(rig, tmp_path / "b")
        try:
            await asyncio.gather(*(each.start(page_storage=storage) for each in (one, two)))

            def loser() -> Rig | None:
                return next((r for r in (one, two) if Replaced() in r.events), None)

            older = await eventually(loser, timeout_s=15, what="one is replaced")
            assert older is not None
            newer = two if older is one else one
            await newer.online()
            assert not (await older.live.probe()).online
            await newer.arrived(await bob.send_text(me.wid, "to the newer"))
            await newer.quiet(Replaced, for_s=3)
            (hold,) = await rig.book.log(since, "hold.started")
            first, second = await rig.book.log(since, "line.opened")
            assert hold.instances == first.instances + second.instances
            # The older one left the alarm standing until it was ended.
            assert await rig.book.log(since, "hold.ended") == []
            await older.kill()

            async def over() -> bool:
                return bool(await rig.book.log(since, "hold.ended"))

            await eventually(over, timeout_s=10, what="the hold ends")
            assert (await newer.live.probe()).online
        finally:
            for each in (one, two):
                await each.kill()


async def test_a_drill_finds_what_is_broken(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start()
        await rig.link(rig.book.phone(ME))
        storage = await captured(rig, tmp_path / "broken")
        await rig.kill()
        for table in (tmp_path / "broken/Default/IndexedDB").rglob("*.log"):
            table.write_bytes(table.read_bytes()[:200])
        report = await drill_profile(tmp_path / "broken", rig.settings, page_storage=storage)
        assert not report.passed
        assert report.storage_items == len(storage)


async def test_the_page_storage_is_replaced_whole_past_a_service_worker(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start()
        await rig.event(QrShown)
        await rig.kill()
        opened = await rig.host.open_profile(rig.profile)
        try:
            page = await opened.new_page()
            for items in ({"a": "1", "b": "2"}, {"b": "3", "length": "x", "__proto__": "ü"}):
                await replace_storage(page, items, timeout_s=10)
                assert page.url == BLANK_URL
                async with blank_page(page, timeout_s=10):
                    workers = await page.evaluate(
                        "async () => (await navigator.serviceWorker.getRegistrations()).length"
                    )
                    found = await page.evaluate(
                        """() => Array.from(localStorage, (_, index) => localStorage.key(index))
                            .map((key) => [key, localStorage.getItem(key)])"""
                    )
                    # The real page, or the switch's "not found", would have another one.
                    assert await page.title() == "Blazz"
                assert dict(found) == items
                assert workers == 1
        finally:
            await opened.kill()
