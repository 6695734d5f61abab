"""Routes of the link page: the page, its events, its two POSTs and its assets.

Owns who may POST (the token, from our own pages) and what a GET never does: start, renew or
consume anything, because chat previews fetch links. Never answers with a key's rights.
"""

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from control_plane.http import audit, qr_images
from control_plane.http.assets import load_assets, serve_asset
from control_plane.http.auth import PUBLIC
from control_plane.http.bodies import AnyRequest, decode, read_body
from control_plane.http.dependencies import (
    OpenStreams,
    Ports,
    Settings,
    check_return_url,
)
from control_plane.http.event_stream import Emit
from control_plane.http.headers import PAGE_CSP
from control_plane.http.rate_limiter import RateLimiter
from control_plane.http.settings import HttpSettings
from control_plane.link import texts
from control_plane.link.browser import opened, taken
from control_plane.link.page import PairingCodeShown, dashed, render
from control_plane.link.session_link import SessionLink
from control_plane.link.views import view
from control_plane.ports import Principal, Services
from control_plane.recipients import phone_digits
from schemas.api import PairingCodeRequest
from schemas.errors import BlazzError, ErrorCode
from schemas.records import LinkTokenRecord

_ASSETS = load_assets("control_plane.link")
_OPEN = {"access": PUBLIC}
_BODY_BYTES_MAX = 4_096
_LINK_ID_CHARS: Final = 12
_HTML = "text/html"
_VIEWS_WITHOUT_LINK: Final = {
    ErrorCode.LINK_TOKEN_INVALID: "gone",
    ErrorCode.LINK_IN_USE: "taken",
}


class StartRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /link/{token}/start`; `pressed` when a person pressed the button."""

    pressed: bool = False


@get("/link/{token:str}", include_in_schema=False, opt=_OPEN)
async def link_page(
    request: AnyRequest, services: Ports, settings: Settings, token: FromPath[str]
) -> Response[str]:
    """`GET /link/{token}`"""
    try:
        record = await opened(request, services, token)
    except BlazzError as error:
        return _without_link(error)
    now = await SessionLink(services, record, settings.clock).read()
    return _html(render(token, now, _return_url(record)))


@get("/link/{token:str}/events", include_in_schema=False, opt=_OPEN)
async def link_events(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    streams: OpenStreams,
    token: FromPath[str],
) -> ASGIResponse:
    """`GET /link/{token}/events`: the views, as server-sent events."""
    record = await opened(request, services, token)
    link = SessionLink(services, record, settings.clock)

    async def source(emit: Emit) -> None:
        await link.follow(emit, settings.link_tick_s)

    return streams.respond(source)


@get("/link/{token:str}/qr.svg", include_in_schema=False, opt=_OPEN)
async def link_qr(
    request: AnyRequest, services: Ports, settings: Settings, token: FromPath[str]
) -> Response[str]:
    """`GET /link/{token}/qr.svg`: for browsers without scripts."""
    record = await opened(request, services, token)
    shown = await SessionLink(services, record, settings.clock).qr()
    return Response(qr_images.svg(shown.value, texts.CODE_LABEL), media_type="image/svg+xml")


@post(
    "/link/{token:str}/start",
    operation_id="startByLink",
    include_in_schema=False,
    opt=_OPEN,
    status_code=204,
)
async def link_start(
    request: AnyRequest, services: Ports, settings: Settings, token: FromPath[str]
) -> Response[None]:
    """`POST /link/{token}/start`: show a code."""
    record = await _permitted(request, services, settings, token)
    content_type, _ = request.content_type
    body = await read_body(request, _BODY_BYTES_MAX)
    as_json = content_type == "application/json"
    asked = decode(body, StartRequest) if as_json else StartRequest(pressed=True)
    await SessionLink(services, record, settings.clock).start(pressed=asked.pressed)
    # Only now: an error's answer would carry no cookie, and nobody could open the page any more.
    cookie = await taken(request, services, settings, token)
    cookies = [] if cookie is None else [cookie]
    if as_json:
        return Response(None, status_code=204, cookies=cookies)
    # Without scripts a form was sent: back to the page.
    headers = {"Location": f"/link/{token}"}
    return Response(None, status_code=303, headers=headers, cookies=cookies)


@post(
    "/link/{token:str}/pairing-code",
    operation_id="pairByLink",
    include_in_schema=False,
    opt=_OPEN,
    status_code=200,
)
async def link_pairing_code(
    request: AnyRequest, services: Ports, settings: Settings, token: FromPath[str]
) -> Response[Any]:
    """`POST /link/{token}/pairing-code`: JSON for the script, a page for a plain form."""
    content_type, _ = request.content_type
    as_json = content_type == "application/json"
    try:
        record = await _permitted(request, services, settings, token)
    except BlazzError as error:
        if as_json:
            return _refused(error)
        return _without_link(error)
    link = SessionLink(services, record, settings.clock)
    try:
        body = await read_body(request, _BODY_BYTES_MAX)
        phone = _phone_in(body, as_json=as_json)
        region = await services.tenants.region(record.tenant_id)
        answer = await link.pairing_code(phone_digits(phone, region=region))
    except BlazzError as error:
        if as_json:
            return _refused(error)
        shown = PairingCodeShown(error=_words(error))
        page = render(token, await link.read(), _return_url(record), shown)
        return _html(page, error.spec.http)
    if as_json:
        return Response({"code": dashed(answer.code), "expires_in_s": answer.expires_in_s})
    shown = PairingCodeShown(code=answer.code)
    return _html(render(token, await link.read(), _return_url(record), shown))


@get("/link-assets/{name:str}", include_in_schema=False, opt=_OPEN)
async def link_asset(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
    """`GET /link-assets/…`: the page's style and script."""
    asset = _ASSETS.get(name)
    if asset is None:
        raise BlazzError(ErrorCode.NOT_FOUND)
    return serve_asset(asset, request)


async def _permitted(
    request: AnyRequest, services: Services, settings: HttpSettings, token: str
) -> LinkTokenRecord:
    """The token's record, for a POST from our own page within the limit, written down as an act
    that begins; else raises."""
    if not same_origin(request, settings):
        raise BlazzError(ErrorCode.FORBIDDEN, "It must come from the link page itself.")
    record = await opened(request, services, token)
    limiter: RateLimiter = request.app.state.link_limiter
    limiter.charge(request.scope, record.token_sha256)
    # The audit log names the link by the beginning of its digest: its token is a secret.
    request.state["principal"] = Principal(
        record.tenant_id,
        record.token_sha256[:_LINK_ID_CHARS],
        frozenset(),
        session_id=record.session_id,
        key_name="link page",
    )
    await audit.begin(request, request.route_handler)
    return record


def same_origin(request: AnyRequest, settings: HttpSettings) -> bool:
    """Whether the browser says that our own page sent this. Silence counts as no."""
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = urlsplit(request.headers.get("origin", ""))
    ours = {request.headers.get("host", "")}
    if settings.public_url:
        ours.add(urlsplit(settings.public_url).netloc)
    return bool(origin.netloc) and origin.netloc in ours


def _phone_in(body: bytes, *, as_json: bool) -> str:
    if as_json:
        return decode(body, PairingCodeRequest).phone
    return parse_qs(body.decode("utf-8", "replace")).get("phone", [""])[0]


def _return_url(record: LinkTokenRecord) -> str | None:
    """Checked again: it becomes a link, whoever wrote the record."""
    try:
        return check_return_url(record.return_url)
    except BlazzError:
        return None


def _words(error: BlazzError) -> str:
    return texts.PHONE_ERRORS.get(error.code, texts.PHONE_NOT_YET)


def _refused(error: BlazzError) -> Response[Any]:
    return Response({"message": _words(error)}, status_code=error.spec.http)


def _without_link(error: BlazzError) -> Response[str]:
    """The page when there is no link to speak of."""
    name = _VIEWS_WITHOUT_LINK.get(error.code, "unavailable")
    return _html(render("", view(name)), error.spec.http)


def _html(page: str, http: int = 200) -> Response[str]:
    headers = {"Content-Security-Policy": PAGE_CSP, "X-Robots-Tag": "noindex, nofollow"}
    return Response(page, status_code=http, media_type=_HTML, headers=headers)


ROUTES: list[Any] = [
    link_page,
    link_events,
    link_qr,
    link_start,
    link_pairing_code,
    link_asset,
]
