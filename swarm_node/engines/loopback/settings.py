"""Settings of the loopback engine, its faults among them.

Owns the records. Never a default address: which switch to talk to is the node's configuration.
"""

import msgspec


class LoopbackFaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong on purpose; nothing by default.

    - `start_delay_s`: the launch takes that much longer.
    - `start_fails`: every launch ends in `browser_start_failed`.
    - `never_ready`: launched, but neither a code nor a link ever comes of it.
    - `crash_after_s`: the engine crashes that long after its launch (0: never).
    - `replies_lost`: so many sends reach the switch, but end in `page_timeout` here.
    - `probes_lost`: so many probes get no answer (-1: none ever does).
    - `stop_hangs`: it does not end by a stop, only by a kill.
    """

    start_delay_s: float = 0.0
    start_fails: bool = False
    never_ready: bool = False
    crash_after_s: float = 0.0
    replies_lost: int = 0
    probes_lost: int = 0
    stop_hangs: bool = False


class LoopbackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the switch is and how long to wait for it.

    `link_url` (`wss://…`) and `media_url` (`https://…`, without a path) name the switch; `ca_pem`
    is the one certificate trusted for both.
    """

    link_url: str = ""
    media_url: str = ""
    ca_pem: str = ""
    app_version: str = "2.3000.0"
    ready_timeout_s: float = 20.0
    answer_timeout_s: float = 10.0
    redial_first_s: float = 0.1
    redial_longest_s: float = 5.0
    faults: LoopbackFaults = LoopbackFaults()
