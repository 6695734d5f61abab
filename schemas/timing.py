"""Timing: the two profiles of how fast the bus is judged and a lease runs, with reasons.

Owns the figures every process must share to agree on who is alive. Pure data: never reads a clock.
"""

from typing import Final

import msgspec


class TimingProfile(msgspec.Struct, frozen=True, kw_only=True):
    """All in seconds, except shares (0 to 1)."""

    name: str
    connect_timeout_s: float = 5.0
    """One dial: TCP, TLS and sign-in."""
    ping_interval_s: float = 5.0
    """nats-py's own PING; a second line behind the self-ping."""
    self_ping_interval_s: float
    """A message to ourselves: proves that both directions and the read loop work."""
    self_ping_timeout_s: float
    redial_delay_min_s: float
    redial_delay_max_s: float
    """Redials wait a random part of a doubling delay between these, so that a fleet does not
    storm a server that comes back."""
    jetstream_timeout_s: float
    fetch_timeout_s: float = 5.0
    """A pull that was in flight when a server died waits this long: 5 s or less."""
    lease_ttl_s: float
    lease_renew_s: float
    lease_safety_share: float = 0.3
    """The holder gives up this share of the TTL early, by its own clock, counted from BEFORE it
    sent: it has stopped before anyone else can begin."""
    heartbeat_s: float
    """A node's pulse on the core bus."""
    suspect_after_s: float
    """So much silence, about three missed pulses, raises doubt: nothing new is placed there."""
    lease_absent_grace_s: float
    """A lease must be seen absent for so long before its holder is given up: the holder stopped
    `lease_safety_share` of the TTL earlier by its own clock; this is for killing its engines."""
    restart_grace_s: float
    """A node that stopped by itself may come back to its own sessions for so long."""
    thaw_after_s: float
    """After an outage of our own, or when many nodes fall silent at once, verdicts wait for so
    long: everybody needs a moment to be heard again and to take its lease anew."""
    resync_jitter_s: float
    """Watches are made anew after a reconnect within this random delay, not all at once."""


FAST: Final = TimingProfile(
    name="fast",
    # One server on this machine or in this region answers in milliseconds and is back within a
    # second or two of a crash, so silence means something soon.
    self_ping_interval_s=2.0,
    self_ping_timeout_s=2.0,
    redial_delay_min_s=0.05,
    redial_delay_max_s=2.0,
    jetstream_timeout_s=5.0,
    # A killed node is given up 5 to 6 s after its last renewal, plus the grace. A holder renews
    # every 1.25 s and stops at 3.5 s: it may miss one renewal and half of the next.
    lease_ttl_s=5.0,
    lease_renew_s=1.25,
    heartbeat_s=1.0,
    suspect_after_s=3.0,
    lease_absent_grace_s=0.75,
    # A process is back in 2 to 4 s, an upgraded one somewhat later.
    restart_grace_s=8.0,
    thaw_after_s=5.0,
    resync_jitter_s=0.2,
)

CLUSTER: Final = TimingProfile(
    name="cluster",
    # A replicated stream takes 4 to 6 s to elect a new leader: a time-out under 10 s would turn
    # every election into an error, a TTL under 20 s into a lost lease.
    self_ping_interval_s=5.0,
    self_ping_timeout_s=5.0,
    redial_delay_min_s=0.25,
    redial_delay_max_s=10.0,
    jetstream_timeout_s=10.0,
    lease_ttl_s=20.0,
    lease_renew_s=4.0,
    heartbeat_s=3.0,
    suspect_after_s=10.0,
    lease_absent_grace_s=4.0,
    restart_grace_s=45.0,
    thaw_after_s=25.0,
    resync_jitter_s=3.0,
)

PROFILES: Final = {profile.name: profile for profile in (FAST, CLUSTER)}
