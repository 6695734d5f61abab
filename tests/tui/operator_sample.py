"""An operator's hand and source for the terminal's tests: written down, and answered from a script.

Owns the two ports' stand-ins for what lies behind the API; the real ones are tested against the
real API in `tests/integration/test_tui_operator.py`.
"""

from __future__ import annotations

import msgspec

from schemas.api import NodeDetail, NodeSession, NodeView, QrView
from schemas.api_sending import DeadLetterCount, DeadLetterView, OutboxView
from schemas.api_snapshots import GenerationView
from schemas.audit import AuditRecord
from schemas.errors import BlazzError, ErrorCode
from schemas.pacing import LaneState
from schemas.snapshots import GenerationUse
from schemas.states import EngineKind, MessageKind, MessageState, NodeState, SessionState
from schemas.webhooks import (
    Attempt,
    DeliveryState,
    DeliveryView,
    WebhookBacklog,
    WebhookView,
)
from tests.tui.fleet_sample import NOW_UNIX, SECRET_TEXT, event_id, session_id
from tui.acts import DeliveryRef, LetterRef, SessionRef, WebhookRef

QR_VALUE = "2@" + "Qz7/+k=" * 30 + ",1,2,3"
WEBHOOK_ID = "whk_" + "0" * 25 + "1"
AUDIT_ID = "aud_" + "0" * 25
MESSAGE_IDS = ("3EB0AABBCCDDEEFF001199", "3EB0AABBCCDDEEFF002288")
HOOK = WebhookView(
    webhook_id=WEBHOOK_ID,
    url="https://hooks.example/blazz?token=s3cret",
    events=("message.*",),
    sessions=(),
    description="",
    enabled=True,
    disabled_reason=None,
    disabled_at=None,
    created_at=NOW_UNIX - 9_000,
    secrets_valid=1,
    replaying=False,
    backlog=WebhookBacklog(waiting=3, dead=1, unread=0),
)


class WrittenDown:
    """Every act is one tuple in `acts`; ids in `refused` answer with an error."""

    def __init__(self) -> None:
        self.acts: list[tuple[str, str]] = []
        self.refused: set[str] = set()

    def _do(self, act: str, target: str) -> None:
        if target in self.refused:
            raise BlazzError(ErrorCode.CONFLICT, "somebody was faster")
        self.acts.append((act, target))

    async def cordon(self, node_id: str) -> None:
        self._do("cordon", node_id)

    async def uncordon(self, node_id: str) -> None:
        self._do("uncordon", node_id)

    async def drain(self, node_id: str) -> None:
        self._do("drain", node_id)

    async def move(self, session: SessionRef) -> None:
        self._do("move", session.session_id)

    async def start(self, session: SessionRef) -> None:
        self._do("start", f"{session.tenant_id} {session.session_id}")

    async def stop(self, session: SessionRef) -> None:
        self._do("stop", session.session_id)

    async def restart(self, session: SessionRef) -> None:
        self._do("restart", session.session_id)

    async def log_out(self, session: SessionRef) -> None:
        self._do("log_out", session.session_id)

    async def delete(self, session: SessionRef) -> None:
        self._do("delete", session.session_id)

    async def redrive(self, letter: LetterRef, *, force: bool) -> None:
        self._do("redrive forced" if force else "redrive", letter.message_id)

    async def drop(self, letter: LetterRef) -> None:
        self._do("drop", letter.message_id)

    async def enable_webhook(self, webhook: WebhookRef) -> None:
        self._do("enable", webhook.webhook_id)

    async def disable_webhook(self, webhook: WebhookRef) -> None:
        self._do("disable", webhook.webhook_id)

    async def check_webhook(self, webhook: WebhookRef) -> None:
        self._do("test", f"{webhook.tenant_id} {webhook.webhook_id}")

    async def resend(self, delivery: DeliveryRef) -> None:
        self._do("resend", delivery.event_id)


