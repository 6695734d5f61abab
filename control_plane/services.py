"""The composition of the control plane's services, and their lifetimes.

Owns who is built from what and which background tasks run for which role. Never a decision. The
order of leaving is the reverse of entering: dispatching and reconciling end (their leases are
given back) before the state they read.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from control_plane.access.id_secret import IdSecret
from control_plane.access.idempotency import BucketIdempotency
from control_plane.access.keys import BucketAccess
from control_plane.access.tenant_cache import TenantCache
from control_plane.access.tenants import BucketTenants
from control_plane.accounts import NodeAccounts
from control_plane.audit import StreamAudit
from control_plane.config import ControlPlaneSettings, Role
from control_plane.core.liveness import LivenessRules
from control_plane.dead_letters import StreamDeadLetters
from control_plane.dispatcher.delivery import Delivery
from control_plane.dispatcher.endings import Endings
from control_plane.dispatcher.shard import ShardDispatcher
from control_plane.dispatcher.team import DispatcherTeam
from control_plane.erasure import TenantErasures
from control_plane.feed.stream_feed import StreamFeed
from control_plane.feed.told import serve_told
from control_plane.fleet import OperatorFleet
from control_plane.history import Historian
from control_plane.ledger.folder import fold_events
from control_plane.ledger.opening import TenantRetention, open_ledger
from control_plane.media.inbound import InboundMedia
from control_plane.media.inbound_store import StreamInboundMedia
from control_plane.media.keeper import MediaKeeper
from control_plane.media.remote import OutboundMedia
from control_plane.media.server import serve_media
from control_plane.media.store import JetStreamMediaStore
from control_plane.media.uploads import StreamUploads
from control_plane.messages import LaneMessages
from control_plane.node_commands import NodeCommands
from control_plane.operations import FleetOperations
from control_plane.outbound.client import Outbound
from control_plane.outbox import OutboxLanes
from control_plane.pacing.book import PacingBook, keep_book
from control_plane.pacing.contacts import Contacts
from control_plane.pacing.service import BucketSending
from control_plane.ports import Services, SnapshotAdmission
from control_plane.reconciler.acts import Acts
from control_plane.reconciler.loop import Reconciler
from control_plane.renewals import find_signer, serve_renewals
from control_plane.sessions import FleetSessions
from control_plane.snapshots import PointerSnapshots
from control_plane.state.commits import Commits
from control_plane.state.fleet_state import FleetState
from control_plane.state.fleet_watch import keep_fed
from control_plane.state.fleet_writer import FleetWriter
from control_plane.state.placement_writer import PlacementWriter
from control_plane.traces import StreamTraces
from control_plane.vault.admission import NoSnapshots
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.vault import open_vault, serve_vault
from control_plane.webhooks.run import WebhookNeeds, open_webhooks
from schemas.records import LeaseRecord
from schemas.resources import FLEET
from schemas.subjects import OUTBOX_SHARDS
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket

log = structlog.get_logger()

_GAUGES_EVERY_S = 5.0


@asynccontextmanager
async def open_services(bus: Bus, settings: ControlPlaneSettings) -> AsyncIterator[Services]:
    """Run the roles of `settings` for the block. The streams and buckets must exist
    (`transport.ensure.ensure_all`).

    Raises `nats_unavailable` if the fleet's records cannot be read in time; a crash of a
    background task ends the block with its error.
    """
    liveness = settings.liveness or LivenessRules.of(bus.settings.profile)
    state = FleetState(liveness, now=time.monotonic())
    bucket = Bucket(bus, FLEET)
    commits = Commits(bucket, state)
    writer, placements = FleetWriter(commits), PlacementWriter(commits)
    nodes = NodeCommands(bus)
    sessions = FleetSessions(
        bucket,
        state,
        writer,
        nodes,
        default_engine=settings.default_engine,
    )
    media = JetStreamMediaStore(bus, settings.media)
    inbound = InboundMedia(StreamInboundMedia(bus), state, nodes)
    tenant_cache = TenantCache(bus)
    ledger_settings = settings.ledger
    retention_of = TenantRetention(
        tenant_cache, ledger_settings.checked(ledger_settings.retention_s)
    )
    book = PacingBook(settings.pacing)
    contacts = Contacts(bus, book)
    outbox = OutboxLanes(bus, depth_max=settings.lane_depth_max)
    feed = StreamFeed(bus, followers_max=settings.feed_followers_max)
    fleet = OperatorFleet(bus, state, feed)
    me = LeaseRecord(settings.replica, uuid.uuid4().hex, time.time())
    async with (
        keep_fed(bus, state, sync_timeout_s=settings.sync_timeout_s),
        keep_book(bus, book, sync_timeout_s=settings.sync_timeout_s),
        serve_media(bus, state, media),
        serve_told(bus),
        serve_renewals(
            bus, find_signer(settings.node_signer_file), ttl_s=settings.node_credential_s
        ),
        Outbound(settings.outbound) as outbound,
        _snapshots(bus, state, settings, me) as (admission, keys),
        open_ledger(bus, settings.ledger, retention_of) as ledger,
        open_webhooks(
            bus,
            WebhookNeeds(
                outbound=outbound,
                keys=keys,
                check_session=sessions.record,
                deliver_as=me if Role.WEBHOOKS in settings.roles else None,
            ),
            settings.webhooks,
        ) as webhooks,
        Background() as tasks,
    ):
        tasks.start(ledger.follow(), name="ledger follow")
        tasks.start(fold_events(bus, ledger), name="ledger fold")
        keeper = MediaKeeper(
            bus, state, inbound, tenant_cache, retention_of, ledger, settings.inbound_media
        )
        tasks.start(keeper.run(), name="inbound media")
        tasks.start(_keep_gauges(fleet), name="gauges")
        if Role.RECONCILER in settings.roles:
            acts = Acts(
                state, writer, placements, nodes, admission, settings.reconciler.rules.needs
            )
            reconciler = Reconciler(bus, state, acts, settings.reconciler)
            tasks.start(reconciler.run(me), name="reconciler")
            tasks.start(Historian(bus, state).run(me), name="history")
        if Role.DISPATCHER in settings.roles:
            endings = Endings(bus, state, ledger, contacts)
            delivery = Delivery(state, endings, nodes, book, settings.dispatcher.rules)
            sends = asyncio.Semaphore(settings.dispatcher.sends_max)
            shards = [
                ShardDispatcher(bus, number, state, delivery, book, settings.dispatcher, sends)
                for number in range(OUTBOX_SHARDS)
            ]
            tasks.start(DispatcherTeam(bus, state, me, shards).run(), name="dispatchers")
            tasks.start(contacts.follow(), name="contacts")
        log.info("control_plane.opened", roles=sorted(settings.roles), replica=settings.replica)
        erasures = TenantErasures(bus, sessions, ledger)
        if Role.RECONCILER in settings.roles:
            tasks.start(erasures.run(me), name="erasure")
        messages = LaneMessages(outbox, book, IdSecret(bus), sessions, ledger, media, inbound)
        dead_letters = StreamDeadLetters(bus, sessions, outbox, ledger)
        sending = BucketSending(bus, sessions, outbox, book, contacts)
        yield Services(
            sessions=sessions,
            messages=messages,
            dead_letters=dead_letters,
            sending=sending,
            media=media,
            uploads=StreamUploads(bus, media),
            remote_media=OutboundMedia(outbound, settings.remote_media),
            accounts=NodeAccounts(sessions, nodes),
            tenants=BucketTenants(
                bus,
                default_region=settings.default_region,
                check_retention=settings.ledger.checked,
                cache_s=settings.auth_cache_s,
                cache_max=settings.auth_cache_max,
            ),
            feed=feed,
            access=BucketAccess(
                bus,
                cache_s=settings.auth_cache_s,
                cache_max=settings.auth_cache_max,
                check_session=sessions.record,
            ),
            idempotency=BucketIdempotency(bus, in_flight_s=settings.idempotency_in_flight_s),
            fleet=fleet,
            operations=FleetOperations(state, placements),
            erasures=erasures,
            webhooks=webhooks,
            audit=StreamAudit(bus),
            traces=StreamTraces(bus, messages, sending, dead_letters, webhooks),
            snapshots=PointerSnapshots(bus, sessions, state),
        )


@asynccontextmanager
async def _snapshots(
    bus: Bus, state: FleetState, settings: ControlPlaneSettings, me: LeaseRecord
) -> AsyncIterator[tuple[SnapshotAdmission, DataKeys | None]]:
    """Open the vault, serve it where the role says so, and give what the reconciler needs, and the
    keys (None: the fleet has no master key)."""
    if settings.vault is None:
        yield NoSnapshots(), None
        return
    async with AsyncExitStack() as stack:
        vault = await stack.enter_async_context(open_vault(bus, settings.vault))
        if Role.VAULT in settings.roles:
            await stack.enter_async_context(serve_vault(bus, state, vault, settings.vault, me))
        yield vault.admission, vault.keys


async def _keep_gauges(fleet: OperatorFleet) -> None:
    while True:
        fleet.set_gauges()
        await asyncio.sleep(_GAUGES_EVERY_S)
