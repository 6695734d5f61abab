"""What can be set about the Chromium engine.

Owns the settings record and its defaults. Never looks for a file or starts anything, and holds no
setting that only a test would use.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

ORIGIN: Final = "https://web.whatsapp.com"
EXECUTABLE_ENV: Final = "BLAZZ_CHROMIUM"
WA_JS_ENV: Final = "BLAZZ_WA_JS"

HostMode = Literal["isolated"]
"""`isolated`: one browser a session."""


class ChromiumSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of every Chromium engine of one node.

    - `executable`: the browser; None looks for one (`executable.find_executable`).
    - `wa_js_path`: the wa-js bundle; None looks for it (`bundle.find_bundle`).
    - `extra_args`: further Chromium arguments of the operator's. Values of `--host-resolver-rules`
      and `--disable-features` are merged with ours, so neither side loses.
    - `host_mode`: how sessions share browsers.
    - `launch_timeout_s`, `close_timeout_s`: limits on starting a browser and on its clean close;
      a browser that doesn't close is killed.
    - `page_ready_timeout_s`: how long one load may take until wa-js is fully ready.
    - `reloads_max`: how often a page that does not get ready, or fails its self-test, is loaded
      again before the engine gives up.
    - `crashes_max`: how many crashed pages are replaced within `crash_window_s`.
    - `call_timeout_s`: one call into the page. `send_timeout_s`: one send, until WhatsApp has it.
      `media_timeout_s`: one send or download of media.
    - `watch_period_s`, `watch_period_busy_s`: how often the page's state is read while nothing
      changes, and while it loads, links or syncs.
    - `catch_up_period_s`: how often messages are looked for that no event told of.
    - `server_check_period_s`: how old WhatsApp's last answer may be before a probe asks anew.
    - `page_age_max_s`: a page that old is loaded again, against growth; `page_heap_max_bytes`
      does the same by size. Neither logs out.
    - `qr_first_s`, `qr_next_s`, `qr_count`: how long WhatsApp's codes live, and how many a run has.
    - `session_memory_high_bytes`, `session_memory_max_bytes`, `session_tasks_max`: what one
      session's browser may take, where the node has a cgroup subtree of its own; None: no limit.
    - `events_max`: how many events may wait for the reader.
    """

    executable: Path | None = None
    wa_js_path: Path | None = None
    extra_args: tuple[str, ...] = ()
    host_mode: HostMode = "isolated"
    locale: str = "en-US"
    viewport_width: int = 1024
    viewport_height: int = 768
    v8_flags: tuple[str, ...] = ("--optimize-for-size", "--max-semi-space-size=1")
    launch_timeout_s: float = 30.0
    close_timeout_s: float = 8.0
    navigation_timeout_s: float = 45.0
    page_ready_timeout_s: float = 60.0
    reloads_max: int = 3
    crashes_max: int = 3
    crash_window_s: float = 600.0
    call_timeout_s: float = 10.0
    send_timeout_s: float = 20.0
    media_timeout_s: float = 120.0
    watch_period_s: float = 3.0
    watch_period_busy_s: float = 0.5
    catch_up_period_s: float = 20.0
    server_check_period_s: float = 30.0
    page_age_max_s: float = 24 * 3600.0
    page_heap_max_bytes: int = 400 * 1024 * 1024
    qr_first_s: float = 60.0
    qr_next_s: float = 20.0
    qr_count: int = 6
    session_memory_high_bytes: int | None = 1024 * 1024 * 1024
    session_memory_max_bytes: int | None = 1536 * 1024 * 1024
    session_tasks_max: int | None = 1024
    events_max: int = 1000


def settings_from_environment(environ: Mapping[str, str] | None = None) -> ChromiumSettings:
    """The defaults with `BLAZZ_CHROMIUM` and `BLAZZ_WA_JS` applied."""
    environ = os.environ if environ is None else environ
    executable, wa_js = environ.get(EXECUTABLE_ENV), environ.get(WA_JS_ENV)
    return ChromiumSettings(
        executable=Path(executable) if executable else None,
        wa_js_path=Path(wa_js) if wa_js else None,
    )
