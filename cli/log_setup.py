"""Logging: structlog as JSON lines, with every secret and phone number taken out in ONE place.

Owns the processor chain and the redaction. Every process of ours calls `configure_logging` once,
first; library loggers (stdlib) go through the same chain, so nothing passes it by.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

_SECRET_KEYS: Final = frozenset(
    {
        *("authorization", "x-api-key", "api_key", "key", "secret", "seed", "password", "token"),
        *("link_token", "cookie", "nonce", "proof", "signature"),
        *("qr", "value", "ref", "pairing_code", "full_code"),
        *("body", "text", "caption", "content", "data", "payload", "emoji"),
    }
)
"""Fields whose value never reaches a log, whatever it is."""

_PHONE_KEYS: Final = frozenset({"phone", "to", "chat_id", "from_id", "jid", "lid", "push_name"})

_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"blz_[a-z]+_[0-9A-Za-z_]+"), "[api key]"),
    (re.compile(r"\bwhsec_[0-9A-Za-z+/=]+"), "[webhook secret]"),
    (re.compile(r"\bS[UAOXNC][A-Z2-7]{40,}"), "[nkey seed]"),
    (re.compile(r"\b[12]@[0-9A-Za-z+/=,@_-]{16,}"), "[qr code]"),
    (re.compile(r"(?<=/link/)[0-9A-Za-z_-]{16,}"), "[link token]"),
    # A phone number stands alone, after a + or before an @; digits inside an id do not.
    (re.compile(r"(?<![0-9A-Za-z_.:-])\+?[1-9][0-9]{6,15}(?=@|(?![0-9A-Za-z_.:-]))"), "[number]"),
    (re.compile(r"\[number\]@[a-z.]+"), "[chat]"),
)

REDACTED: Final = "[redacted]"
_DEPTH_MAX: Final = 6


def redact_text(text: str) -> str:
    """Take what looks like a secret or a phone number out of a text."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def _redact(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {str(k): _redact_field(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(v, depth + 1) for v in value]
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    return redact_text(str(value))


def _redact_field(key: str, value: Any, depth: int) -> Any:
    name = key.lower()
    if name in _SECRET_KEYS and value is not None:
        return REDACTED
    if name in _PHONE_KEYS and isinstance(value, str):
        # The end is enough to recognise a case one knows, and too little to call anyone.
        return f"…{value.partition('@')[0][-2:]}"
    return _redact(value, depth)


def redact(
    _logger: object, _method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The one processor that every line passes."""
    return {
        key: _redact_field(key, value, 0) if key != "timestamp" else value
        for key, value in event_dict.items()
    }


def configure_logging(*, level: str = "info", pretty: bool = False, **bound: str) -> None:
    """Set logging up for this process: JSON to stderr, or readable lines when `pretty`.

    `bound` (for instance `node_id`) stands in every line.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]
    render: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if pretty
        else structlog.processors.JSONRenderer()
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak up only when something is wrong: their info lines are not our facts.
    root.setLevel(max(number, logging.WARNING))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
