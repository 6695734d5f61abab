"""Settings of the webhooks: times, limits and the schedule.

Owns defaults and their reasons.
"""

import msgspec

from control_plane.core.webhook_delivery import SCHEDULE_S


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the webhooks need to know. The limits with `_max` are per webhook unless said
    otherwise."""

    timeout_s: float = 15.0
    """For a whole attempt: name, connection, TLS, answer."""
    schedule_s: tuple[float, ...] = SCHEDULE_S
    answer_bytes_max: int = 1_024
    """Of what a receiver answers; its beginning is in the log."""
    sends_max: int = 8
    """First attempts in flight at once; those of one session go one after the other."""
    retries_max: int = 4
    """Later attempts in flight at once, beside the first ones."""
    hand_max: int = 64
    """Events taken from the stream and not answered yet."""
    ack_wait_s: float = 30.0
    """An event whose replica died comes again after this; one in hand is kept alive."""
    waiting_max: int = 5_000
    """Above it, a webhook that is down gets no new first attempts: its events wait in the stream.
    One that merely refuses some events has the later of them given up."""
    dead_kept: int = 1_000
    webhooks_max_per_tenant: int = 20
    webhooks_max: int = 500
    """Of all tenants: each is a consumer of EVENTS, which has 1000 and other readers, too."""
    sweep_s: float = 5.0
    """How often a shard looks although nothing seems to have changed."""
    records_sweep_s: float = 60.0
    """How often every webhook's record is looked up: one was purged with its tenant."""
