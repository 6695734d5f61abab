"""The node's small parts: event pipe, media cache, loopback store."""

import asyncio
import resource
from pathlib import Path

import pytest

from schemas import switch_wire as wire
from swarm_node.engines.contract import MediaBytes, MediaKey, SyncProgress
from swarm_node.engines.event_pipe import EventPipe
from swarm_node.engines.loopback.store import LinkedDevice, ProfileStore
from swarm_node.journal import Journal
from swarm_node.session.media import MediaCache


async def test_a_full_pipe_makes_the_engine_wait_and_its_end_is_read_out() -> None:
    pipe = EventPipe(waiting_max=2)
    await pipe.put(SyncProgress(0))
    await pipe.put(SyncProgress(1))
    third = asyncio.get_running_loop().create_task(pipe.put(SyncProgress(2)))
    await asyncio.sleep(0)
    assert not third.done()
    events = pipe.events()
    assert await anext(events) == (SyncProgress(0), SyncProgress(1))
    await third
    pipe.close()
    await pipe.put(SyncProgress(3))
    assert [some async for some in events] == [(SyncProgress(2),)]


def test_the_media_cache_is_bounded_by_bytes() -> None:
    cache = MediaCache(bytes_max=10)
    keys = [MediaKey(f"{number:016X}", "1@c.us", from_me=False) for number in range(3)]
    for key in keys[:2]:
        cache.put("ses_1", key, MediaBytes(b"12345", "image/png"))
    assert cache.get("ses_1", keys[0]) is not None
    cache.put("ses_1", keys[2], MediaBytes(b"12345", "image/png"))
    assert cache.get("ses_1", keys[1]) is None  # used longest ago
    assert cache.get("ses_1", keys[0]) is not None
    assert cache.get("ses_2", keys[2]) is None


def arrival(seq: int) -> wire.MessageIn:
    message = wire.Message(
        id=f"{seq:016X}", chat="2@c.us", sender="2@c.us", from_me=False, type="chat", ts=1
    )
    return wire.MessageIn(seq=seq, message=message)


def test_the_store_keeps_what_it_said_it_kept(tmp_path: Path) -> None:
    store = ProfileStore(tmp_path)
    key = store.key.private_numbers()
    store.link(LinkedDevice("d1", "1@c.us", "", "Me"))
    assert store.apply_queued(arrival(1))
    assert store.apply_queued(arrival(2))
    assert not store.apply_queued(arrival(2))  # sent again: kept before
    # Not closed: what was committed is there for the next process all the same.
    again = ProfileStore(tmp_path)
    assert (again.freshness, again.key.private_numbers()) == (2, key)
    assert again.device == LinkedDevice("d1", "1@c.us", "", "Me")
    assert again.message(arrival(1).message.id, "2@c.us") == arrival(1).message
    again.unlink()
    again.close()
    store.close()
    fresh = ProfileStore(tmp_path)
    assert fresh.device is None
    assert fresh.freshness == 0
    assert fresh.message(arrival(1).message.id, "2@c.us") is None
    assert fresh.key.private_numbers() != key
    fresh.close()


def test_a_copy_cut_anywhere_holds_the_changes_up_to_a_moment(tmp_path: Path) -> None:
    store = ProfileStore(tmp_path / "whole")
    store.link(LinkedDevice("d1", "1@c.us", "", "Me"))
    for seq in (1, 2, 3):
        store.apply_queued(arrival(seq))
    store.close()
    (file,) = (tmp_path / "whole" / "loopback").iterdir()
    data = file.read_bytes()
    seen = set()
    for length in range(0, len(data) + 1, 7):
        copy = tmp_path / str(length) / "loopback"
        copy.mkdir(parents=True)
        (copy / file.name).write_bytes(data[:length])
        cut = ProfileStore(tmp_path / str(length))
        seen.add(cut.freshness)
        known = [seq for seq in (1, 2, 3) if cut.message(arrival(seq).message.id, "2@c.us")]
        assert known == list(range(1, cut.freshness + 1))
        # What was torn stays behind: what is kept now is there next time.
        cut.apply_queued(arrival(9))
        cut.close()
        again = ProfileStore(tmp_path / str(length))
        assert again.freshness == 9
        again.close()
    assert seen >= {0, 1, 2}


def test_a_change_the_disk_refused_spoils_none_after_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.rewrite([b"one"])
    (file,) = tmp_path.iterdir()
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 12, hard))
    try:
        with pytest.raises(OSError, match="part of the change"):
            journal.append(b"refused")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal.append(b"two")
    journal.close()
    assert Journal(tmp_path).read() == [b"one", b"two"]


def test_an_ack_never_falls_and_only_own_messages_count_as_sent(tmp_path: Path) -> None:
    store = ProfileStore(tmp_path)
    own = wire.Message(
        id="A" * 16, chat="2@c.us", sender="1@c.us", from_me=True, type="chat", ts=1, ack=0
    )
    store.keep_sending(own)
    for seq, ack in ((1, 3), (2, 2)):
        store.apply_queued(
            wire.Ack(seq=seq, chat="2@c.us", ids=(own.id,), ack=ack, by="2@c.us", ts=1)
        )
    found = store.sent_before(own.id)
    assert found is not None
    assert found.ack == 3
    store.apply_queued(arrival(3))
    assert store.sent_before(arrival(3).message.id) is None
    store.close()
