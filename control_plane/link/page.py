"""The link page's HTML, drawn once by the server; the script only changes what is there.

Owns the markup's blanks and their escaping. Never a word of text of its own.
"""

from html import escape
from string import Template
from typing import Final
from urllib.parse import urlsplit

import msgspec

from control_plane.http.assets import read_template
from control_plane.link import texts
from control_plane.link.views import View, view

_TEMPLATE: Final = Template(read_template("control_plane.link", "page.html"))
_LOCAL_VIEWS: Final = ("starting", "offline", "gone")
"""Views the page shows when it can't ask the server."""
RENEWAL_ROUNDS: Final = 2
"""How often an open, visible page asks for new codes by itself before it shows the button."""


class PairingCodeShown(msgspec.Struct, frozen=True):
    """For browsers without scripts: the code, or why there is none."""

    code: str = ""
    error: str = ""


def render(
    token: str,
    now: View,
    return_url: str | None = None,
    pairing: PairingCodeShown | None = None,
) -> str:
    """The whole page. `token` must be one that was looked up, or empty for the `gone` page."""
    shown = pairing or PairingCodeShown()
    local = {name: view(name) for name in _LOCAL_VIEWS}
    blanks = {
        "language": texts.LANGUAGE,
        "title": texts.TITLE,
        "lead": texts.LEAD,
        "base": f"/link/{token}",
        "state": now.name,
        "headline": now.headline,
        "hint": now.hint,
        "action": now.action or "",
        "local_views": msgspec.json.encode(local).decode(),
        "rounds": str(RENEWAL_ROUNDS),
        "steps_title": texts.STEPS_TITLE,
        "phone_summary": texts.PHONE_SUMMARY,
        "phone_label": texts.PHONE_LABEL,
        "phone_example": texts.PHONE_EXAMPLE,
        "phone_button": texts.PHONE_BUTTON,
        "phone_how": texts.PHONE_HOW,
        "phone_expired": texts.PHONE_EXPIRED,
        "phone_error": shown.error,
        "pairing_code": dashed(shown.code),
        "no_script": texts.NO_SCRIPT,
        "code_label": texts.CODE_LABEL,
        "back_url": return_url or "",
        "back": texts.BACK.format(host=urlsplit(return_url or "").hostname or ""),
    }
    html = {name: escape(value) for name, value in blanks.items()}
    html["steps"] = "".join(f"<li>{escape(step)}</li>" for step in texts.STEPS)
    html["action_hidden"] = "" if now.action else "hidden"
    html["pairing_hidden"] = "" if shown.code else "hidden"
    html["phone_open"] = "open" if shown.code or shown.error else ""
    html["back_hidden"] = "" if now.name == "ready" and return_url else "hidden"
    html["no_script_code"] = "" if now.name == "qr" else "hidden"
    return _TEMPLATE.substitute(html)


def dashed(code: str) -> str:
    """A pairing code as WhatsApp shows it: `ABCD-1234`."""
    return f"{code[:4]}-{code[4:]}" if len(code) == 8 else code
