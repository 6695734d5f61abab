"""Settings of the node's half of the vault.

Owns the record and its defaults; seconds everywhere.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from swarm_node.core.backoff import BackoffPolicy
from swarm_node.core.snapshot_rules import CapturePolicy


class VaultSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a node keeps its sessions' states.

    - `captures_at_once_max`: reading, compressing and sealing take a core for a moment each.
    - `request_timeout_s`: for one chunk or commit, `request_tries_max` times with `retry` between.
    - `last_max_s`: how long a stop or a move may wait for its last snapshot.
    - `restore_max_s`: how long fetching and unpacking may take before a launch.
    """

    policy: CapturePolicy = CapturePolicy()
    captures_at_once_max: Annotated[int, Meta(ge=1)] = 2
    page_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    request_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    request_tries_max: Annotated[int, Meta(ge=1)] = 4
    retry: BackoffPolicy = BackoffPolicy(first_s=0.2, longest_s=2.0)
    last_max_s: Annotated[float, Meta(gt=0)] = 12.0
    restore_max_s: Annotated[float, Meta(gt=0)] = 60.0
