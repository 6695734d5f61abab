"""The doctor's checks of a fleet through its API: answer, clock, certificate, nodes, webhooks.

Owns these checks. Only reads: it sends no test event.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from cli.client import Api
from cli.findings import Finding, Verdict, from_error
from cli.target import Fleet
from schemas.api import NodePage
from schemas.errors import BlazzError, ErrorCode
from schemas.states import NodeState
from schemas.webhooks import WebhookPage, WebhookView

_TIMEOUT_S: Final = 10.0
SKEW_WARN_S: Final = 2.0
"""The `Date` header has whole seconds only."""
SKEW_FAIL_S: Final = 30.0
EXPIRY_WARN_DAYS: Final = 21
EXPIRY_FAIL_DAYS: Final = 3
_WEBHOOKS_LOOKED_AT: Final = 20
_DAY_S: Final = 86_400.0


async def check_fleet(fleet: Fleet) -> list[Finding]:
    """All of them; without an answer from the API only that."""
    first = await _answer(fleet)
    findings = [*first]
    if any(finding.verdict is Verdict.FAIL for finding in first):
        return findings
    if urlsplit(fleet.api_url).scheme == "https":
        findings.append(await _certificate(fleet.api_url))
    checks: tuple[Callable[[Api], Awaitable[Finding]], ...] = (_nodes, _webhooks)
    async with Api(fleet.api_url, fleet.key, timeout_s=_TIMEOUT_S) as api:
        findings += [await check(api) for check in checks]
    return findings


async def _answer(fleet: Fleet) -> list[Finding]:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    began, sent_at = time.monotonic(), time.time()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{fleet.api_url.rstrip('/')}/readyz") as answer,
        ):
            body = await answer.read()
            took_s = time.monotonic() - began
    except (aiohttp.ClientError, TimeoutError) as error:
        fix = "is the control plane up, and the address right? `blazz context show`"
        return [Finding("api", Verdict.FAIL, f"{fleet.api_url}: {type(error).__name__}", fix)]
    if answer.status != 200:
        fix = "it waits for the bus or its state: look at the control plane's log"
        said = body[:200].decode(errors="replace")
        return [Finding("api", Verdict.FAIL, f"answers {answer.status}: {said}", fix)]
    detail = f"{fleet.api_url} is ready, in {took_s * 1000:.0f} ms"
    found = [Finding("api", Verdict.OK, detail, value=took_s, unit="seconds")]
    said_at = answer.headers.get("Date")
    if said_at is not None:
        middle = sent_at + took_s / 2
        found.append(skew("clock (api)", middle - parsedate_to_datetime(said_at).timestamp() - 0.5))
    return found


def skew(check: str, apart_s: float) -> Finding:
    """How far this machine's clock is from another's."""
    size = abs(apart_s)
    detail = f"{size:.1f} s {'ahead' if apart_s > 0 else 'behind'}"
    if size < SKEW_WARN_S:
        return Finding(check, Verdict.OK, detail, value=apart_s, unit="seconds")
    verdict = Verdict.FAIL if size >= SKEW_FAIL_S else Verdict.WARN
    return Finding(check, verdict, detail, "run chrony or systemd-timesyncd", apart_s, "seconds")


async def _certificate(url: str) -> Finding:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _reader, writer = await asyncio.open_connection(
                host, port, ssl=ssl.create_default_context(), server_hostname=host
            )
    except (OSError, TimeoutError) as error:
        fix = "renew it, or trust its issuer on this machine"
        return Finding("certificate (api)", Verdict.FAIL, f"{type(error).__name__}: {error}", fix)
    try:
        held = writer.get_extra_info("peercert") or {}
    finally:
        writer.close()
    return expiry("certificate (api)", ssl.cert_time_to_seconds(held["notAfter"]), time.time())


def expiry(check: str, ends_at: float, now: float) -> Finding:
    """How long a certificate is still valid."""
    days = (ends_at - now) / _DAY_S
    detail = f"valid for {days:.0f} more days"
    left_s = ends_at - now
    if days >= EXPIRY_WARN_DAYS:
        return Finding(check, Verdict.OK, detail, value=left_s, unit="seconds")
    verdict = Verdict.FAIL if days < EXPIRY_FAIL_DAYS else Verdict.WARN
    return Finding(check, verdict, detail, "renew it", left_s, "seconds")


async def _nodes(api: Api) -> Finding:
    try:
        nodes = (await api.call("GET", "/v1/nodes", NodePage)).data
    except BlazzError as error:
        if error.code is ErrorCode.FORBIDDEN:
            return Finding("nodes", Verdict.OK, "not looked at: the key has no scope operator")
        return from_error("nodes", error)
    away = [node.node_id for node in nodes if node.state is not NodeState.ALIVE]
    count = float(len(away))
    if not nodes:
        return Finding("nodes", Verdict.WARN, "there are none", "start one: `blazz node`")
    if away:
        fix = "look at `blazz node show`, and at its machine"
        return Finding("nodes", Verdict.WARN, f"not alive: {', '.join(away)}", fix, count, "nodes")
    builds = {node.chromium_build for node in nodes if node.chromium_build}
    unboxed = [node.node_id for node in nodes if not node.chromium_sandbox]
    if unboxed:
        fix = "run nodes as an ordinary user, on a host that allows user namespaces"
        detail = f"without Chromium's sandbox: {', '.join(unboxed)}"
        return Finding("nodes", Verdict.WARN, detail, fix)
    if len(builds) > 1:
        fix = "bring them to one build: a snapshot opens only with the build that made it"
        return Finding("nodes", Verdict.WARN, f"Chromium {', '.join(sorted(builds))}", fix)
    return Finding("nodes", Verdict.OK, f"{len(nodes)} alive", value=count, unit="nodes")


async def _webhooks(api: Api) -> Finding:
    try:
        hooks = (await api.call("GET", "/v1/webhooks", WebhookPage)).data
        views = [
            await api.call("GET", f"/v1/webhooks/{hook.webhook_id}", WebhookView)
            for hook in hooks[:_WEBHOOKS_LOOKED_AT]
        ]
    except BlazzError as error:
        if error.code is ErrorCode.FORBIDDEN:
            return Finding("webhooks", Verdict.OK, "not looked at: the key has no scope webhooks")
        return from_error("webhooks", error)
    for view in views:
        if not view.enabled and view.disabled_reason != "by request":
            fix = f"mend the receiver, then: blazz webhook enable {view.webhook_id}"
            detail = f"{view.webhook_id} is disabled ({view.disabled_reason})"
            return Finding("webhooks", Verdict.WARN, detail, fix)
    dead = sum(view.backlog.dead for view in views if view.backlog)
    waiting = sum(view.backlog.waiting for view in views if view.backlog)
    detail = f"{len(hooks)} webhooks, {waiting} deliveries wait, {dead} were given up"
    if dead:
        fix = "`blazz webhook deliveries ID --state dead`, then `blazz webhook recover`"
        return Finding("webhooks", Verdict.WARN, detail, fix, float(dead), "deliveries")
    return Finding("webhooks", Verdict.OK, detail, value=float(dead), unit="deliveries")
