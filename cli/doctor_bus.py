"""The doctor's checks of the bus and the stores, with a control plane's own settings.

Owns these checks. Only reads; it connects as that control plane does.
"""

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from cli.doctor_backup import check_since
from cli.doctor_fleet import expiry, skew
from cli.findings import Finding, Verdict, from_error
from cli.parts import ControlPlaneFile
from control_plane.ledger.settings import LedgerStoreKind
from control_plane.mongo import ping, read_uri
from control_plane.vault.settings import StoreKind
from schemas.bus_credentials import parse_credentials
from schemas.errors import BlazzError
from schemas.resources import EVENTS, all_streams
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream

_CONNECT_S: Final = 5.0
RTT_WARN_S: Final = 0.1
FULL_WARN: Final = 0.8
FULL_FAIL: Final = 0.95
LAG_WARN: Final = 10_000
CREDENTIAL_WARN_SHARE: Final = 0.2
"""Of its life."""


class _Clock(msgspec.Struct, frozen=True):
    ts: datetime


class _Limits(msgspec.Struct, frozen=True):
    max_storage: int = -1


class _Account(msgspec.Struct, frozen=True):
    storage: int = 0
    reserved_storage: int = 0
    limits: _Limits = _Limits()


class _Consumer(msgspec.Struct, frozen=True):
    name: str
    num_pending: int = 0


class _Consumers(msgspec.Struct, frozen=True):
    consumers: list[_Consumer] = []


async def check_bus(settings: ControlPlaneFile, backups: Path | None = None) -> list[Finding]:
    """All of them; without a bus only that. `backups`: where those are that the streams are held
    against."""
    findings: list[Finding] = []
    quick = msgspec.structs.replace(settings.bus_settings(), first_connect_timeout_s=_CONNECT_S)
    try:
        async with Bus.connect(quick) as bus:
            findings += await _on_bus(bus)
            if backups is not None:
                findings.append(await check_since(bus, backups))
    except BlazzError as error:
        findings.append(from_error("bus", error))
    tls = settings.bus.tls
    for path in (getattr(tls, "ca_file", None), getattr(tls, "cert_file", None)):
        if path:
            findings.append(_certificate_file(Path(path)))
    if settings.bus.creds_file:
        findings.append(await asyncio.to_thread(check_credential, Path(settings.bus.creds_file)))
    return findings + await _stores(settings)


def check_credential(path: Path, now: float | None = None) -> Finding:
    """How long a credential for the bus is still good. Blocking."""
    name = f"credential {path.name}"
    fix = f"`blazz identity renew {path.name}` where the fleet is deployed, then put it here"
    try:
        claims = parse_credentials(path.read_text(encoding="ascii")).claims
    except (OSError, UnicodeDecodeError, BlazzError) as error:
        return Finding(name, Verdict.FAIL, f"can't be read: {type(error).__name__}", fix)
    if not claims.exp:
        return Finding(name, Verdict.OK, "never ends")
    left_s = claims.exp - (time.time() if now is None else now)
    if left_s <= 0:
        return Finding(name, Verdict.FAIL, "has ended", fix, left_s, "seconds")
    detail = f"good for {left_s / 3600:.0f} more hours"
    soon = claims.life_left(claims.exp - left_s) < CREDENTIAL_WARN_SHARE
    verdict = Verdict.WARN if soon else Verdict.OK
    return Finding(name, verdict, detail, fix if soon else "", left_s, "seconds")


async def _on_bus(bus: Bus) -> list[Finding]:
    jetstream = JetStream(bus)
    began = time.monotonic()
    told = await jetstream.api(f"STREAM.INFO.{EVENTS}", None, _Clock)
    rtt_s = time.monotonic() - began
    apart_s = time.time() - rtt_s / 2 - told.ts.timestamp()
    slow = rtt_s > RTT_WARN_S
    rtt = Finding(
        "bus",
        Verdict.WARN if slow else Verdict.OK,
        f"answers in {rtt_s * 1000:.1f} ms",
        "a control plane belongs near its NATS servers" if slow else "",
        rtt_s,
        "seconds",
    )
    return [
        rtt,
        skew("clock (bus)", apart_s),
        await _room(jetstream),
        await _fill(jetstream),
        await _lag(jetstream),
    ]


