"""`blazz webhook …` as people run it, against the API."""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import pytest

from cli.exit_codes import Exit
from schemas.errors import BlazzError
from schemas.webhooks import Recover, WebhookView
from tests.integration.http_server import ALL_SCOPES, TENANT, Running, running


async def blazz(api: Running, *words: str) -> tuple[int, str, str]:
    """Run the command; its exit code, stdout and stderr."""
    key = api.memory.access.new_key(TENANT, *ALL_SCOPES)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        "webhook",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"BLAZZ_API_URL": api.url, "BLAZZ_API_KEY": key, "PATH": "", "NO_COLOR": "1"},
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_webhook_from_its_first_day_to_its_last() -> None:
    async with running() as api:
        code, out, _ = await blazz(
            api,
            *("add", "https://example.com/hooks", "--event", "message.*", "--event", "session.qr"),
            *("-o", "json"),
        )
        made = msgspec.json.decode(out, type=WebhookView)
        assert (code, made.events) == (Exit.OK, ("message.*", "session.qr"))
        assert made.secret is not None
        hook = made.webhook_id
        shown, listed, tested, rotated, begun, none = await asyncio.gather(
            blazz(api, "show", hook),
            blazz(api, "list"),
            blazz(api, "test", hook),
            blazz(api, "rotate-secret", hook, "--overlap", "2h"),
            blazz(api, "recover", hook, "--since", "30m", "--all"),
            blazz(api, "deliveries", hook, "--state", "dead", "-o", "json"),
        )
        assert shown[0] == listed[0] == tested[0] == rotated[0] == begun[0] == Exit.OK
        assert made.secret not in shown[1] + listed[1]
        assert hook in listed[1]
        assert tested[1].startswith("delivered: answered 200")
        assert "whsec_" in rotated[1]
        assert "whsec_" not in rotated[2]
        assert (none[0], none[1]) == (Exit.OK, "[]\n")
        assert len(api.memory.webhooks.recovered) == 1
        wanted: Recover = api.memory.webhooks.recovered[0]
        assert wanted.all
        assert abs(time.time() - 1_800 - wanted.since) < 60
        off = await blazz(api, "disable", hook)
        assert off[1] == f"{hook}: disabled (by request)\n"
        tried = await blazz(api, "enable", hook, "--dry-run")
        assert tried[1] == f"would POST /v1/webhooks/{hook}/enable\n"
        assert not next(iter(api.memory.webhooks.all.values())).enabled
        gone = await blazz(api, "remove", hook, "--yes")
        assert (gone[0], api.memory.webhooks.all) == (Exit.OK, {})


async def test_what_cannot_be_done_is_said_with_an_exit_code() -> None:
    async with running() as api:
        hook = "whk_" + "0" * 26
        unknown, odd, refused = await asyncio.gather(
            blazz(api, "show", hook),
            blazz(api, "recover", hook, "--since", "yesterday"),
            blazz(api, "add", "https://10.0.0.1/"),
        )
        assert (unknown[0], odd[0]) == (Exit.NOT_FOUND, Exit.USAGE)
        assert "webhook_not_found" in unknown[2]
        assert "yesterday" in odd[2]
        assert "url_not_allowed" in refused[2]


@pytest.mark.parametrize(
    ("text", "wanted"), [("90s", 90.0), ("5m", 300.0), ("1.5h", 5_400.0), ("7d", 604_800.0)]
)
def test_spans_are_read(text: str, wanted: float) -> None:
    from cli.times import seconds

    assert seconds(text) == wanted


def test_moments_are_read_and_without_a_zone_they_are_utc() -> None:
    from cli.times import moment_of, seconds

    assert moment_of("2026-11-23T10:00:00Z") == 1_795_428_000.0
    assert moment_of("2026-11-23T10:00:00") == 1_795_428_000.0
    assert moment_of("2026-11-23T17:00:00+07:00") == 1_795_428_000.0
    for text in ("", "5", "m", "-5m", "1w"):
        with pytest.raises(BlazzError):
            seconds(text)