class Told:
    """Answers that a test may change; `error` is raised instead."""

    def __init__(self) -> None:
        self.error: BlazzError | None = None
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.qr_codes: list[QrView] = [QrView(QR_VALUE, 1, 6, 20.0)]
        self.hooks = [HOOK]
        self.drained = False

    def _asked(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error
        if what.split(maxsplit=1)[0] in self.refused:
            raise BlazzError(ErrorCode.FORBIDDEN)

    async def node(self, node_id: str) -> NodeDetail:
        self._asked(f"node {node_id}")
        view = NodeView(
            node_id, NodeState.ALIVE, "eu-west", "ovh", 3, 25, 3, 0, 0, 1.0, 1.0, True, "0.1.0",
            draining=True,
        )  # fmt: skip
        waiting = NodeSession(session_id(3), "acme", SessionState.ONLINE, "no node has room")
        return NodeDetail(view, [waiting], drained=self.drained)

    async def outbox(self, session: SessionRef) -> OutboxView:
        self._asked(f"outbox {session.tenant_id}")
        return OutboxView(
            session.session_id, 7, 10_000, LaneState.PACED, 65.0, NOW_UNIX + 30, "quiet_hours"
        )

    async def snapshots(self, session: SessionRef) -> list[GenerationView]:
        self._asked(f"snapshots {session.tenant_id}")
        newest = GenerationView(
            7, GenerationUse.CURRENT, 3, "ovh-gra-1", EngineKind.CHROMIUM, "156.0.7204.49", 12,
            9_400_000, NOW_UNIX - 400, NOW_UNIX - 4, False, False,
        )  # fmt: skip
        older = msgspec.structs.replace(
            newest, generation=6, use=GenerationUse.FALLBACK, epoch=2, node_id="ovh-gra-2",
            objects=61, size_bytes=31_000_000, captured_at=NOW_UNIX - 9_000, clean=True,
            proven=True,
        )  # fmt: skip
        gone = msgspec.structs.replace(older, generation=2, use=GenerationUse.UNLINKED, epoch=1)
        return [newest, older, gone]

    async def qr(self, session: SessionRef, *, renew: bool) -> QrView:
        self._asked("qr renewed" if renew else "qr")
        if not self.qr_codes:
            raise BlazzError(ErrorCode.QR_EXPIRED)
        return self.qr_codes.pop(0)

    async def dead_letter_counts(self) -> list[DeadLetterCount]:
        self._asked("counts")
        return [DeadLetterCount("acme", session_id(3), 2)]

    async def dead_letters(self, session: SessionRef) -> list[DeadLetterView]:
        self._asked("dead letters")
        failed = DeadLetterView(
            message_id=MESSAGE_IDS[0],
            session_id=session.session_id,
            state=MessageState.FAILED,
            chat_id="628987654321@c.us",
            kind=MessageKind.TEXT,
            accepted_at=NOW_UNIX - 100,
            died_at=NOW_UNIX - 90,
            attempts=1,
            redrives=0,
            error_code="message_refused",
            text=SECRET_TEXT,
        )
        return [
            failed,
            msgspec.structs.replace(
                failed,
                message_id=MESSAGE_IDS[1],
                state=MessageState.UNKNOWN,
                error_code="message_outcome_unknown",
            ),
        ]

    async def webhooks(self, tenant_id: str) -> list[WebhookView]:
        self._asked(f"webhooks {tenant_id}")
        return self.hooks if tenant_id == "acme" else []

    async def deliveries(self, webhook: WebhookRef) -> list[DeliveryView]:
        self._asked(f"deliveries {webhook.webhook_id}")
        attempt = Attempt(NOW_UNIX - 40, 0.2, 500, "http_error", "Internal Server Error")
        return [
            DeliveryView(
                event_id(9), "message.received", session_id(1), 9, NOW_UNIX - 60,
                DeliveryState.DEAD, (attempt,) * 10, None,
            )
        ]  # fmt: skip

    async def audit(self) -> list[AuditRecord]:
        self._asked("audit")
        done = AuditRecord(
            audit_id=AUDIT_ID + "1",
            at=NOW_UNIX - 5,
            operation="drainNode",
            tenant_id="acme",
            key_id="0123456789ab",
            key_name="nadia",
            address="192.0.2.7",
            target=("ovh-gra-1",),
            http=202,
        )
        return [
            done,
            msgspec.structs.replace(
                done,
                audit_id=AUDIT_ID + "2",
                operation="deleteSession",
                http=403,
                error_code="forbidden",
            ),
            msgspec.structs.replace(
                done, audit_id=AUDIT_ID + "3", operation="moveSession", http=None
            ),
        ]
