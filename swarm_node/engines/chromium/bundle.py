"""The wa-js bundle: found, and checked to be the pinned one.

Owns where it is looked for and its hash. Never changes it and never fetches it: `npm ci` does.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.settings import WA_JS_ENV, ChromiumSettings

WA_JS_VERSION: Final = "4.6.0"
WA_JS_SHA256: Final = "5bfb88027f14a4d8c9e319374e8bb4083201906881cf8c74f75789b32e4106bd"
"""Of `dist/wppconnect-wa.js`. Raise it together with package.json, after reading the changes."""

_PACKAGED: Final = Path(__file__).parent / "assets" / "wppconnect-wa.js"
_INSTALLED: Final = (
    Path(__file__).parents[3] / "node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"
)


class Bundle(msgspec.Struct, frozen=True):
    """The bundle's text, its version and where it came from."""

    path: Path
    version: str
    text: str


def find_bundle(settings: ChromiumSettings) -> Bundle:
    """Read the bundle: the setting, `BLAZZ_WA_JS`, the packaged asset, then node_modules.

    Raises `wa_js_missing` when there is none, or when it is not the pinned one: another version
    may lack what the engine calls, and a changed file could read every message.
    """
    path = _find(settings)
    raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != WA_JS_SHA256:
        raise BlazzError(
            ErrorCode.WA_JS_MISSING,
            f"{path} is not wa-js {WA_JS_VERSION} (its SHA-256 differs): run `npm ci`",
        )
    return Bundle(path=path, version=WA_JS_VERSION, text=raw.decode("utf-8"))


def _find(settings: ChromiumSettings) -> Path:
    from_environment = os.environ.get(WA_JS_ENV)
    named = settings.wa_js_path or (Path(from_environment) if from_environment else None)
    if named is not None:
        if not named.is_file():
            raise BlazzError(ErrorCode.WA_JS_MISSING, f"there is no file at {named} ({WA_JS_ENV})")
        return named
    for path in (_PACKAGED, _INSTALLED):
        if path.is_file():
            return path
    raise BlazzError(
        ErrorCode.WA_JS_MISSING,
        f"run ./justw (it runs `npm ci`), or set {WA_JS_ENV} to wa-js {WA_JS_VERSION}'s "
        "dist/wppconnect-wa.js",
    )
