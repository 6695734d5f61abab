"""A loopback device's account: presence, seen, number checks, chats, contacts, groups, profile.

Owns these questions to the switch, and their answers in the contract's words. Never sends a
message.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from schemas import switch_wire as wire
from schemas.chats import Chat, ChatPresence, Contact, Group, NumberCheck, Profile
from schemas.errors import BlazzError, ErrorCode
from swarm_node.core.account_pages import chats_page, contacts_page
from swarm_node.engines.loopback import translate
from swarm_node.engines.loopback.link import SwitchLink

_SHOWN: Final[dict[ChatPresence, Literal["typing", "recording", "paused"]]] = {
    ChatPresence.TYPING: "typing",
    ChatPresence.RECORDING: "recording",
    ChatPresence.PAUSED: "paused",
}
_PICTURES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


class AccountCalls:
    """The contract's calls about the account, for an engine that has the line. Each raises
    `session_not_online` and `page_timeout` besides what the contract says."""

    def _line(self) -> SwitchLink:
        raise NotImplementedError

    async def set_presence(self, chat_id: str, presence: ChatPresence) -> None:
        """Show it to the chat's others."""
        state = _SHOWN.get(presence)
        if state is None:
            raise BlazzError(ErrorCode.VALIDATION_FAILED, f"{presence} can only be seen")
        await self._done(lambda req: wire.ShowPresence(req=req, chat=chat_id, state=state))

    async def subscribe_presence(self, chat_id: str) -> None:
        """Ask the switch to tell it; that holds for as long as this engine runs."""
        await self._done(lambda req: wire.SubscribePresence(req=req, chat=chat_id))

    async def mark_seen(self, chat_id: str) -> None:
        """Give read receipts for all of a chat."""
        await self._done(lambda req: wire.Receipt(req=req, chat=chat_id, ack=wire.ACK_READ))

    async def check_number(self, phone: str) -> NumberCheck:
        """Ask the switch for the account."""
        found = await self._line().ask(
            lambda req: wire.QueryExists(req=req, wid=f"{phone}@c.us"), wire.Exists
        )
        return NumberCheck(
            phone=phone,
            exists=found.wid is not None,
            chat_id=found.wid,
            lid=found.lid or None,
            business=found.business,
        )

    async def read_chats(
        self, limit: int, after: str | None, groups_only: bool
    ) -> tuple[tuple[Chat, ...], str | None]:
        """A page of what the switch lists."""
        listed = await self._line().ask(lambda req: wire.QueryChats(req=req), wire.ChatsListed)
        return chats_page(map(translate.chat, listed.chats), limit, after, groups_only)

    async def read_contacts(
        self, limit: int, after: str | None
    ) -> tuple[tuple[Contact, ...], str | None]:
        """A page of what the switch lists."""
        listed = await self._line().ask(
            lambda req: wire.QueryContacts(req=req), wire.ContactsListed
        )
        return contacts_page(map(translate.contact, listed.contacts), limit, after)

    async def read_group(self, chat_id: str) -> Group:
        """Ask the switch for the group."""
        found = await self._line().ask(
            lambda req: wire.QueryGroup(req=req, wid=chat_id), wire.GroupFound
        )
        if found.group is None:
            raise BlazzError(ErrorCode.CHAT_NOT_FOUND, "no group of this account")
        return translate.group(found.group)

    async def read_profile(self) -> Profile:
        """Ask the switch how others see us."""
        own = await self._profile("")
        return Profile(
            phone=own.wid.partition("@")[0],
            lid=own.lid or None,
            name=own.name or None,
            about=own.about or None,
            picture_url=self._picture_url(own),
        )

    async def set_profile(
        self,
        name: str | None,
        about: str | None,
        picture_path: Path | None,
        remove_picture: bool,
    ) -> None:
        """Change what is given."""
        picture = None
        if picture_path is not None:
            mimetype = await asyncio.to_thread(_mimetype, picture_path)
            stored = await self._line().upload(picture_path, mimetype)
            picture = wire.MediaRef(media_id=stored.media_id, mimetype=mimetype, size=stored.size)
        await self._done(
            lambda req: wire.SetProfile(
                req=req, name=name, about=about, picture=picture, remove_picture=remove_picture
            )
        )

    async def read_picture(self, chat_id: str) -> str | None:
        """Where the switch keeps it."""
        return self._picture_url(await self._profile(chat_id))

    async def _profile(self, wid: str) -> wire.ProfileInfo:
        found = await self._line().ask(
            lambda req: wire.QueryProfile(req=req, wid=wid), wire.ProfileFound
        )
        if found.profile is None:
            raise BlazzError(ErrorCode.CHAT_NOT_FOUND)
        return found.profile

    def _picture_url(self, profile: wire.ProfileInfo) -> str | None:
        return self._line().media_url(profile.picture) if profile.picture else None

    async def _done(self, make: Callable[[int], wire.ClientFrame]) -> None:
        done = await self._line().ask(make, wire.Done)
        if not done.ok:
            raise BlazzError(ErrorCode.CHAT_NOT_FOUND, f"refused: {done.reason}")


def _mimetype(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    for magic, mimetype in _PICTURES.items():
        if start.startswith(magic):
            return mimetype
    raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, "a profile's picture is a JPEG or a PNG")
