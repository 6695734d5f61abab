"""The supervisor and its runners without a bus: places, epochs, failures, fencing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.commands import (
    COMMANDS,
    FetchMedia,
    LogoutSession,
    MediaChunk,
    MoveSession,
    Ping,
    Pong,
    RestartSession,
    StartSession,
    StopSession,
    Told,
)
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, SessionStateChanged
from schemas.records import SessionObserved
from schemas.states import EngineKind, SessionState
from swarm_node.command_inbox import CommandInbox
from swarm_node.config import NodeSettings
from swarm_node.core.backoff import BackoffPolicy
from swarm_node.data_dir import DataDir
from swarm_node.engines.contract import Engine, EngineSpec
from swarm_node.engines.loopback.engine import LoopbackEngine
from swarm_node.engines.loopback.settings import LoopbackFaults, LoopbackSettings
from swarm_node.engines.registry import EngineRegistry
from swarm_node.metrics import NodeMetrics
from swarm_node.outbox.journal import EventJournal
from swarm_node.outbox.outbox import EventOutbox
from swarm_node.session.mailbox import Verb
from swarm_node.session.observed import ObservedWriter
from swarm_node.session.timings import SessionTimings
from swarm_node.supervisor import Supervisor
from tests.waiting import eventually

TIMINGS = SessionTimings(backoff=BackoffPolicy(first_s=0.01, longest_s=0.02, failures_max=1))


class HangingStop(LoopbackEngine):
    """A page that doesn't let itself be closed."""

    async def stop(self) -> None:
        await asyncio.Event().wait()


