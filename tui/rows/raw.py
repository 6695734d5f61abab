"""Raw records: what `y` shows, as JSON, without what must not be read off a screen.

Pure. Message bodies are never shown; numbers are masked unless asked for.
"""

from typing import Any, Final

import msgspec

from tui.rows import words

HIDDEN: Final = "•••"
_BODIES: Final = frozenset(
    {"text", "caption", "body", "content", "quoted", "value", "name_of_file", "filename", "emoji",
     "options", "vcard", "answer", "thumbnail", "message_text", "title", "description"}
)  # fmt: skip
_SECRETS: Final = frozenset({"secret", "secrets", "key", "nkey", "token", "url_secret"})
_IDS: Final = frozenset(
    {"session_id", "tenant_id", "node_id", "event_id", "message_id", "webhook_id", "incarnation",
     "version", "address", "chromium_build", "cause"}
)  # fmt: skip


def raw_json(value: object, *, show_phones: bool) -> str:
    """Indented JSON of structs, dicts and lists."""
    plain = msgspec.to_builtins(value)
    return msgspec.json.format(
        msgspec.json.encode(_masked(plain, "", show_phones)), indent=2
    ).decode()


def _masked(value: Any, key: str, show_phones: bool) -> Any:
    if key in _SECRETS or (key in _BODIES and value):
        return HIDDEN
    match value:
        case dict():
            return {name: _masked(each, name, show_phones) for name, each in value.items()}
        case list() | tuple():
            return [_masked(each, key, show_phones) for each in value]
        case str() if not show_phones and key not in _IDS:
            return words.mask_numbers(value)
        case _:
            return value
