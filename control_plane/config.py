"""Settings of the control plane's services: one struct, checked once at the start.

Owns defaults and their reasons. Never reads a file or the environment: `cli` does. What the HTTP
side needs has its own struct in `http/`.
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from control_plane.core.delivery import DeliveryRules
from control_plane.core.liveness import LivenessRules
from control_plane.core.reconcile import PlanRules
from control_plane.ledger.settings import LedgerSettings
from control_plane.media.keeper import InboundMediaSettings
from control_plane.media.quota import MediaLimits
from control_plane.media.remote import RemoteLimits
from control_plane.outbound.settings import OutboundSettings
from control_plane.vault.settings import VaultSettings
from control_plane.webhooks.settings import WebhookSettings
from schemas.pacing import PacingRules
from schemas.states import EngineKind


class Role(StrEnum):
    """What a replica does. `api` may run on any number; the others hold leases."""

    API = "api"
    RECONCILER = "reconciler"
    DISPATCHER = "dispatcher"
    VAULT = "vault"
    """Takes and serves snapshots (any number of replicas); one of them prunes."""
    WEBHOOKS = "webhooks"


ALL_ROLES = frozenset(Role)


class ReconcilerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reconciler's pace."""

    sweep_s: float = 5.0
    """How often everything is looked at again although nothing seems to have changed."""
    plan_gap_s: float = 0.05
    """At least this long between two plans: a plan is linear in the number of sessions."""
    commands_max: int = 64
    backoff_min_s: float = 0.5
    backoff_max_s: float = 30.0
    settle_s: float = 3.0
    """After a command worked, its effect is given this long to be observed before a repeat."""
    rules: PlanRules = PlanRules()


class DispatcherSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dispatcher's pace."""

    sends_max: int = 64
    """Messages in flight at once, over all lanes; one a lane."""
    turn_messages: int = 8
    """A busy lane goes to the back of the queue after this many."""
    sweep_s: float = 10.0
    """How often the lanes are listed anew, should the change feed have missed one."""
    hand_over_s: float = 5.0
    """When another replica takes a shard over, messages in flight have so long to end."""
    rules: DeliveryRules = DeliveryRules()


class ControlPlaneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the services need to know. `replica` names this process on leases."""

    replica: str = "control-plane-1"
    roles: frozenset[Role] = ALL_ROLES
    default_engine: EngineKind = EngineKind.CHROMIUM
    default_region: str | None = None
    """For phone numbers written without a country code, such as `ID`, where the tenant has no
    region of its own."""
    liveness: LivenessRules | None = None
    """None: those of the bus's timing profile, which the nodes share."""
    reconciler: ReconcilerSettings = ReconcilerSettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    pacing: PacingRules = PacingRules()
    """For tenants and sessions that want nothing otherwise."""
    vault: VaultSettings | None = None
    """None: the fleet keeps no snapshots, and a session dies with its node's disk."""
    webhooks: WebhookSettings = WebhookSettings()
    sync_timeout_s: float = 20.0
    auth_cache_s: float = 3.0
    """For so long a revoked key may still work."""
    auth_cache_max: int = 10_000
    idempotency_in_flight_s: float = 120.0
    """A first request that has not ended by then died with its process."""
    media: MediaLimits = MediaLimits()
    inbound_media: InboundMediaSettings = InboundMediaSettings()
    remote_media: RemoteLimits = RemoteLimits()
    outbound: OutboundSettings = OutboundSettings()
    """Where customers' addresses may lead."""
    lane_depth_max: int = 10_000
    """So many messages may wait for one session; more are refused with `queue_full`."""
    ledger: LedgerSettings = LedgerSettings()
    node_signer_file: Path | None = None
    """Renews nodes' credentials for the bus; None: systemd's credential `node-signer`, or, without
    one, they are not renewed."""
    node_credential_s: float = 86_400.0
    """For so long a renewed one is good."""
    feed_followers_max: int = 200
    """Event readers at once on this replica; each is a consumer on the server."""