class World:
    """A supervisor whose events and records are kept in lists."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.records: dict[str, SessionObserved | None] = {}
        self.lease = True
        self.assignment_revision = 0
        self.assignment_epoch = 1

    async def publish(self, event: Event) -> None:
        self.events.append(event)

    async def write(self, session_id: str, record: SessionObserved | None, revision: int) -> None:
        if revision and revision != self.assignment_revision:
            raise BlazzError(ErrorCode.CONFLICT)
        self.records[session_id] = record

    async def revise(self, record: SessionObserved) -> int | None:
        return self.assignment_revision if record.epoch == self.assignment_epoch else None

    async def nothing_told(self, _tenant: str, _session: str, after_seq: int) -> Told:
        return Told(seq=after_seq)

    async def no_media(self, _ask: FetchMedia) -> MediaChunk:
        raise BlazzError(ErrorCode.MEDIA_NOT_FOUND)

    @asynccontextmanager
    async def supervisor(
        self,
        folder: Path,
        faults: LoopbackFaults | None = None,
        engine: Callable[[EngineSpec, LoopbackSettings], Engine] = LoopbackEngine,
        **changes: Any,
    ) -> AsyncIterator[Supervisor]:
        # Nothing listens there: engines start and wait for a switch.
        loopback = LoopbackSettings(
            link_url="wss://127.0.0.1:1/", faults=faults or LoopbackFaults()
        )
        settings = NodeSettings(
            node_id="n1", data_dir=folder, start_spacing_s=0, session=TIMINGS, **changes
        )
        data = DataDir(folder)

        def superseded(key: str, epoch: int) -> None:
            made.supersede(key, epoch)

        observed = ObservedWriter(self.write, revise=self.revise, superseded=superseded)
        outbox = EventOutbox(
            "n1", EventJournal(folder / "events"), publish=self.publish, ask=self.nothing_told
        )
        made = Supervisor(
            settings,
            incarnation="i1",
            data=data,
            engines=EngineRegistry(
                {EngineKind.LOOPBACK: lambda spec: engine(spec, loopback)}, chromium_sandbox=True
            ),
            observed=observed,
            metrics=NodeMetrics("n1", "0"),
            outbox=outbox,
            ask_media=self.no_media,
            may_act=lambda: self.lease,
        )
        with data.locked():
            async with outbox.running(), made.running():
                writer = asyncio.get_running_loop().create_task(observed.run())
                try:
                    yield made
                finally:
                    writer.cancel()


def start(number: int, epoch: int = 1) -> StartSession:
    return StartSession(
        session_id=f"ses_{number:026d}",
        epoch=epoch,
        tenant_id="acme",
        engine=EngineKind.LOOPBACK,
    )


async def test_starts_at_the_same_moment_never_share_a_place(tmp_path: Path) -> None:
    async with World().supervisor(tmp_path, sessions_max=4) as supervisor:
        answers = await asyncio.gather(
            *(supervisor.start(start(number)) for number in range(12)), return_exceptions=True
        )
        refused = [answer.code for answer in answers if isinstance(answer, BlazzError)]
        assert refused == [ErrorCode.NODE_AT_CAPACITY] * 8
        assert supervisor.engines_running() == 4


async def test_the_same_session_twice_at_once_is_one(tmp_path: Path) -> None:
    async with World().supervisor(tmp_path, sessions_max=4) as supervisor:
        await asyncio.gather(*(supervisor.start(start(1)) for _ in range(5)))
        assert [load.session_id for load in supervisor.loads()] == [start(1).session_id]


async def test_a_launch_that_fails_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    world = World()
    async with world.supervisor(tmp_path, LoopbackFaults(start_fails=True)) as supervisor:
        assert (await supervisor.start(start(1))).state is SessionState.STARTING
        await eventually(lambda: supervisor.loads()[0].state is SessionState.FAILED)
        await eventually(lambda: len(world.events) == 3)
    told = [e.data for e in world.events if isinstance(e.data, SessionStateChanged)]
    assert [(data.state, data.reason) for data in told] == [
        (SessionState.STARTING, None),
        (SessionState.STARTING, "browser_start_failed"),
        (SessionState.FAILED, "browser_start_failed"),
    ]


async def test_fencing_does_not_wait_for_a_stop_that_hangs(tmp_path: Path) -> None:
    world = World()
    async with world.supervisor(tmp_path, engine=HangingStop) as supervisor:
        await supervisor.start(start(1))
        stop = StopSession(session_id=start(1).session_id, epoch=1)
        hanging = asyncio.get_running_loop().create_task(supervisor.obey(Verb.STOP, stop))
        await eventually(lambda: supervisor.loads()[0].state is SessionState.STOPPED)
        began_s = time.monotonic()
        await supervisor.fence_all()
        assert time.monotonic() - began_s < 2
        assert (await hanging).state is SessionState.STOPPED


async def test_nothing_is_said_after_the_fence(tmp_path: Path) -> None:
    world = World()
    async with world.supervisor(tmp_path) as supervisor:
        await supervisor.start(start(1))
        world.lease = False
        await supervisor.fence_all()
        await eventually(lambda: len(world.events) == 2)
        with pytest.raises(BlazzError) as raised:
            await supervisor.start(start(2))
        assert raised.value.code is ErrorCode.LEASE_LOST
        await eventually(lambda: start(1).session_id in world.records)
    last = world.events[-1].data
    assert isinstance(last, SessionStateChanged)
    assert (last.state, last.reason) == (SessionState.FENCED, "lease_lost")


async def test_a_start_of_what_runs_tells_where_it_stands_again(tmp_path: Path) -> None:
    world = World()
    async with world.supervisor(tmp_path) as supervisor:
        await supervisor.start(start(1))
        await eventually(lambda: start(1).session_id in world.records)
        world.records.clear()  # a late write of a process before has replaced it
        await supervisor.start(start(1))
        await eventually(lambda: start(1).session_id in world.records)
        assert len(world.events) <= 1


@pytest.mark.parametrize("regained", [False, True])
async def test_a_start_from_before_a_lost_lease_launches_nothing(
    tmp_path: Path, regained: bool
) -> None:
    # It replaces a run that is slow to end; the lease goes meanwhile, and may be back by then:
    # the session may have been placed elsewhere in between.
    world = World()
    async with world.supervisor(tmp_path, engine=HangingStop) as supervisor:
        await supervisor.start(start(1))
        replacing = asyncio.get_running_loop().create_task(supervisor.start(start(1, epoch=2)))
        await eventually(lambda: supervisor.loads()[0].state is SessionState.STOPPED)
        world.lease = False
        await supervisor.fence_all()
        world.lease = regained
        with pytest.raises(BlazzError) as raised:
            await replacing
        assert raised.value.code is ErrorCode.LEASE_LOST
        assert supervisor.engines_running() == 0


def moved(number: int, epoch: int = 1) -> MoveSession:
    return MoveSession(session_id=start(number).session_id, epoch=epoch)


async def test_a_session_let_go_comes_back_under_a_later_epoch_alone(tmp_path: Path) -> None:
    world = World()
    async with world.supervisor(tmp_path) as supervisor:
        await supervisor.start(start(1))
        for _ in range(2):
            answer = await supervisor.move(moved(1))
            assert (answer.state, answer.reason) == (SessionState.MOVING, "moving")
        assert supervisor.loads() == ()
        with pytest.raises(BlazzError) as raised:
            await supervisor.start(start(1))
        assert raised.value.code is ErrorCode.STALE_EPOCH
        assert (await supervisor.start(start(1, epoch=2))).state is SessionState.STARTING


async def test_a_session_that_was_never_here_is_let_go_too(tmp_path: Path) -> None:
    async with World().supervisor(tmp_path) as supervisor:
        await supervisor.move(moved(1, epoch=3))
        with pytest.raises(BlazzError):
            await supervisor.start(start(1, epoch=3))


async def test_a_placement_that_is_over_ends_here_as_soon_as_its_word_is_refused(
    tmp_path: Path,
) -> None:
    world = World()
    world.assignment_revision = 7
    async with world.supervisor(tmp_path) as supervisor:
        under = msgspec.structs.replace(start(1), assignment_revision=7)
        await supervisor.start(under)
        await eventually(lambda: start(1).session_id in world.records)
        # A wish to move changes the revision, not the placement: the writer learns the new one.
        world.assignment_revision = 8
        world.records.clear()
        await supervisor.obey(Verb.RESTART, RestartSession(session_id=under.session_id, epoch=1))
        await eventually(lambda: start(1).session_id in world.records)
        assert len(supervisor.loads()) == 1
        world.assignment_revision, world.assignment_epoch = 9, 2
        world.records.clear()
        await supervisor.obey(Verb.RESTART, RestartSession(session_id=under.session_id, epoch=1))
        await eventually(lambda: supervisor.loads() == (), what="the engine is dead")
        assert world.records == {}, "nothing was written under an assignment that is over"


async def test_a_session_that_starts_is_not_logged_out_by_guess(tmp_path: Path) -> None:
    async with World().supervisor(tmp_path) as supervisor:
        await supervisor.start(start(1))
        logout = LogoutSession(session_id=start(1).session_id, epoch=1)
        with pytest.raises(BlazzError) as raised:
            await supervisor.obey(Verb.LOGOUT, logout)
        assert raised.value.code is ErrorCode.SESSION_NOT_ONLINE


async def test_sessions_at_rest_are_forgotten_in_the_end(tmp_path: Path) -> None:
    async with World().supervisor(tmp_path, sessions_max=1) as supervisor:
        for number in range(5):
            await supervisor.start(start(number))
            stop = StopSession(session_id=start(number).session_id, epoch=1)
            await supervisor.obey(Verb.STOP, stop)
        assert len(supervisor.loads()) == 2


async def test_a_stopping_node_takes_nothing_new(tmp_path: Path) -> None:
    world = World()
    async with world.supervisor(tmp_path) as supervisor:
        await supervisor.start(start(1))
        await supervisor.stop_all()
        assert supervisor.loads() == ()
        with pytest.raises(BlazzError) as raised:
            await supervisor.start(start(2))
        assert raised.value.code is ErrorCode.SHUTTING_DOWN
    assert world.events[-1].data == SessionStateChanged(
        state=SessionState.STOPPED, previous=SessionState.STARTING, reason="node_stopping"
    )


async def test_every_command_has_its_answer(tmp_path: Path) -> None:
    async with World().supervisor(tmp_path) as supervisor:
        pong = Pong(node_id="n1", incarnation="i1", sessions=0, sessions_max=0)
        inbox = CommandInbox(supervisor, NodeMetrics("n1", "0"), pong=lambda: pong)
        assert inbox.acts.keys() == COMMANDS.keys()
        assert await inbox.acts["ping"](Ping()) == pong
