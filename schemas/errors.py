"""Errors: THE table of codes, for the API, the CLI, the page and the terminal alike.

Owns each code's HTTP status, whether a retry can help, and the words for people. Never names a
phone number, a body or a secret: `detail` is shown to customers and written to logs.
"""

# ruff: noqa: E501 - one row a code: the table reads better wide
from enum import StrEnum
from typing import NamedTuple


class ErrorCode(StrEnum):
    """A stable code; its meaning never changes once released."""

    # the caller's request
    MALFORMED_REQUEST = "malformed_request"
    VALIDATION_FAILED = "validation_failed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RATE_LIMITED = "rate_limited"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight"
    CONFLICT = "conflict"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    # sessions
    SESSION_NOT_FOUND = "session_not_found"
    SESSION_EXISTS = "session_exists"
    SESSION_NOT_ONLINE = "session_not_online"
    SESSION_NOT_RUNNING = "session_not_running"
    SESSION_NOT_PAIRING = "session_not_pairing"
    SESSION_ALREADY_LINKED = "session_already_linked"
    SESSION_LOGGED_OUT = "session_logged_out"
    SESSION_FAILED = "session_failed"
    ILLEGAL_TRANSITION = "illegal_transition"
    QR_NOT_AVAILABLE = "qr_not_available"
    QR_EXPIRED = "qr_expired"
    PAIRING_CODE_REFUSED = "pairing_code_refused"
    LINK_TOKEN_INVALID = "link_token_invalid"
    LINK_IN_USE = "link_in_use"
    # nodes and placement
    NODE_NOT_FOUND = "node_not_found"
    NODE_AT_CAPACITY = "node_at_capacity"
    NODE_UNREACHABLE = "node_unreachable"
    NODE_ID_IN_USE = "node_id_in_use"
    NO_NODE_AVAILABLE = "no_node_available"
    STALE_EPOCH = "stale_epoch"
    LEASE_LOST = "lease_lost"
    NODE_NOT_DRAINED = "node_not_drained"
    # snapshots
    SNAPSHOT_NOT_FOUND = "snapshot_not_found"
    SNAPSHOT_CORRUPT = "snapshot_corrupt"
    SNAPSHOT_INCOMPATIBLE = "snapshot_incompatible"
    SNAPSHOT_TOO_LARGE = "snapshot_too_large"
    RESTORE_FAILED = "restore_failed"
    VAULT_UNAVAILABLE = "vault_unavailable"
    MASTER_KEY_MISSING = "master_key_missing"
    BACKUP_DAMAGED = "backup_damaged"
    BACKUP_UNREADABLE = "backup_unreadable"
    # messages
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    MESSAGE_NOT_FOUND = "message_not_found"
    MESSAGE_OUTCOME_UNKNOWN = "message_outcome_unknown"
    MESSAGE_REFUSED = "message_refused"
    QUEUE_FULL = "queue_full"
    RECIPIENT_OPTED_OUT = "recipient_opted_out"
    DEAD_LETTER_NOT_FOUND = "dead_letter_not_found"
    REDRIVE_UNSAFE = "redrive_unsafe"
    MESSAGE_NOT_CHANGEABLE = "message_not_changeable"
    RECIPIENT_INVALID = "recipient_invalid"
    RECIPIENT_NOT_ON_WHATSAPP = "recipient_not_on_whatsapp"
    CHAT_NOT_FOUND = "chat_not_found"
    MEDIA_NOT_FOUND = "media_not_found"
    MEDIA_TOO_LARGE = "media_too_large"
    MEDIA_UNSUPPORTED = "media_unsupported"
    MEDIA_CORRUPT = "media_corrupt"
    MEDIA_NOT_FETCHED = "media_not_fetched"
    MEDIA_QUOTA_EXCEEDED = "media_quota_exceeded"
    UPLOAD_OFFSET_MISMATCH = "upload_offset_mismatch"
    # addresses that customers name
    URL_NOT_ALLOWED = "url_not_allowed"
    URL_UNREACHABLE = "url_unreachable"
    WEBHOOK_NOT_FOUND = "webhook_not_found"
    DELIVERY_NOT_FOUND = "delivery_not_found"
    # the engine
    BROWSER_MISSING = "browser_missing"
    BROWSER_CRASHED = "browser_crashed"
    BROWSER_OUT_OF_MEMORY = "browser_out_of_memory"
    BROWSER_START_FAILED = "browser_start_failed"
    WA_JS_MISSING = "wa_js_missing"
    PAGE_NOT_READY = "page_not_ready"
    PAGE_SELF_TEST_FAILED = "page_self_test_failed"
    PAGE_TIMEOUT = "page_timeout"
    PAGE_ERROR = "page_error"
    STREAM_REPLACED = "stream_replaced"
    PASSKEY_REQUIRED = "passkey_required"
    UNSUPPORTED_BY_ENGINE = "unsupported_by_engine"
    # the place we run in
    PORT_IN_USE = "port_in_use"
    DATA_DIR_LOCKED = "data_dir_locked"
    CONFIG_INVALID = "config_invalid"
    DEPENDENCY_MISSING = "dependency_missing"
    NATS_UNAVAILABLE = "nats_unavailable"
    TIMEOUT = "timeout"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


