"""Examples of request bodies for the OpenAPI description: one for each kind of message.

Owns the examples. A test sends each of them.
"""

from typing import Any, Final

_TO: Final = "+62 812 3456 7890"
_GROUP: Final = "120363000000000001@g.us"
_MESSAGE: Final = "3EB0C767D26B8C4A4C2E1F"
_MEDIA: Final = "med_01jcp1c5p8f0e9a7d3b2h4k6m8"

MESSAGES: Final[dict[str, dict[str, Any]]] = {
    "text": {"to": _TO, "text": "Your table is ready."},
    "text with mentions": {
        "to": _GROUP,
        "text": "@6281234567890 your table is ready: https://example.com/17",
        "mentions": [_TO],
        "link_preview": False,
    },
    "reply": {"to": _TO, "text": "Yes, until ten.", "reply_to": _MESSAGE},
    "media by upload": {"to": _TO, "media_id": _MEDIA, "caption": "The menu"},
    "media by address": {"to": _TO, "media_url": "https://example.com/menu.pdf"},
    "media inline": {
        "to": _TO,
        "media": {"data": "iVBORw0KGgo=", "mimetype": "image/png", "filename": "menu.png"},
    },
    "voice note": {"to": _TO, "media_id": _MEDIA, "kind": "voice"},
    "location": {
        "to": _TO,
        "location": {"latitude": -6.2088, "longitude": 106.8456, "name": "Monas"},
    },
    "contacts": {"to": _TO, "contacts": [{"name": "Budi", "phone": "+62 811 1111 1111"}]},
    "poll": {"to": _TO, "poll": {"question": "When?", "options": ["Six", "Seven", "Eight"]}},
    "reaction": {"to": _TO, "reaction": {"message_id": _MESSAGE, "emoji": "👍"}},
    "edit": {"to": _TO, "edit": {"message_id": _MESSAGE, "text": "Your table is ready now."}},
    "delete": {"to": _TO, "delete": {"message_id": _MESSAGE}},
    "forward": {"to": _TO, "forward": {"message_id": _MESSAGE}},
}
"""By what they show."""

BODIES: Final[dict[str, Any]] = {
    "NewSession": {"name": "support", "metadata": {"customer": "4711"}},
    "NewLink": {"expires_in_s": 3600, "return_url": "https://example.com/linked"},
    "PairingCodeRequest": {"phone": _TO},
    "NewMessage": MESSAGES["text"],
    "ReactionRequest": {"emoji": "👍"},
    "EditRequest": {"text": "Your table is ready now."},
    "ForwardRequest": {"to": _TO},
    "NewUpload": {
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "size_bytes": 734_003,
        "mimetype": "application/pdf",
        "filename": "menu.pdf",
    },
    "PresenceRequest": {"state": "typing"},
    "NumbersRequest": {"phones": [_TO, "+62 811 1111 1111"]},
    "ProfileChange": {"name": "Warung Budi"},
    "ProfilePicture": {"media_id": _MEDIA},
    "TenantChange": {"default_region": "ID"},
    "PacingSettings": {"time_zone": "Asia/Jakarta", "cold_per_day": 100},
    "NewOptOut": {"to": _TO},
    "NewWebhook": {"url": "https://example.com/hooks", "events": ["message.*"]},
    "NewApiKey": {"name": "till 3", "scopes": ["messages"]},
}
"""By the struct's name."""
