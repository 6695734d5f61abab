"""The documentation pages: the reference, the table of errors and their own assets.

Owns `/docs`, `/docs/errors`, `/openapi.json`. Nothing on them comes from another host, so they
work without internet and under a strict policy.
"""

import re
from html import escape
from string import Template
from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from control_plane.http.assets import load_assets, read_template, serve_asset
from control_plane.http.auth import PUBLIC
from control_plane.http.bodies import AnyRequest
from control_plane.http.headers import PAGE_CSP
from control_plane.http.openapi import describe
from schemas.errors import ERRORS, BlazzError, ErrorCode

_PACKAGE = "control_plane.http"
_ASSETS = load_assets(_PACKAGE)
_OPEN = {"access": PUBLIC}


@get(
    "/openapi.json",
    operation_id="openapi",
    summary="This description",
    tags=["Probes"],
    opt=_OPEN,
)
async def openapi_json(request: AnyRequest) -> Response[dict[str, Any]]:
    """`GET /openapi.json`"""
    state = request.app.state
    if "openapi_document" not in state:
        state["openapi_document"] = msgspec.json.encode(describe(request.app))
    return Response(
        state["openapi_document"],
        media_type="application/json",
        headers={"Cache-Control": "no-cache"},
    )


@get("/docs", include_in_schema=False, opt=_OPEN)
async def docs() -> Response[str]:
    """`GET /docs`"""
    return page("API reference", '<div id="reference" aria-busy="true">Loading…</div>')


@get("/docs/errors", include_in_schema=False, opt=_OPEN)
async def errors() -> Response[str]:
    """`GET /docs/errors`: where every problem's `type` points."""
    return page("Errors", error_table())


@get("/docs/assets/{name:str}", include_in_schema=False, opt=_OPEN)
async def docs_asset(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
    """`GET /docs/assets/…`"""
    asset = _ASSETS.get(name)
    if asset is None:
        raise BlazzError(ErrorCode.NOT_FOUND)
    return serve_asset(asset, request)


def page(title: str, body: str) -> Response[str]:
    """A page in the docs' frame."""
    template = Template(read_template(_PACKAGE, "docs.html"))
    return Response(
        template.substitute(title=escape(title), body=body),
        media_type="text/html",
        headers={"Content-Security-Policy": PAGE_CSP, "Cache-Control": "no-cache"},
    )


def error_table() -> str:
    """Every code, its HTTP status, whether a retry can help, and what to do."""
    rows = "".join(
        f'<tr id="{code}"><th scope="row"><a href="#{code}"><code>{code}</code></a></th>'
        f"<td>{spec.http}</td><td>{'yes' if spec.retryable else 'no'}</td>"
        f"<td>{escape(spec.title)}.</td><td>{_with_code(spec.mend)}</td></tr>"
        for code, spec in ERRORS.items()
    )
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Code", "HTTP", "Retry may help", "Meaning", "What to do")
    )
    return (
        "<h1>Errors</h1><p>Every error answer is an RFC 9457 problem "
        "(<code>application/problem+json</code>). Its <code>code</code> never changes its meaning."
        f'</p><div class="wide" tabindex="0" role="region" aria-label="Table of errors"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _with_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


ROUTES: list[Any] = [openapi_json, docs, errors, docs_asset]
