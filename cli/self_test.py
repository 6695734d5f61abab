"""`blazz node self-test`: can this host hold sessions, and does the node that runs here?

Owns which checks are made and their bounds. It starts one scratch browser without any network and
signs in to the bus once more, as the node; it never touches a session, the node's data or its
lease. For whoever upgrades a node, before sessions come back to it.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from cli import settings_file
from cli.doctor_fleet import skew
from cli.doctor_machine import (
    check_cgroups,
    check_disk,
    check_memory,
    check_shared_memory,
)
from cli.findings import Finding, Verdict, from_error
from schemas.errors import BlazzError, ErrorCode
from schemas.resources import FLEET, bucket_stream
from schemas.states import EngineKind
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from swarm_node.config import NodeSettings
from swarm_node.credentials import NodeCredential
from swarm_node.data_dir import DataDir
from swarm_node.http import About

_CONNECT_S: Final = 5.0
_HTTP_S: Final = 5.0
_READY_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.5
_BROWSER_S: Final = 90.0
_UNIT_CREDENTIALS: Final = Path("/run/credentials/blazz-node.service")
_LOOK: Final = "look at `systemctl status blazz-node` and `journalctl -u blazz-node`"


class Expected(msgspec.Struct, frozen=True):
    """What the caller wants to see; None: anything."""

    version: str | None = None
    chromium: str | None = None


class _Clock(msgspec.Struct, frozen=True):
    ts: datetime


async def self_test(config: Path, expected: Expected) -> list[Finding]:
    """All checks; settings that don't load are the only finding then. Bounded."""
    try:
        settings = await asyncio.to_thread(
            settings_file.load, NodeSettings, config, _environ(os.environ)
        )
    except BlazzError as error:
        return [from_error("settings", error)]
    findings = [Finding("settings", Verdict.OK, f"{config} ({settings.node_id})")]
    findings.append(_installed(expected))
    findings += [check_memory(), check_disk(settings.data_dir), check_shared_memory()]
    findings.append(check_cgroups())
    about, running = await _node(settings, expected)
    findings += running
    findings += await _bus(settings)
    if EngineKind.CHROMIUM in settings.engines:
        findings += await _browser(settings, expected, about)
    return findings


def _environ(environ: Mapping[str, str]) -> Mapping[str, str]:
    """With the unit's own credentials, for a test that runs beside the unit."""
    here = settings_file.CREDENTIALS_ENV
    if here in environ or not _UNIT_CREDENTIALS.is_dir():
        return environ
    return {**environ, here: str(_UNIT_CREDENTIALS)}


def _installed(expected: Expected) -> Finding:
    found = version("blazz")
    if expected.version in (None, found):
        return Finding("release", Verdict.OK, found)
    fix = f"point /opt/blazz/current at the release {expected.version}"
    return Finding("release", Verdict.FAIL, f"{found}, not {expected.version}", fix)


