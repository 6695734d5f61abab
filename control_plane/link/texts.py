"""Every word on the link page, in one place, so that a second language is a second module.

Owns the texts of the page, its states and its errors. Never markup and never a decision.
"""

from typing import Final, NamedTuple

from schemas.errors import ErrorCode


class StateText(NamedTuple):
    """One sentence, what to do, and at most one button."""

    headline: str
    hint: str = ""
    action: str | None = None


LANGUAGE: Final = "en"
TITLE: Final = "Link your WhatsApp"
LEAD: Final = "Scan once. Your phone can then stay in your pocket."
STEPS_TITLE: Final = "With the QR code"
STEPS: Final = (
    "Open WhatsApp on your phone",
    "Tap Settings (or ⋮), then Linked devices",
    "Tap Link a device and point your phone at the code",
)
PHONE_SUMMARY: Final = "Link with phone number"
PHONE_LABEL: Final = "Your WhatsApp number, with country code"
PHONE_EXAMPLE: Final = "+62 812 3456 7890"
PHONE_BUTTON: Final = "Get code"
PHONE_HOW: Final = (
    "On your phone: Linked devices, Link a device, Link with phone number instead. "
    "Then type this code."
)
PHONE_EXPIRED: Final = "That code has expired. Get a new one."
NO_SCRIPT: Final = "This page renews itself every few seconds."
CODE_LABEL: Final = "QR code to scan with WhatsApp"
CODE_META: Final = "Code {index} of {count} · {{seconds}} s"
CODE_NEXT: Final = "The next code is coming…"
BACK: Final = "Back to {host}"
SYNC_HINT: Final = "Keep WhatsApp open on your phone for a moment."
TOO_MANY: Final = "Too many tries. Wait a minute."

STATES: Final[dict[str, StateText]] = {
    "starting": StateText("Getting a code…", "This takes a few seconds."),
    "qr": StateText("Scan this code with WhatsApp", "It renews by itself."),
    "expired": StateText("The codes have run out", "Nothing was linked yet.", "New code"),
    "stopped": StateText("Ready when you are", "No code is on show yet.", "Show the code"),
    "logged_out": StateText(
        "This account was unlinked", "Link it again with a new code.", "New code"
    ),
    "passkey": StateText("Confirm on your phone", "WhatsApp asks for your passkey there."),
    "syncing": StateText("Scanned. Linking your account…", SYNC_HINT),
    "ready": StateText("Linked", "You can close this page."),
    "conflict": StateText(
        "Opened somewhere else",
        "Another program uses this linked device. Try again only if that was not you.",
        "Try again",
    ),
    "failed": StateText("That did not work", "The connection could not be started.", "Try again"),
    "unavailable": StateText("Not available right now", "We keep trying. You can wait here."),
    "offline": StateText("No connection", "We reconnect by ourselves."),
    "gone": StateText("This link is no longer valid", "Ask whoever sent it for a new one."),
    "taken": StateText(
        "This link was opened in another browser", "Go on there, or ask for a new one."
    ),
}

PHONE_ERRORS: Final[dict[ErrorCode, str]] = {
    ErrorCode.RECIPIENT_INVALID: "That is not a phone number. Start with + and the country code.",
    ErrorCode.VALIDATION_FAILED: "That is not a phone number. Start with + and the country code.",
    ErrorCode.SESSION_ALREADY_LINKED: "This account is linked already.",
    ErrorCode.PAIRING_CODE_REFUSED: "WhatsApp gave no code. Check the number; try in a minute.",
    ErrorCode.RATE_LIMITED: TOO_MANY,
    ErrorCode.LINK_TOKEN_INVALID: "This link is no longer valid.",
}
PHONE_NOT_YET: Final = "Not ready yet. Wait for the QR code, then try again."
