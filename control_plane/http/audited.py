"""Which operations the audit log records, and what of each: THE table.

Owns that choice. A test sees to it that every operation that changes something is here or named
in `NOT_AUDITED`. Never lists a parameter that may hold a secret, a text or a phone number.
"""

from typing import Final

import msgspec


class Audited(msgspec.Struct, frozen=True):
    """What is recorded of an operation: the ids in its path, fields of its body and of its query
    (`parameters`), and the id of what it made, by the name it has in the answer."""

    target: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    made: str | None = None


_SESSION: Final = Audited(("session_id",))
_WEBHOOK: Final = Audited(("webhook_id",))
_PACING: Final = (
    "enabled",
    "per_minute",
    "burst",
    "cold_per_minute",
    "cold_per_day",
    "warm_up_first_day",
    "warm_up_growth",
    "jitter",
    "reply_window_s",
    "quiet_from",
    "quiet_until",
    "time_zone",
)

AUDITED: Final[dict[str, Audited]] = {
    # sessions
    "createSession": Audited((), ("engine", "region", "start"), made="session_id"),
    "startSession": _SESSION,
    "stopSession": _SESSION,
    "restartSession": _SESSION,
    "logoutSession": _SESSION,
    "deleteSession": _SESSION,
    "createPairingCode": _SESSION,
    "createLink": Audited(("session_id",), ("expires_in_s",)),
    # by whoever has a link page's address: it is bound to one session, which is the target
    "startByLink": Audited(),
    "pairByLink": Audited(),
    # messages
    "redriveDeadLetter": Audited(("session_id", "message_id"), ("force",)),
    "redriveDeadLetters": Audited(("session_id",), ("force",)),
    "dropDeadLetter": Audited(("session_id", "message_id")),
    "eraseHistory": _SESSION,
    # pacing
    "setPacing": Audited((), _PACING),
    "setSessionPacing": Audited(("session_id",), _PACING),
    "addOptOut": Audited(),
    "removeOptOut": Audited(),
    # webhooks: an address may hold a password or a token
    "createWebhook": Audited((), ("events", "sessions"), made="webhook_id"),
    "changeWebhook": Audited(("webhook_id",), ("events", "sessions")),
    "deleteWebhook": _WEBHOOK,
    "enableWebhook": _WEBHOOK,
    "disableWebhook": _WEBHOOK,
    "rotateWebhookSecret": Audited(("webhook_id",), ("overlap_s",)),
    "testWebhook": _WEBHOOK,
    "resendDelivery": Audited(("webhook_id", "event_id")),
    "recoverWebhook": Audited(("webhook_id",), ("since", "all")),
    # keys and tenants
    "createKey": Audited((), ("name", "scopes", "tenant_id", "expires_in_s"), made="key_id"),
    "revokeKey": Audited(("key_id",)),
    "changeTenant": Audited((), ("message_retention_s", "default_region")),
    "eraseTenant": Audited(("tenant_id",)),
    # fleet
    "cordonNode": Audited(("node_id",), ("reason",)),
    "uncordonNode": Audited(("node_id",)),
    "drainNode": Audited(("node_id",), ("deadline_s", "reason")),
    "moveSession": Audited(("session_id",), ("node_id",)),
    "rebalanceFleet": Audited((), ("max_moves",)),
}

NOT_AUDITED: Final = frozenset(
    {
        # Messages and what belongs to them: the ledger is their record.
        "sendMessage",
        "reactToMessage",
        "editMessage",
        "deleteMessage",
        "forwardMessage",
        "uploadMedia",
        "deleteMedia",
        "beginUpload",
        "appendToUpload",
        # What an account does on WhatsApp, as on its phone.
        "setPresence",
        "subscribePresence",
        "markSeen",
        "changeProfile",
        "setProfilePicture",
        "removeProfilePicture",
        # They change nothing.
        "checkNumbers",
        "createEventTicket",
    }
)
