"""Node commands: ask the node that a session is assigned to.

Owns the subject, the time-out and what a silence means. Never retries: a caller knows whether a
repeat is safe.
"""

import msgspec

from schemas.commands import COMMANDS, Command
from schemas.errors import BlazzError, ErrorCode
from schemas.records import Assignment
from schemas.subjects import node_command
from schemas.transport import typed
from schemas.transport.connection import Bus, NoResponders


class NotReceived(BlazzError):
    """Surely no node took the request: nobody serves it, or our own bus was away."""


class NodeCommands:
    """Typed commands over the bus; holds nothing."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ask(
        self, assignment: Assignment, name: str, command: Command, *, timeout_s: float | None = None
    ) -> msgspec.Struct:
        """Send a command of `commands.COMMANDS` and wait for its reply struct.

        Raises what the node refused with; `NotReceived` (`node_unreachable`) when it surely did
        not get it; `node_unreachable` when no answer came: then nobody knows.
        """
        spec = COMMANDS[name]
        if not self._bus.connected:
            raise NotReceived(ErrorCode.NATS_UNAVAILABLE, "the bus is away")
        node_id = assignment.node_id
        if node_id is None:
            raise NotReceived(ErrorCode.NODE_UNREACHABLE, "no node can take the session now")
        try:
            reply: msgspec.Struct = await typed.request(
                self._bus,
                node_command(node_id, name),
                command,
                spec.reply,
                timeout_s=timeout_s or spec.timeout_s,
            )
        except NoResponders:
            raise NotReceived(
                ErrorCode.NODE_UNREACHABLE, "the node is not connected", node_id=node_id
            ) from None
        except BlazzError as error:
            if error.code is ErrorCode.TIMEOUT:
                raise BlazzError(
                    ErrorCode.NODE_UNREACHABLE, "no answer in time", node_id=node_id
                ) from error
            raise
        return reply
