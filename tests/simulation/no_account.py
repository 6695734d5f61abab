"""The account's calls, for an engine that can't do them: each raises `unsupported_by_engine`.

Owns that refusal only. An engine overrides what it can do.
"""

from pathlib import Path
from typing import NoReturn

from schemas.chats import Chat, ChatPresence, Contact, Group, NumberCheck, Profile
from schemas.errors import BlazzError, ErrorCode


class NoAccountCalls:
    """Refuses every read and act of the account."""

    async def set_presence(self, _chat_id: str, _presence: ChatPresence) -> None:
        """Refuse."""
        _refuse("presence")

    async def subscribe_presence(self, _chat_id: str) -> None:
        """Refuse."""
        _refuse("presence")

    async def mark_seen(self, _chat_id: str) -> None:
        """Refuse."""
        _refuse("seen")

    async def check_number(self, _phone: str) -> NumberCheck:
        """Refuse."""
        _refuse("a number check")

    async def read_chats(
        self, _limit: int, _after: str | None, _groups_only: bool
    ) -> tuple[tuple[Chat, ...], str | None]:
        """Refuse."""
        _refuse("chats")

    async def read_contacts(
        self, _limit: int, _after: str | None
    ) -> tuple[tuple[Contact, ...], str | None]:
        """Refuse."""
        _refuse("contacts")

    async def read_group(self, _chat_id: str) -> Group:
        """Refuse."""
        _refuse("groups")

    async def read_profile(self) -> Profile:
        """Refuse."""
        _refuse("the profile")

    async def set_profile(
        self,
        _name: str | None,
        _about: str | None,
        _picture_path: Path | None,
        _remove_picture: bool,
    ) -> None:
        """Refuse."""
        _refuse("the profile")

    async def read_picture(self, _chat_id: str) -> str | None:
        """Refuse."""
        _refuse("pictures")


def _refuse(what: str) -> NoReturn:
    raise BlazzError(ErrorCode.UNSUPPORTED_BY_ENGINE, f"{what}: not by this engine")