async def _room(jetstream: JetStream) -> Finding:
    account = await jetstream.api("INFO", None, _Account)
    if account.limits.max_storage <= 0:
        return Finding("jetstream room", Verdict.OK, f"{account.storage >> 20} MiB, no limit")
    share = account.storage / account.limits.max_storage
    limit = f"{account.storage >> 20} of {account.limits.max_storage >> 20} MiB"
    return _full("jetstream room", share, limit, "raise the account's max_file_store")


async def _fill(jetstream: JetStream) -> Finding:
    """Of the streams that refuse what is new when full, the fullest: the others let old data go,
    as they are meant to."""
    worst, share = "", 0.0
    for spec in all_streams():
        if not spec.discard_new:
            continue
        info = await jetstream.stream_info(spec.name)
        limit = int(info.config.get("max_bytes") or -1)
        if limit > 0 and info.state.bytes / limit >= share:
            worst, share = spec.name, info.state.bytes / limit
    fix = "raise store_scale in the control plane's settings, or look at what fills it"
    return _full("streams", share, f"fullest: {worst}", fix)


async def _lag(jetstream: JetStream) -> Finding:
    found = await jetstream.api(f"CONSUMER.LIST.{EVENTS}", {"offset": 0}, _Consumers)
    behind = max(found.consumers, key=lambda c: c.num_pending, default=None)
    count = 0 if behind is None else behind.num_pending
    detail = "none reads EVENTS" if behind is None else f"{behind.name} is {count} events behind"
    if count < LAG_WARN:
        return Finding("event lag", Verdict.OK, detail, value=float(count), unit="events")
    fix = "a webhook's receiver is slow or away (hook-…), or the ledger's store is"
    return Finding("event lag", Verdict.WARN, detail, fix, float(count), "events")


def _full(check: str, share: float, detail: str, fix: str) -> Finding:
    words = f"{share:.0%} full; {detail}"
    if share < FULL_WARN:
        return Finding(check, Verdict.OK, words, value=share, unit="ratio")
    verdict = Verdict.FAIL if share >= FULL_FAIL else Verdict.WARN
    return Finding(check, verdict, words, fix, share, "ratio")


def _certificate_file(path: Path) -> Finding:
    check = f"certificate ({path.name})"
    try:
        held = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Finding(check, Verdict.FAIL, f"{path}: {error}", "put a PEM certificate there")
    return expiry(check, held.not_valid_after_utc.timestamp(), time.time())


async def _stores(settings: ControlPlaneFile) -> list[Finding]:
    wanted: list[tuple[str, Path | None, str]] = []
    vault, ledger = settings.services.vault, settings.services.ledger
    if vault is not None and vault.store is StoreKind.MONGO:
        wanted.append(("vault", vault.mongo_uri_file, vault.mongo_database))
    if ledger.store is LedgerStoreKind.MONGO:
        wanted.append(("ledger", ledger.mongo_uri_file, ledger.mongo_database))
    return [await _mongo(*each) for each in wanted]


async def _mongo(part: str, uri_file: Path | None, database: str) -> Finding:
    check = f"mongodb ({part})"
    began = time.monotonic()
    try:
        uri = await asyncio.to_thread(read_uri, uri_file, part)
        await ping(uri, database)
    except BlazzError as error:
        return from_error(check, error)
    took_s = time.monotonic() - began
    detail = f"answers in {took_s * 1000:.0f} ms, connecting included"
    return Finding(check, Verdict.OK, detail, value=took_s, unit="seconds")
