"""Problems: every error answer, RFC 9457, from THE table in `schemas.errors`.

Owns the way from an exception to `application/problem+json`. Never lets an unforeseen
exception's text out: those become `internal` with a request id, and are logged.
"""

import math
import re
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from control_plane.http.headers import request_id
from control_plane.http.rate_limiter import RateNote
from schemas import log_keys
from schemas.api import FieldProblem, Problem
from schemas.errors import ERRORS, BlazzError, ErrorCode

log = structlog.get_logger()

PROBLEM_NOTE: Final = "problem"
"""Where the request's state keeps the code it was refused with, for the audit log."""
PROBLEM_JSON: Final = "application/problem+json"
RETRY_LATER_S: Final = 5
"""`Retry-After` where nothing better is known: about a reconcile's or a restart's time."""

_BY_HTTP: Final = {
    400: ErrorCode.MALFORMED_REQUEST,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    422: ErrorCode.VALIDATION_FAILED,
    429: ErrorCode.RATE_LIMITED,
}
_BY_PATH_PARAMETER: Final = {
    "session_id": ErrorCode.SESSION_NOT_FOUND,
    "message_id": ErrorCode.MESSAGE_NOT_FOUND,
    "key_id": ErrorCode.NOT_FOUND,
    "media_id": ErrorCode.MEDIA_NOT_FOUND,
    "upload_id": ErrorCode.MEDIA_NOT_FOUND,
    "webhook_id": ErrorCode.WEBHOOK_NOT_FOUND,
    "event_id": ErrorCode.DELIVERY_NOT_FOUND,
}
_MSGSPEC_PATH: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MSGSPEC_FIELD: Final = re.compile(r"(?:unknown|required) field `(?P<field>[^`]+)`")


class InvalidFields(BlazzError):
    """`validation_failed`, or a code that says more, with the fields that are wrong."""

    def __init__(
        self, *errors: FieldProblem, code: ErrorCode = ErrorCode.VALIDATION_FAILED
    ) -> None:
        super().__init__(code, "; ".join(e.message for e in errors))
        self.errors = list(errors)


def invalid(path: str, message: str) -> InvalidFields:
    """One wrong field."""
    return InvalidFields(FieldProblem(path, message))


def from_msgspec(error: msgspec.ValidationError) -> InvalidFields:
    """Read the field's path out of msgspec's message."""
    text = str(error)
    found = _MSGSPEC_PATH.search(text)
    path = found["path"] if found else ""
    message = text[: found.start()] if found else text
    if field := _MSGSPEC_FIELD.search(message):
        path = f"{path}.{field['field']}" if path else field["field"]
    return invalid(path, message)


def problem_of(error: Exception, scope: Any) -> tuple[Problem, dict[str, str]]:
    """The problem an exception stands for, and the headers that go with it."""
    code, detail, errors, fields = _read(error)
    spec = ERRORS[code]
    path = scope.get("path", "")
    problem = Problem(
        type=f"/docs/errors#{code}",
        title=spec.title,
        status=spec.http,
        code=code,
        detail=detail,
        # Only the API's own paths: a link page's holds its token.
        instance=path if path.startswith("/v1/") else "",
        mend=spec.mend,
        retryable=spec.retryable,
        request_id=request_id(scope),
        errors=errors,
        fields=fields,
    )
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException) and error.headers:
        headers.update(error.headers)
    if code is ErrorCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="blazz"'
    if spec.retryable and spec.http in (429, 503):
        headers["Retry-After"] = str(fields.get("retry_after_s") or _retry_after_s(scope))
    return problem, headers


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    problem, headers = problem_of(error, request.scope)
    request.scope["state"][PROBLEM_NOTE] = problem.code
    if problem.status >= 500 and not isinstance(error, BlazzError):
        log.error("http.request.failed", exc_info=error, **{log_keys.REQUEST: problem.request_id})
    elif problem.status >= 500:
        log.warning(
            "http.request.refused",
            **{log_keys.CODE: problem.code, log_keys.REQUEST: problem.request_id},
        )
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def _read(
    error: Exception,
) -> tuple[ErrorCode, str, list[FieldProblem], dict[str, str | int]]:
    if isinstance(error, InvalidFields):
        return error.code, error.detail, error.errors, error.fields
    if isinstance(error, BlazzError):
        return error.code, error.detail, [], error.fields
    if isinstance(error, ValidationException):
        return _read_parameters(error)
    if isinstance(error, HTTPException):
        code = _BY_HTTP.get(error.status_code, ErrorCode.INTERNAL)
        return code, "", [], {}
    return ErrorCode.INTERNAL, "", [], {}


def _read_parameters(
    error: ValidationException,
) -> tuple[ErrorCode, str, list[FieldProblem], dict[str, str | int]]:
    """Wrong path, query or header parameters, as Litestar found them."""
    extra: Any = error.extra
    wrong = [e for e in extra if isinstance(e, dict)] if isinstance(extra, list) else []
    for item in wrong:
        # An id that can't exist is an id that doesn't.
        if item.get("key") in _BY_PATH_PARAMETER:
            return _BY_PATH_PARAMETER[item["key"]], "", [], {}
    errors = [
        FieldProblem(str(item.get("key", "")), str(item.get("message", ""))) for item in wrong
    ]
    return ErrorCode.VALIDATION_FAILED, "; ".join(e.message for e in errors), errors, {}


def _retry_after_s(scope: Any) -> int:
    note = scope.get("state", {}).get("rate")
    if isinstance(note, RateNote) and not note.verdict.allowed:
        return max(1, math.ceil(note.verdict.retry_after_s))
    return RETRY_LATER_S
