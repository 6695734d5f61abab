"""Exit codes of the `blazz` command, and which error ends in which.

Owns that mapping. Never prints.
"""

from enum import IntEnum
from typing import Final

from schemas.errors import ErrorCode


class Exit(IntEnum):
    """What a script can rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNREACHABLE = 5
    CONFLICT = 6
    INTERRUPTED = 130


_BY_CODE: Final[dict[ErrorCode, Exit]] = {
    ErrorCode.CONFIG_INVALID: Exit.USAGE,
    ErrorCode.VALIDATION_FAILED: Exit.USAGE,
    ErrorCode.NATS_UNAVAILABLE: Exit.UNREACHABLE,
    ErrorCode.NODE_UNREACHABLE: Exit.UNREACHABLE,
    ErrorCode.DATA_DIR_LOCKED: Exit.CONFLICT,
    ErrorCode.PORT_IN_USE: Exit.CONFLICT,
    ErrorCode.NODE_ID_IN_USE: Exit.CONFLICT,
}
_BY_HTTP: Final = {401: Exit.DENIED, 403: Exit.DENIED, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}


def exit_code(code: ErrorCode, http: int) -> Exit:
    """The exit code for an error."""
    return _BY_CODE.get(code) or _BY_HTTP.get(http, Exit.FAILED)
