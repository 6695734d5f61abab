"""The init script: wa-js and our own files, as one text.

Owns their order and the guard around them. Never changes the bundle.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from swarm_node.engines.chromium.bundle import Bundle
from swarm_node.engines.chromium.settings import ORIGIN

FILES: Final = (
    "core.js",
    "storage.js",
    "messages.js",
    "events.js",
    "recent.js",
    "state.js",
    "lookup.js",
    "linking.js",
    "media.js",
    "contents.js",
    "changes.js",
    "send.js",
    "presence.js",
    "account.js",
    "install.js",
)
BINDING: Final = "__blazzPush"
_HERE: Final = Path(__file__).parent


@lru_cache(maxsize=2)
def init_script(bundle: Bundle) -> str:
    """What runs in every new document, before the page's own scripts.

    Only in WhatsApp's own top frame. Two settings of wa-js must be there before the bundle runs:
    its analytics is on by default, and for link previews it asks servers of third parties, with
    the link, unless it is given an empty list; WhatsApp's own preview is used then.
    """
    ours = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in FILES)
    return (
        f"if (location.origin === {ORIGIN!r} && window.top === window && !window.__blazz) {{\n"
        "window.WPPConfig = { disableGoogleAnalytics: true, linkPreviewApiServers: [] };\n"
        f"{bundle.text}\n"
        f"(() => {{\n'use strict';\n{ours}\n}})();\n"
        "}\n"
    )
