"""Permissions: what each kind of identity may publish and subscribe to on the bus.

Owns the lists, as pure functions; `cli/embedded` and the Ansible role put them into the server's
configuration. Least privilege: a machine that is taken over must not be able to speak for another.
"""

from collections.abc import Iterable

import msgspec

from schemas.keys import lease_epoch_key, lease_key, node_key, observed_key
from schemas.resources import EVENTS, FLEET, FLEET_HISTORY, bucket_stream, bucket_subject
from schemas.subjects import (
    ALL_ANNOUNCES,
    ALL_HEARTBEATS,
    ROOT,
    events_of_node,
    node_commands,
    node_everything,
)


class Permissions(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects an identity may use. `allow_responses`: it may answer requests it was sent."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    allow_responses: bool = False


def inbox_prefix(identity: str) -> str:
    """The inbox of one identity; no other may read it, so answers cannot be overheard."""
    return f"_INBOX_{identity}"


def _inbox(identity: str) -> str:
    return f"{inbox_prefix(identity)}.>"


def control_plane(identity: str) -> Permissions:
    """A control plane: all of Blazz, all of JetStream, and its own inbox."""
    return Permissions(
        publish=(
            f"{ROOT}.>",
            "$JS.API.>",
            "$JS.ACK.>",
            "$KV.>",
            _inbox(identity),
        ),
        subscribe=(f"{ROOT}.>", "$KV.>", _inbox(identity)),
        allow_responses=True,
    )


def node(node_id: str) -> Permissions:
    """A node: its own pulse, events and records; its own commands; nothing of another's.

    It may read the fleet bucket key by key (it needs its lease and its sessions' assignments) but
    neither list nor consume it, and it has no other JetStream right.
    """
    fleet = bucket_stream(FLEET)
    return Permissions(
        publish=(
            node_everything(node_id),
            events_of_node(node_id),
            bucket_subject(FLEET, node_key(node_id)),
            bucket_subject(FLEET, lease_key("node", node_id)),
            bucket_subject(FLEET, lease_epoch_key("node", node_id)),
            bucket_subject(FLEET, observed_key(node_id, "*")),
            f"$JS.API.STREAM.MSG.GET.{fleet}",
            f"$JS.API.STREAM.INFO.{fleet}",
            # Its own inbox: a message to itself proves the connection.
            _inbox(node_id),
        ),
        subscribe=(node_commands(node_id), _inbox(node_id)),
        allow_responses=True,
    )


def viewer(identity: str) -> Permissions:
    """A watching terminal: reads the fleet and the events, writes nothing."""
    streams = (bucket_stream(FLEET), EVENTS, FLEET_HISTORY)
    return Permissions(
        publish=(*_reading(streams), _inbox(identity)),
        subscribe=(ALL_ANNOUNCES, ALL_HEARTBEATS, _inbox(identity)),
    )


def _reading(streams: Iterable[str]) -> list[str]:
    """Look at a stream and read it through short-lived consumers."""
    subjects = []
    for stream in streams:
        subjects += [
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.CONSUMER.CREATE.{stream}.>",
            f"$JS.API.CONSUMER.INFO.{stream}.*",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
            f"$JS.API.CONSUMER.DELETE.{stream}.*",
        ]
    return subjects