class ErrorSpec(NamedTuple):
    """What a code means: HTTP status, whether the same request may work later, words."""

    http: int
    retryable: bool
    title: str
    mend: str = ""


C = ErrorCode
ERRORS: dict[ErrorCode, ErrorSpec] = {
    C.MALFORMED_REQUEST: ErrorSpec(400, False, "The request is not valid JSON", "Send one JSON object."),
    C.VALIDATION_FAILED: ErrorSpec(422, False, "A field is wrong", "See `errors` for the field and why."),
    C.UNAUTHENTICATED: ErrorSpec(401, False, "No valid API key", "Send `Authorization: Bearer blz_…` or `X-Api-Key`."),
    C.FORBIDDEN: ErrorSpec(403, False, "This key may not do that", "Use a key with the scope that `detail` names."),
    C.NOT_FOUND: ErrorSpec(404, False, "No such resource", "See /docs for the routes."),
    C.METHOD_NOT_ALLOWED: ErrorSpec(405, False, "That method is not allowed here", "See `Allow`."),
    C.RATE_LIMITED: ErrorSpec(429, True, "Too many requests", "Wait for `Retry-After` seconds."),
    C.PAYLOAD_TOO_LARGE: ErrorSpec(413, False, "The request body is too large", "See `detail` for the limit."),
    C.UNSUPPORTED_MEDIA_TYPE: ErrorSpec(415, False, "That content type is not accepted", "Send `application/json`."),
    C.IDEMPOTENCY_MISMATCH: ErrorSpec(422, False, "This idempotency key was used with another body", "Use a new key for a new request."),
    C.IDEMPOTENCY_IN_FLIGHT: ErrorSpec(409, True, "The first request with this idempotency key is still running", "Try again shortly."),
    C.CONFLICT: ErrorSpec(409, True, "The record was changed by someone else", "Read it again and retry."),
    C.AUDIT_UNAVAILABLE: ErrorSpec(503, True, "The act could not be recorded, so it was not begun", "Try again shortly."),
    C.SESSION_NOT_FOUND: ErrorSpec(404, False, "No such session", "List yours with GET /v1/sessions."),
    C.SESSION_EXISTS: ErrorSpec(409, False, "A session with this name exists", "Choose another name."),
    C.SESSION_NOT_ONLINE: ErrorSpec(409, True, "The session is not online", "See its `state`; link or start it first."),
    C.SESSION_NOT_RUNNING: ErrorSpec(409, False, "The session is not running", "POST …/start first."),
    C.SESSION_NOT_PAIRING: ErrorSpec(409, False, "The session is not waiting to be linked", "See its `state`."),
    C.SESSION_ALREADY_LINKED: ErrorSpec(409, False, "The session is already linked", "Log it out first to link another number."),
    C.SESSION_LOGGED_OUT: ErrorSpec(409, False, "The session was unlinked", "POST …/start and link it again."),
    C.SESSION_FAILED: ErrorSpec(409, False, "The session has failed", "See its `reason`; POST …/restart."),
    C.ILLEGAL_TRANSITION: ErrorSpec(409, False, "The session's state does not allow that", "See its `state`."),
    C.QR_NOT_AVAILABLE: ErrorSpec(409, True, "There is no QR code right now", "The session is starting; try again shortly."),
    C.QR_EXPIRED: ErrorSpec(409, True, "The QR code has expired", "Ask for a new one with `?renew=true`."),
    C.PAIRING_CODE_REFUSED: ErrorSpec(409, True, "WhatsApp gave no pairing code", "Check the number and try again in a minute."),
    C.LINK_TOKEN_INVALID: ErrorSpec(404, False, "This link is no longer valid", "Ask for a new link."),
    C.LINK_IN_USE: ErrorSpec(403, False, "This link was opened in another browser", "Go on there, or ask for a new link."),
    C.NODE_NOT_FOUND: ErrorSpec(404, False, "No such node", "List them with GET /v1/nodes."),
    C.NODE_AT_CAPACITY: ErrorSpec(503, True, "The node is full", "Add a node or stop sessions."),
    C.NODE_UNREACHABLE: ErrorSpec(503, True, "The session's node does not answer", "It will be retried; see the node's state."),
    C.NODE_ID_IN_USE: ErrorSpec(409, False, "Another process runs with this node id", "Give each node its own id."),
    C.NO_NODE_AVAILABLE: ErrorSpec(503, True, "No node has room for a session", "Add a node, uncordon one, or stop sessions."),
    C.STALE_EPOCH: ErrorSpec(409, True, "The session was placed elsewhere meanwhile", "Read the assignment again."),
    C.LEASE_LOST: ErrorSpec(409, True, "The lease is held by another process", "Wait for it to end."),
    C.NODE_NOT_DRAINED: ErrorSpec(409, True, "The node still has sessions", "See which and why in `fields`; drain goes on."),
    C.SNAPSHOT_NOT_FOUND: ErrorSpec(404, False, "No such snapshot", "List the session's snapshots."),
    C.SNAPSHOT_CORRUPT: ErrorSpec(500, False, "A snapshot does not read back as it was written", "An older generation is tried by itself; check the store's disk."),
    C.SNAPSHOT_INCOMPATIBLE: ErrorSpec(409, False, "The snapshot was made by another browser build", "Run the build that `detail` names."),
    C.SNAPSHOT_TOO_LARGE: ErrorSpec(413, False, "The session's state is too large for a snapshot", "See `detail` for the limit."),
    C.RESTORE_FAILED: ErrorSpec(409, False, "No snapshot of the session could be restored", "Link the number again."),
    C.VAULT_UNAVAILABLE: ErrorSpec(503, True, "The snapshot store does not answer", "It is tried again; see /readyz."),
    C.MASTER_KEY_MISSING: ErrorSpec(500, False, "The master key is missing or not the right one", "Name its file with `master_key_file`; see docs/vault.md."),
    C.BACKUP_DAMAGED: ErrorSpec(500, False, "The backup is damaged", "Use another one: `blazz backup list`, `blazz backup verify`."),
    C.BACKUP_UNREADABLE: ErrorSpec(409, False, "The backup can't be read here", "See `detail`: another key, or another release of Blazz."),
    C.LEDGER_UNAVAILABLE: ErrorSpec(503, True, "The message history does not answer", "It is tried again; see /readyz."),
    C.MESSAGE_NOT_FOUND: ErrorSpec(404, False, "No such message", "List them with GET …/messages."),
    C.MESSAGE_OUTCOME_UNKNOWN: ErrorSpec(502, False, "Nobody can know whether this message went out", "Look at the phone before sending again."),
    C.MESSAGE_REFUSED: ErrorSpec(422, False, "WhatsApp refused the message", "See `detail`."),
    C.QUEUE_FULL: ErrorSpec(429, True, "Too many messages wait for this session", "Wait for `Retry-After` seconds; GET …/outbox says why they wait."),
    C.RECIPIENT_OPTED_OUT: ErrorSpec(422, False, "The recipient does not want messages from you", "See /v1/opt-outs; they can write `START` to come back."),
    C.DEAD_LETTER_NOT_FOUND: ErrorSpec(404, False, "No such dead letter", "List them with GET …/dead-letters."),
    C.REDRIVE_UNSAFE: ErrorSpec(409, False, "Nobody knows whether this message went out", "Look at the phone; then redrive it with `force`."),
    C.MESSAGE_NOT_CHANGEABLE: ErrorSpec(409, False, "That message cannot be changed", "See `detail`: only what this session sent, and a text only for 15 minutes."),
    C.RECIPIENT_INVALID: ErrorSpec(422, False, "That is not a phone number or chat id", "Use +62812…, or a JID such as 62812…@c.us."),
    C.RECIPIENT_NOT_ON_WHATSAPP: ErrorSpec(422, False, "That number is not on WhatsApp", "Check the number."),
    C.CHAT_NOT_FOUND: ErrorSpec(404, False, "No such chat", "Check the chat id."),
    C.MEDIA_NOT_FOUND: ErrorSpec(404, False, "No such media", "Upload it again; uploads expire."),
    C.MEDIA_TOO_LARGE: ErrorSpec(413, False, "The media is too large", "See `detail` for the limit."),
    C.MEDIA_UNSUPPORTED: ErrorSpec(415, False, "That type of media is not accepted", "See `detail` for what is."),
    C.MEDIA_CORRUPT: ErrorSpec(422, False, "The media is not what it says it is", "Check the bytes and the mimetype."),
    C.URL_NOT_ALLOWED: ErrorSpec(422, False, "That address is not allowed", "Use https on a public host; see docs/webhooks.md."),
    C.URL_UNREACHABLE: ErrorSpec(502, True, "The address could not be reached", "See `detail`."),
    C.WEBHOOK_NOT_FOUND: ErrorSpec(404, False, "No such webhook", "List yours with GET /v1/webhooks."),
    C.DELIVERY_NOT_FOUND: ErrorSpec(404, False, "No such delivery", "List them with GET …/deliveries; old ones go."),
    C.MEDIA_NOT_FETCHED: ErrorSpec(422, True, "The media could not be fetched from its address", "See `detail`; it must be reachable from the internet without a log-in."),
    C.MEDIA_QUOTA_EXCEEDED: ErrorSpec(409, True, "Too much media is waiting to be sent", "Delete uploads that you no longer need; they expire after a day."),
    C.UPLOAD_OFFSET_MISMATCH: ErrorSpec(409, True, "The upload stands elsewhere", "Go on from `fields.offset`."),
    C.BROWSER_MISSING: ErrorSpec(503, False, "No Chromium on this machine", "Run ./justw, or set BLAZZ_CHROMIUM to a Chromium."),
    C.BROWSER_CRASHED: ErrorSpec(503, True, "The browser crashed", "It is restarted by itself."),
    C.BROWSER_OUT_OF_MEMORY: ErrorSpec(503, True, "The browser took more memory than it may", "It is restarted by itself; if that goes on, raise chromium.session_memory_max_bytes."),
    C.BROWSER_START_FAILED: ErrorSpec(503, True, "The browser did not start", "See the node's log; run `blazz doctor`."),
    C.WA_JS_MISSING: ErrorSpec(503, False, "The wa-js bundle is missing or not the pinned one", "Run ./justw (it runs npm ci), or set BLAZZ_WA_JS."),
    C.PAGE_NOT_READY: ErrorSpec(503, True, "WhatsApp Web did not get ready in time", "It is reloaded by itself; check the network."),
    C.PAGE_SELF_TEST_FAILED: ErrorSpec(503, True, "WhatsApp Web loaded, but parts of it are missing", "It is reloaded by itself."),
    C.PAGE_TIMEOUT: ErrorSpec(504, True, "WhatsApp Web did not answer in time", "Try again; see the session's state."),
    C.PAGE_ERROR: ErrorSpec(502, False, "WhatsApp Web answered with an error", "See `detail`."),
    C.STREAM_REPLACED: ErrorSpec(409, False, "Another client took this device over", "Find out which; then restart the session."),
    C.PASSKEY_REQUIRED: ErrorSpec(409, False, "WhatsApp asks for a passkey on the phone", "Confirm it on the phone."),
    C.UNSUPPORTED_BY_ENGINE: ErrorSpec(501, False, "This engine cannot do that", "See the engine's capabilities."),
    C.PORT_IN_USE: ErrorSpec(500, False, "The port is taken", "Stop the other process or choose another port."),
    C.DATA_DIR_LOCKED: ErrorSpec(500, False, "Another process uses this data directory", "Stop it or choose another --data-dir."),
    C.CONFIG_INVALID: ErrorSpec(500, False, "A setting is wrong", "See `detail` for which and why."),
    C.DEPENDENCY_MISSING: ErrorSpec(500, False, "Something this needs is not installed", "See `detail`."),
    C.NATS_UNAVAILABLE: ErrorSpec(503, True, "The message bus does not answer", "It reconnects by itself; see /readyz."),
    C.TIMEOUT: ErrorSpec(504, True, "It took too long", "Try again."),
    C.SHUTTING_DOWN: ErrorSpec(503, True, "This process is stopping", "Try again on another one."),
    C.INTERNAL: ErrorSpec(500, False, "Something went wrong on our side", "Report `request_id`."),
}  # fmt: skip
del C


class BlazzError(Exception):
    """An error that carries its decision: the code says status, retry and words.

    `detail` is one sentence for a person about this very case; `fields` are machine-readable
    facts beside it (limits, ids). Neither may hold a phone number, a body or a secret.
    """

    def __init__(self, code: ErrorCode, detail: str = "", **fields: str | int) -> None:
        super().__init__(f"{code}: {detail or ERRORS[code].title}")
        self.code = code
        self.detail = detail
        self.fields = fields

    @property
    def spec(self) -> ErrorSpec:
        """The code's row in the table."""
        return ERRORS[self.code]

    @property
    def retryable(self) -> bool:
        """Whether the same request may work later."""
        return self.spec.retryable
