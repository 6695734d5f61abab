"""Permissions: what each kind of identity may publish and subscribe to on the bus.

Owns the lists, as pure functions; `cli/embedded` and `cli/identity` put them into the server's
configuration and into signed accounts. Least privilege: a machine that is taken over must not be
able to speak for another.

In a fleet every node has a NATS account of its own, and takes from the fleet's account only what
`node_imports` says. Permissions alone are not enough: a publisher chooses the subject on which the
server acknowledges what it stored, the server does not look whether that subject is allowed, and
so an acknowledgement could be written over another's record. In an account of its own, a reply
leads nowhere else.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.keys import lease_epoch_key, lease_key, node_key, observed_key
from schemas.resources import EVENTS, FLEET, FLEET_HISTORY, bucket_stream, bucket_subject
from schemas.subjects import (
    ALL_ANNOUNCES,
    ALL_HEARTBEATS,
    CONTROL_PLANE,
    NODE_API,
    ROOT,
    events_of_node,
    node_asks,
    node_commands,
)

JETSTREAM_API: Final = "$JS.API"
RESPONSE_AGE_MAX_S: Final = 180.0
"""So long after a request its answer is still let through; longer than any handler runs."""


class Permissions(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects an identity may use. `allow_responses`: it may answer requests it was sent."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    allow_responses: bool = False


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """A subject of the fleet's account that another account takes. `local` is its name there.

    `stream`: it comes from the fleet; else it goes there, and its answers come back.
    """

    subject: str
    local: str
    stream: bool = False


def inbox_prefix(identity: str) -> str:
    """The inbox of one identity; no other may read it, so answers cannot be overheard."""
    return f"_INBOX_{identity}"


def control_plane_inbox_prefix(identity: str) -> str:
    """The inbox of a control plane: all of them lie under one subject, which nodes answer to."""
    return f"{inbox_prefix(CONTROL_PLANE)}.{identity}"


def _inbox(identity: str) -> str:
    return f"{inbox_prefix(identity)}.>"


def control_plane(identity: str) -> Permissions:
    """A control plane: all of Blazz, all of JetStream, and its own inbox."""
    own_inbox = f"{control_plane_inbox_prefix(identity)}.>"
    return Permissions(
        publish=(
            f"{ROOT}.>",
            f"{JETSTREAM_API}.>",
            "$JS.ACK.>",
            # Copies of whole streams, out and in: `blazz backup`, `blazz restore`.
            "$JS.SNAPSHOT.>",
            "$KV.>",
            own_inbox,
        ),
        subscribe=(f"{ROOT}.>", "$KV.>", own_inbox),
        allow_responses=True,
    )


def node_imports(node_id: str) -> tuple[Import, ...]:
    """All that a node's account takes from the fleet's. For `*`: all that any node may take."""
    fleet = bucket_stream(FLEET)
    own = (
        *node_asks(node_id),
        events_of_node(node_id),
        bucket_subject(FLEET, node_key(node_id)),
        bucket_subject(FLEET, lease_key("node", node_id)),
        bucket_subject(FLEET, lease_epoch_key("node", node_id)),
        bucket_subject(FLEET, observed_key(node_id, "*")),
    )
    calls = (f"STREAM.MSG.GET.{fleet}", f"STREAM.INFO.{fleet}")
    commands = node_commands(node_id)
    return (
        *(Import(subject=subject, local=subject) for subject in own),
        *(Import(subject=f"{JETSTREAM_API}.{it}", local=f"{NODE_API}.{it}") for it in calls),
        # For answers to commands alone: a control plane's inboxes have random names.
        Import(subject=_inbox(CONTROL_PLANE), local=_inbox(CONTROL_PLANE)),
        Import(subject=commands, local=commands, stream=True),
    )


def node(node_id: str, *, own_account: bool = False) -> Permissions:
    """A node: its own pulse, events and records; its own commands; nothing of another's.

    It may read the fleet bucket key by key (it needs its lease and its sessions' assignments) but
    neither list nor consume it, and it has no other JetStream right.
    """
    taken = [each for each in node_imports(node_id) if not each.stream]
    subjects = (each.local if own_account else each.subject for each in taken)
    return Permissions(
        # Answers are let through because they were asked for. The own inbox: a message to itself
        # proves the connection.
        publish=(*(s for s in subjects if s != _inbox(CONTROL_PLANE)), _inbox(node_id)),
        subscribe=(node_commands(node_id), _inbox(node_id)),
        allow_responses=True,
    )


def may_be_answered(subject: str, reply: str) -> bool:
    """Whether whoever asked on `subject` may have the answer at `reply`. A node chooses that
    subject, and the server does not check it; ours must not be led to write where the node may
    not. Answers to another account go to a subject of the server's."""
    parts = subject.split(".")
    if parts[:2] != [ROOT, "node"] or len(parts) < 4 or parts[3] == "cmd":
        return True
    inboxes = (inbox_prefix(parts[2]), inbox_prefix(CONTROL_PLANE))
    return reply.startswith((*(f"{inbox}." for inbox in inboxes), "_R_."))


def viewer(identity: str) -> Permissions:
    """A watching terminal: reads the fleet and the events, writes nothing."""
    streams = (bucket_stream(FLEET), EVENTS, FLEET_HISTORY)
    return Permissions(
        publish=(*_reading(streams), _inbox(identity)),
        subscribe=(ALL_ANNOUNCES, ALL_HEARTBEATS, _inbox(identity)),
    )


def backup(identity: str) -> Permissions:
    """Whoever takes backups: copies of every stream, and nothing written."""
    return Permissions(
        publish=(
            f"{JETSTREAM_API}.STREAM.INFO.*",
            f"{JETSTREAM_API}.STREAM.SNAPSHOT.*",
            "$JS.SNAPSHOT.ACK.>",
            _inbox(identity),
        ),
        subscribe=(_inbox(identity),),
    )


def _reading(streams: Iterable[str]) -> list[str]:
    """Look at a stream and read it through short-lived consumers."""
    subjects = []
    for stream in streams:
        subjects += [
            f"{JETSTREAM_API}.STREAM.INFO.{stream}",
            f"{JETSTREAM_API}.STREAM.MSG.GET.{stream}",
            f"{JETSTREAM_API}.CONSUMER.CREATE.{stream}.>",
            f"{JETSTREAM_API}.CONSUMER.INFO.{stream}.*",
            f"{JETSTREAM_API}.CONSUMER.MSG.NEXT.{stream}.*",
            f"{JETSTREAM_API}.CONSUMER.DELETE.{stream}.*",
        ]
    return subjects
