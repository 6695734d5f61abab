"""Timings and bounds of one session's runner.

Owns the settings record. Seconds everywhere. Never a timing of the node itself (heartbeats,
lease): those are in `swarm_node/config.py`.
"""

import msgspec

from swarm_node.core.backoff import BackoffPolicy


class SessionTimings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a session is probed and how long anything about it may take.

    `probe_period_s` while online, `probe_unsettled_s` while syncing or degraded;
    `probes_unanswered_max` probes in a row without any answer mean that the engine hangs.
    `page_ready_max_s` bounds `starting`, should the engine itself not notice.
    """

    probe_period_s: float = 10.0
    probe_unsettled_s: float = 1.0
    probe_gap_s: float = 0.2
    probe_timeout_s: float = 8.0
    probes_unanswered_max: int = 3
    launch_max_s: float = 60.0
    page_ready_max_s: float = 180.0
    stop_max_s: float = 15.0
    kill_max_s: float = 5.0
    drain_max_s: float = 3.0
    call_max_s: float = 25.0
    send_max_s: float = 55.0
    sends_waiting_max: int = 8
    calls_at_once_max: int = 8
    qr_wait_s: float = 6.0
    pairing_code_life_s: float = 160.0
    events_waiting_max: int = 1000
    mailbox_max: int = 64
    backoff: BackoffPolicy = BackoffPolicy()
