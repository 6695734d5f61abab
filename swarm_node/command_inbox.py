"""The command inbox: what the control plane asks of this node, answered.

Owns the mapping from each command of `schemas.commands.COMMANDS` to what carries it out; a test
holds the two together. Never decides: epochs, capacity and states are judged behind it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from schemas.commands import (
    COMMANDS,
    Command,
    CreateSession,
    DestroySession,
    GetMedia,
    GetPairingCode,
    GetQr,
    LogoutSession,
    MoveSession,
    Ping,
    Pong,
    RestartSession,
    SendMessage,
    StartSession,
    StopSession,
)
from schemas.errors import BlazzError
from schemas.messages import kind_of
from schemas.subjects import node_command
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.typed import serve
from swarm_node.metrics import NodeMetrics
from swarm_node.session.account_calls import AccountCalls
from swarm_node.session.mailbox import Verb
from swarm_node.supervisor import Supervisor

_MARGIN_S = 5.0
"""A handler may take a little longer than its caller waits: the outcome is still worth having."""

Act = Callable[[Any], Awaitable[msgspec.Struct]]


class CommandInbox:
    """One node's answers to commands."""

    def __init__(
        self, supervisor: Supervisor, metrics: NodeMetrics, *, pong: Callable[[], Pong]
    ) -> None:
        self._supervisor = supervisor
        self._metrics = metrics
        self._pong = pong
        self.acts: dict[str, Act] = {
            "create_session": self._start,
            "destroy_session": self._destroy,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "move": self._move,
            "logout": self._logout,
            "send_message": self._send,
            "get_qr": self._qr,
            "pairing_code": self._pairing_code,
            "get_media": self._media,
            "set_presence": self._account(AccountCalls.set_presence),
            "subscribe_presence": self._account(AccountCalls.subscribe_presence),
            "mark_seen": self._account(AccountCalls.mark_seen),
            "check_number": self._account(AccountCalls.check_number),
            "read_chats": self._account(AccountCalls.read_chats),
            "read_contacts": self._account(AccountCalls.read_contacts),
            "read_group": self._account(AccountCalls.read_group),
            "read_profile": self._account(AccountCalls.read_profile),
            "set_profile": self._account(AccountCalls.set_profile),
            "read_picture": self._account(AccountCalls.read_picture),
            "ping": self._ping,
        }

    @asynccontextmanager
    async def serving(self, bus: Bus, node_id: str) -> AsyncIterator[None]:
        """Answer commands for the block; running ones get a moment to end."""
        async with AsyncExitStack() as stack:
            for name, spec in COMMANDS.items():
                await stack.enter_async_context(
                    serve(
                        bus,
                        node_command(node_id, name),
                        spec.request,
                        _handler(self.acts[name]),
                        handler_timeout_s=spec.timeout_s + _MARGIN_S,
                    )
                )
            yield

    async def _start(self, command: CreateSession | StartSession) -> msgspec.Struct:
        checkpoint(At.HAND_OVER_BEFORE_START)
        answer = await self._supervisor.start(command)
        checkpoint(At.HAND_OVER_AFTER_START)
        return answer

    async def _destroy(self, command: DestroySession) -> msgspec.Struct:
        return await self._supervisor.destroy(command)

    async def _stop(self, command: StopSession) -> msgspec.Struct:
        return await self._supervisor.obey(Verb.STOP, command)

    async def _restart(self, command: RestartSession) -> msgspec.Struct:
        return await self._supervisor.obey(Verb.RESTART, command)

    async def _move(self, command: MoveSession) -> msgspec.Struct:
        checkpoint(At.HAND_OVER_BEFORE_STOP)
        answer = await self._supervisor.move(command)
        checkpoint(At.HAND_OVER_AFTER_STOP)
        return answer

    async def _logout(self, command: LogoutSession) -> msgspec.Struct:
        return await self._supervisor.obey(Verb.LOGOUT, command)

    async def _send(self, command: SendMessage) -> msgspec.Struct:
        kind = kind_of(command.content)
        try:
            answer = await self._supervisor.calls(command).send(command)
        except BlazzError:
            self._metrics.count_sent(kind, "retry")
            raise
        self._metrics.count_sent(kind, answer.state)
        return answer

    async def _qr(self, command: GetQr) -> msgspec.Struct:
        return await self._supervisor.calls(command).qr(command)

    async def _pairing_code(self, command: GetPairingCode) -> msgspec.Struct:
        return await self._supervisor.calls(command).pairing_code(command)

    async def _media(self, command: GetMedia) -> msgspec.Struct:
        return await self._supervisor.calls(command).media(command)

    def _account(self, call: Callable[[AccountCalls, Any], Awaitable[msgspec.Struct]]) -> Act:
        async def act(command: Command) -> msgspec.Struct:
            return await call(self._supervisor.calls(command).account, command)

        return act

    async def _ping(self, _command: Ping) -> msgspec.Struct:
        return self._pong()


def _handler(act: Act) -> Callable[[Any, BusMessage], Awaitable[msgspec.Struct]]:
    async def handle(command: Any, _message: BusMessage) -> msgspec.Struct:
        return await act(command)

    return handle
