"""Acts: what an operator may ask of the fleet, and through whom.

Owns the contract with whoever carries acts out: the `blazz` command does, through the admin API,
with the operator's own key. The terminal has no other way to change anything. Every method returns
once the wish is taken, not once it has come true (the tables show that), and raises BlazzError.
"""

from typing import Protocol

import msgspec


class SessionRef(msgspec.Struct, frozen=True):
    """A session and whose it is."""

    tenant_id: str
    session_id: str


class LetterRef(msgspec.Struct, frozen=True):
    """A dead letter of a session."""

    session: SessionRef
    message_id: str


class WebhookRef(msgspec.Struct, frozen=True):
    """A webhook and whose it is."""

    tenant_id: str
    webhook_id: str


class DeliveryRef(msgspec.Struct, frozen=True):
    """A webhook's delivery."""

    webhook: WebhookRef
    event_id: str


class Actor(Protocol):
    """The operator's hand on the fleet."""

    async def cordon(self, node_id: str) -> None:
        """No new session goes there."""

    async def uncordon(self, node_id: str) -> None:
        """New sessions go there again; ends a drain."""

    async def drain(self, node_id: str) -> None:
        """Its sessions move away, and none comes."""

    async def move(self, session: SessionRef) -> None:
        """It goes to the best other node; its link goes along."""

    async def start(self, session: SessionRef) -> None:
        """It runs again."""

    async def stop(self, session: SessionRef) -> None:
        """It ends; the phone stays linked."""

    async def restart(self, session: SessionRef) -> None:
        """It ends and begins anew."""

    async def log_out(self, session: SessionRef) -> None:
        """The phone is unlinked."""

    async def delete(self, session: SessionRef) -> None:
        """It is stopped and forgotten, with its profile and messages."""

    async def redrive(self, letter: LetterRef, *, force: bool) -> None:
        """Send it again; with `force` also what may have gone out."""

    async def drop(self, letter: LetterRef) -> None:
        """Forget it."""

    async def enable_webhook(self, webhook: WebhookRef) -> None:
        """It goes on where it was."""

    async def disable_webhook(self, webhook: WebhookRef) -> None:
        """Nothing is sent to it."""

    async def check_webhook(self, webhook: WebhookRef) -> None:
        """Send it a test event. Raises `url_unreachable` if it was not taken."""

    async def resend(self, delivery: DeliveryRef) -> None:
        """Send one event to it again."""
