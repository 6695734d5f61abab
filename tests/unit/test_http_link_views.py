"""The link page's views: every state has one, and no state shows a dead code."""

import msgspec
import pytest

from control_plane.link import texts
from control_plane.link.page import PairingCodeShown, render
from control_plane.link.views import view, view_of
from schemas.api import SessionView
from schemas.commands import QrAnswer
from schemas.errors import ErrorCode
from schemas.states import DesiredState, EngineKind, SessionState

SESSION = SessionView(
    "ses_00000000000000000000000000",
    "acme",
    None,
    EngineKind.LOOPBACK,
    DesiredState.RUNNING,
    SessionState.PAIRING,
    None,
    None,
    None,
    None,
    None,
    None,
    0.0,
)
QR = QrAnswer("2@abc", 2, 6, 15.0)


@pytest.mark.parametrize("state", SessionState)
@pytest.mark.parametrize("desired", DesiredState)
def test_every_state_has_words(state: SessionState, desired: DesiredState) -> None:
    session = msgspec.structs.replace(SESSION, state=state, desired=desired)
    shown = view_of(session, None, None)
    assert shown.headline == texts.STATES[shown.name].headline


@pytest.mark.parametrize(
    ("qr", "trouble", "name"),
    [
        (QR, None, "qr"),
        (msgspec.structs.replace(QR, expires_in_s=0.0), None, "starting"),
        (None, ErrorCode.QR_EXPIRED, "expired"),
        (None, ErrorCode.QR_NOT_AVAILABLE, "starting"),
        (None, ErrorCode.SESSION_NOT_PAIRING, "starting"),
        (None, ErrorCode.NODE_UNREACHABLE, "unavailable"),
    ],
)
def test_a_pairing_session_shows_its_code_or_why_not(
    qr: QrAnswer | None, trouble: ErrorCode | None, name: str
) -> None:
    shown = view_of(SESSION, qr, trouble)
    assert shown.name == name
    assert (shown.svg is not None) is (name == "qr")
    assert "2@abc" not in msgspec.json.encode(shown).decode()


def test_a_page_escapes_what_is_not_ours() -> None:
    evil = '"><script>alert(1)</script>'
    page = render("tok", view("ready"), f"https://x.example/{evil}", PairingCodeShown(error=evil))
    assert "<script>alert" not in page
    assert 'rel="noreferrer"' in page


def test_no_word_stands_in_the_script() -> None:
    """So that a second language needs no second script."""
    from importlib import resources

    script = resources.files("control_plane.link").joinpath("assets/link.js").read_text()
    for words in texts.STATES.values():
        assert words.headline not in script
        assert not words.action or f'"{words.action}"' not in script
