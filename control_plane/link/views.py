"""What the link page shows: from the session's state to one of its views. Pure.

Owns which view a state is. Never a word (see `texts`) and never I/O.
"""

import msgspec

from control_plane.http import qr_images
from control_plane.link import texts
from schemas.api import SessionView
from schemas.commands import QrAnswer
from schemas.errors import ErrorCode
from schemas.states import DesiredState, SessionState


class View(msgspec.Struct, frozen=True, omit_defaults=True):
    """One picture of the page. `svg` is our own drawing, never anybody's text."""

    name: str
    headline: str
    hint: str = ""
    action: str | None = None
    svg: str | None = None
    meta: str = ""
    """With `{seconds}` where the countdown goes."""
    next_hint: str = ""
    """Shown when the code has expired and the next one isn't here yet."""
    expires_in_s: float | None = None

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What differs between two views that a person can tell apart; time passing is not it."""
        return (self.name, self.svg, self.hint, self.meta)


_STATE_VIEWS = {
    SessionState.PENDING: "starting",
    SessionState.STARTING: "starting",
    SessionState.MOVING: "starting",
    SessionState.STOPPED: "starting",
    SessionState.PAIRING: "starting",
    SessionState.PASSKEY_REQUIRED: "passkey",
    SessionState.SYNCING: "syncing",
    SessionState.ONLINE: "ready",
    # The link stands; what is degraded mends itself and is nobody's business here.
    SessionState.DEGRADED: "ready",
    SessionState.LOGGED_OUT: "logged_out",
    SessionState.FAILED: "failed",
    SessionState.FENCED: "conflict",
}


def view(name: str) -> View:
    """A view that needs nothing but its words."""
    words = texts.STATES[name]
    return View(name, words.headline, words.hint, words.action)


def view_of(session: SessionView, qr: QrAnswer | None, trouble: ErrorCode | None) -> View:
    """The view of a session; `trouble` is why its QR could not be read."""
    wanted_down = session.desired is not DesiredState.RUNNING
    if wanted_down and session.state in (SessionState.PENDING, SessionState.STOPPED):
        return view("stopped")
    if session.state is SessionState.FAILED and session.reason == ErrorCode.STREAM_REPLACED:
        return view("conflict")
    if session.state is SessionState.PAIRING:
        return _pairing_view(qr, trouble)
    return view(_STATE_VIEWS[session.state])


def _pairing_view(qr: QrAnswer | None, trouble: ErrorCode | None) -> View:
    if qr is not None and qr.expires_in_s > 0:
        words = texts.STATES["qr"]
        return View(
            "qr",
            words.headline,
            words.hint,
            svg=qr_images.svg(qr.value, texts.CODE_LABEL),
            meta=texts.CODE_META.format(index=qr.index, count=qr.count),
            next_hint=texts.CODE_NEXT,
            expires_in_s=qr.expires_in_s,
        )
    if trouble is ErrorCode.QR_EXPIRED:
        return view("expired")
    if trouble in (None, ErrorCode.QR_NOT_AVAILABLE, ErrorCode.SESSION_NOT_PAIRING):
        return view("starting")
    return view("unavailable")
