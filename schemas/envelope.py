"""Envelopes: how an answer to a command travels, and the headers beside a payload.

Owns the reply frame and header names. Never holds a payload's fields.
"""

from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode

HEADER_MESSAGE_ID: Final = "Nats-Msg-Id"
HEADER_TRACE: Final = "traceparent"
HEADER_CHAT: Final = "Blazz-Chat"
"""In the outbox: whom a message is for, as `control_plane/core/contacts.py` writes it."""


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it crosses the bus. An unknown code (a newer peer) reads as `internal`."""

    code: str
    detail: str = ""
    fields: dict[str, str | int] = {}

    @classmethod
    def of(cls, error: BlazzError) -> "ErrorBody":
        """Make it from the exception."""
        return cls(code=error.code.value, detail=error.detail, fields=dict(error.fields))

    def to_error(self) -> BlazzError:
        """Make the exception again."""
        try:
            code = ErrorCode(self.code)
        except ValueError:
            return BlazzError(ErrorCode.INTERNAL, f"{self.code}: {self.detail}")
        return BlazzError(code, self.detail, **self.fields)


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer: exactly one of `ok` (the reply struct, still encoded) and `error`.

    `ok` is empty bytes when absent: msgspec can't decode a union with `Raw`.
    """

    ok: msgspec.Raw = msgspec.Raw(b"")
    error: ErrorBody | None = None
