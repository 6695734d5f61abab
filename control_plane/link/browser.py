"""A link page's browser: the first that starts it has it for good.

Owns the cookie and its comparison. A GET never binds: chat programs fetch links for previews.
"""

import hashlib
import hmac
import secrets
from typing import Final

from litestar.datastructures import Cookie

from control_plane.http.bodies import AnyRequest
from control_plane.http.settings import HttpSettings
from control_plane.ports import Services
from schemas.errors import BlazzError, ErrorCode
from schemas.records import LinkTokenRecord

COOKIE: Final = "blazz_link"
_SECRET_BYTES: Final = 32


async def opened(request: AnyRequest, services: Services, token: str) -> LinkTokenRecord:
    """The token's record, for a browser that may see its page. Raises `link_token_invalid`,
    `link_in_use`."""
    record = await services.access.open_link(token)
    if record.browser_sha256 is not None:
        _check(record, request.cookies.get(COOKIE, ""))
    return record


async def taken(
    request: AnyRequest, services: Services, settings: HttpSettings, token: str
) -> Cookie | None:
    """Give the link to this browser, if nobody has it; the cookie that says so from now on.
    Raises as `opened`."""
    record = await opened(request, services, token)
    if record.browser_sha256 is not None:
        return None
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    record = await services.access.bind_link(token, _sha256(secret))
    _check(record, secret)
    return Cookie(
        COOKIE,
        value=secret,
        path=f"/link/{token}",
        max_age=max(1, round(record.expires_at - settings.wall_clock())),
        httponly=True,
        # Not strict: whoever follows the link from a chat again must be known.
        samesite="lax",
        secure=(settings.public_url or str(request.base_url)).startswith("https:"),
    )


def _check(record: LinkTokenRecord, secret: str) -> None:
    if not hmac.compare_digest(record.browser_sha256 or "", _sha256(secret)):
        raise BlazzError(ErrorCode.LINK_IN_USE)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
