"""Redaction: no secret, phone number or body passes the one processor."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from cli.log_setup import REDACTED, configure_logging, redact, redact_text

SESSION = "ses_01jd8v6k2zq4w9y3x7m5n1p0rt"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging(node_id="node-a")
    yield out
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("call +6281234567890 now", "6281234567890"),
        ("from 6281234567890@c.us came", "6281234567890"),
        ("key blz_live_0123456789ab_s3cr3t00aa", "s3cr3t"),
        ("seed SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", "SUACSSL3"),
        ("qr 2@AbCdEfGhIjKlMnOpQrSt,abc=,def=,ghi=", "AbCdEfGh"),
        ("GET /link/AbCdEfGhIjKlMnOpQrStUv", "AbCdEfGh"),
    ],
)
def test_patterns_are_taken_out(text: str, gone: str) -> None:
    assert gone not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        f"session {SESSION} started",
        "message 3EB0123456789012345678 sent",
        "listening on 127.0.0.1:18080",
        "took 12.345678 s",
        "at 2026-11-22T21:17:00.000000Z",
    ],
)
def test_ids_addresses_and_times_stay(text: str) -> None:
    assert redact_text(text) == text


def test_fields_are_redacted_at_any_depth() -> None:
    event = {
        "event": "message.sent",
        "epoch": 7,
        "command": {"to": "6281234567890@c.us", "content": {"text": "secret plans"}},
        "list": [{"phone": "6281234567890"}],
    }
    out = json.dumps(redact(None, "info", event))
    assert "6281234" not in out
    assert "secret plans" not in out
    assert REDACTED in out
    assert '"epoch": 7' in out


def test_every_line_is_json_with_the_bound_fields(lines: io.StringIO) -> None:
    structlog.get_logger().info("session.started", session_id=SESSION, text="secret plans")
    logging.getLogger("some.library").error("cannot reach +6281234567890")
    try:
        raise ValueError("bad number 6281234567890@c.us")
    except ValueError:
        structlog.get_logger().exception("session.failed")
    rows = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [row["event"] for row in rows][::2] == ["session.started", "session.failed"]
    assert all(row["node_id"] == "node-a" for row in rows)
    assert rows[0]["session_id"] == SESSION
    assert "6281234567890" not in lines.getvalue()
    assert "secret plans" not in lines.getvalue()
