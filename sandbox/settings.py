"""What can be set about one sandbox.

Owns the settings record and how the sandbox finds the wa-js bundle. Never starts anything.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

LOCAL = "127.0.0.1"
WA_JS_ENV = "BLAZZ_WA_JS"
_BUNDLE = Path("node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js")
_ROOT = Path(__file__).resolve().parent.parent


class SandboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a sandbox.

    - `page_port`, `api_port`: 0 picks a free one.
    - `page_host`: the address of the page and the link, for nodes on a lab's other hosts; the
      phones are on 127.0.0.1 only.
    - `time_scale`: factor on the life of QR refs and pairing codes (0.01: a minute is 0.6 s).
    - `stale_after_frames`: how many stored frames an old snapshot may be behind before its device
      is unlinked.
    - `log_path`: also append the switch's log there, one JSON object a line.
    - `app_version`: the version the page reports as WhatsApp Web's.
    """

    page_host: str = LOCAL
    page_port: int = 0
    api_port: int = 0
    time_scale: float = 1.0
    stale_after_frames: int = 1000
    log_path: Path | None = None
    app_version: str = "2.3000.1045220589"
    queue_frames_max: int = 20_000
    login_timeout_s: float = 10.0


def find_wa_js() -> Path:
    """Path of the unmodified wa-js bundle: `BLAZZ_WA_JS`, else the one `npm ci` put in place.

    Raises `FileNotFoundError` with what to do about it.
    """
    named = os.environ.get(WA_JS_ENV)
    path = Path(named) if named else _ROOT / _BUNDLE
    if not path.is_file():
        raise FileNotFoundError(f"no wa-js bundle: run `npm ci`, or set {WA_JS_ENV} to its path")
    return path
