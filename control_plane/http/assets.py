"""Static files that ship with the package: read once, named by content.

Owns reading, their types and their caching. Never reads a path that a request names.
"""

import hashlib
from importlib import resources
from typing import Any, Final

import msgspec
from litestar import Response

_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Asset(msgspec.Struct, frozen=True):
    """A file's bytes and what is said of them."""

    content: bytes
    media_type: str
    etag: str


def load_assets(package: str) -> dict[str, Asset]:
    """Every servable file in a package's `assets` directory, by name."""
    folder = resources.files(package).joinpath("assets")
    found: dict[str, Asset] = {}
    for entry in folder.iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in _TYPES:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
            found[entry.name] = Asset(content, _TYPES[suffix], etag)
    return found


def read_template(package: str, name: str) -> str:
    """A page's template from a package's `assets` directory."""
    return resources.files(package).joinpath("assets", name).read_text(encoding="utf-8")


def serve_asset(asset: Asset, request: Any) -> Response[bytes]:
    """The file, or 304 if the browser has it. It is revalidated, so an upgrade shows at once."""
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
