"""Names of the fields in log lines, so that one search finds a thing everywhere."""

from typing import Final

TENANT: Final = "tenant_id"
SESSION: Final = "session_id"
NODE: Final = "node_id"
EPOCH: Final = "epoch"
MESSAGE: Final = "message_id"
STATE: Final = "state"
PREVIOUS: Final = "previous"
REASON: Final = "reason"
CODE: Final = "code"
DETAIL: Final = "detail"
ATTEMPT: Final = "attempt"
SUBJECT: Final = "subject"
DURATION: Final = "duration_s"
REQUEST: Final = "request_id"