async def _node(settings: NodeSettings, expected: Expected) -> tuple[About | None, list[Finding]]:
    """The process that runs here, by its own HTTP endpoint."""
    if settings.http_port == 0:
        fix = "give `http_port` a number in the node's settings"
        return None, [Finding("node", Verdict.FAIL, "its HTTP port is not known", fix)]
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    base = f"http://{host}:{settings.http_port}"
    timeout = aiohttp.ClientTimeout(total=_HTTP_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        try:
            async with http.get(f"{base}/livez") as answer:
                about = msgspec.json.decode(await answer.read(), type=About)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            detail = f"no answer at {base}: {type(error).__name__}"
            return None, [Finding("node", Verdict.FAIL, detail, _LOOK)]
        return about, [_who(about, settings, expected), await _ready(http, base)]


def _who(about: About, settings: NodeSettings, expected: Expected) -> Finding:
    if about.node_id != settings.node_id:
        fix = "give the nodes of one host different values of `http_port`"
        return Finding("node", Verdict.FAIL, f"{about.node_id} answers in its place", fix)
    if expected.version not in (None, about.version):
        detail = f"runs {about.version}, not {expected.version}"
        return Finding("node", Verdict.FAIL, detail, "systemctl restart blazz-node")
    return Finding("node", Verdict.OK, f"{about.node_id} runs {about.version}")


async def _ready(http: aiohttp.ClientSession, base: str) -> Finding:
    began_s = time.monotonic()
    said = ""
    while True:
        try:
            async with http.get(f"{base}/readyz") as answer:
                checks: dict[str, bool] = msgspec.json.decode(await answer.read())
                if answer.status == 200:
                    return Finding("ready", Verdict.OK, "bus connected, lease held")
                said = ", ".join(f"no {name}" for name, well in checks.items() if not well)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            said = type(error).__name__
        if time.monotonic() - began_s > _READY_S:
            return Finding("ready", Verdict.FAIL, said, _LOOK)
        await asyncio.sleep(_LOOK_EVERY_S)


async def _bus(settings: NodeSettings) -> list[Finding]:
    """With the node's own credentials; its permissions let it ask no more than this."""
    quick = msgspec.structs.replace(
        settings.bus_settings(),
        name=f"{settings.node_id} self-test",
        first_connect_timeout_s=_CONNECT_S,
    )
    try:
        if settings.bus.creds_file is not None:
            held = NodeCredential(
                settings.node_id,
                Path(settings.bus.creds_file),
                DataDir(settings.data_dir).credential,
            )
            newest = await asyncio.to_thread(held.newest)
            quick = msgspec.structs.replace(quick, creds_file=str(newest))
        async with Bus.connect(quick) as bus:
            began_s = time.monotonic()
            told = await JetStream(bus).api(f"STREAM.INFO.{bucket_stream(FLEET)}", None, _Clock)
            took_s = time.monotonic() - began_s
            apart_s = time.time() - took_s / 2 - told.ts.timestamp()
    except BlazzError as error:
        return [from_error("bus", error)]
    detail = f"answers {settings.node_id} in {took_s * 1000:.1f} ms"
    return [
        Finding("bus", Verdict.OK, detail, value=took_s, unit="seconds"),
        skew("clock (bus)", apart_s),
    ]


async def _browser(
    settings: NodeSettings, expected: Expected, about: About | None
) -> list[Finding]:
    from swarm_node.engines.chromium.trial import try_browser

    try:
        async with asyncio.timeout(_BROWSER_S):
            trial = await try_browser(settings.chromium)
    except BlazzError as error:
        missing = error.code is ErrorCode.WA_JS_MISSING
        return [from_error("wa-js" if missing else "chromium", error)]
    except TimeoutError:
        detail = f"a scratch browser took more than {_BROWSER_S:g} s"
        return [Finding("chromium", Verdict.FAIL, detail, "look at the host's load and memory")]
    findings = [
        _build(trial.build, expected, about),
        Finding("wa-js", Verdict.OK, f"{trial.wa_js} runs in a page"),
    ]
    findings.append(_sandbox(trial.sandboxed, about))
    if about is not None:
        findings.append(_groups(about))
    return findings


def _groups(about: About) -> Finding:
    check = "session cgroups"
    if about.session_groups:
        return Finding(check, Verdict.OK, "one a session")
    fix = "run it by blazz-node.service on cgroups version 2; its log says why (session_groups.off)"
    return Finding(check, Verdict.WARN, "none: one session's growth hits all", fix)


def _build(found: str, expected: Expected, about: About | None) -> Finding:
    if expected.chromium not in (None, found):
        fix = f"install Chromium {expected.chromium}: profiles are tied to the fleet's build"
        return Finding("chromium", Verdict.FAIL, f"{found}, not {expected.chromium}", fix)
    if about is not None and about.chromium_build not in (None, found):
        detail = f"{found} is installed, the node began with {about.chromium_build}"
        return Finding("chromium", Verdict.FAIL, detail, "systemctl restart blazz-node")
    return Finding("chromium", Verdict.OK, f"{found} starts and shows a page")


def _sandbox(tried: bool, about: About | None) -> Finding:
    check = "chromium sandbox"
    if about is not None and not about.chromium_sandbox:
        fix = "run the node as an ordinary user, on a host that allows user namespaces"
        verdict = Verdict.WARN if os.geteuid() == 0 else Verdict.FAIL
        return Finding(check, verdict, "the node runs its browsers without it", fix)
    if tried:
        return Finding(check, Verdict.OK, "on")
    if os.geteuid() == 0:
        fix = "run the self-test as the node's user"
        return Finding(check, Verdict.WARN, "can't be tried as root", fix)
    fix = "let this user make user namespaces (docs/systemd.md)"
    return Finding(check, Verdict.FAIL, "can't run here", fix)
