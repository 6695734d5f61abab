"""A phone: what a person does with WhatsApp on it, over the sandbox's HTTP API.

Owns the client side of `phone_api`. Never reaches into the switch's state.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from sandbox.switch import phone_bodies as bodies
from sandbox.switch.log import Entry
from schemas import switch_wire as wire

T = TypeVar("T")


class PhoneError(Exception):
    """The sandbox refused; `error` is its code, `http` the response's number."""

    def __init__(self, error: str, http: int, detail: str = "") -> None:
        super().__init__(f"{error} ({http}) {detail}".strip())
        self.error = error
        self.http = http


class PhoneBook:
    """The sandbox's admin side, and the way to its phones.

    `async with PhoneBook(sandbox.api_url) as book: phone = await book.create("15550001")`
    """

    def __init__(self, api_url: str, *, timeout_s: float = 10.0) -> None:
        self._url = api_url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(self._url, timeout=self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def call(
        self, method: str, path: str, shape: type[T], body: object = None, **options: Any
    ) -> T:
        """One request; its JSON as `shape`. Raises `PhoneError`."""
        if self._http is None:
            raise RuntimeError("use `async with PhoneBook(...)`")
        if body is not None:
            options["data"] = msgspec.json.encode(body)
        async with self._http.request(method, path, **options) as response:
            data = await response.read()
            if response.status >= 400:
                problem = _problem(data)
                raise PhoneError(problem.error, response.status, problem.detail)
        return msgspec.json.decode(data, type=shape)

    async def create(self, number: str, name: str = "", **fields: Any) -> Phone:
        """A new account (`lid`, `lid_only`, `on`, `auto_read` as in `NewAccount`)."""
        account = bodies.NewAccount(number=number, name=name, **fields)
        await self.call("POST", "/api/accounts", dict, account)
        return Phone(self, number)

    def phone(self, number: str) -> Phone:
        """The phone of an account that exists."""
        return Phone(self, number)

    async def create_group(self, name: str, *phones: Phone) -> str:
        """A group of these phones, the first one's own; returns its wid."""
        new = bodies.NewGroup(name=name, members=tuple(p.number for p in phones))
        return (await self.call("POST", "/api/groups", bodies.Created, new)).id

    async def set_faults(self, account: str = "", **faults: object) -> None:
        """Switch faults (`sandbox.switch.faults.Faults`) for one account, or for everyone."""
        await self.call("PATCH", "/api/faults", dict, {"account": account, **faults})

    async def clear_faults(self) -> None:
        """Switch all faults off."""
        await self.call("DELETE", "/api/faults", dict)

    async def log(self, since: int = 0, *kinds: str) -> list[Entry]:
        """The switch's log after entry `since`, of some kinds or all."""
        entries = await self.call("GET", f"/api/log?since={since}", list[Entry])
        return [e for e in entries if not kinds or e.kind in kinds]

    async def put_media(self, data: bytes, mimetype: str, filename: str = "") -> wire.MediaRef:
        """Keep some bytes on the switch."""
        stored = await self.call(
            "PUT", "/api/media", wire.MediaStored, headers={"Content-Type": mimetype}, data=data
        )
        return wire.MediaRef(
            media_id=stored.media_id, mimetype=mimetype, size=stored.size, filename=filename
        )

    async def get_media(self, media_id: str) -> bytes:
        """Bytes the switch keeps. Raises `PhoneError`."""
        if self._http is None:
            raise RuntimeError("use `async with PhoneBook(...)`")
        async with self._http.get(f"/api/media/{media_id}") as response:
            data = await response.read()
            if response.status >= 400:
                raise PhoneError(_problem(data).error, response.status)
            return data


class Phone:
    """One account's phone. Chats are wids as this phone sees them, or bare digits."""

    def __init__(self, book: PhoneBook, number: str) -> None:
        self._book = book
        self.number = number

    @property
    def wid(self) -> str:
        """The account's own wid."""
        return f"{self.number}@c.us"

    async def scan(self, qr_text: str) -> str:
        """Link the page that shows this QR: `linked`, or `passkey`. Raises `PhoneError`."""
        return (await self._post("scan", bodies.Linking, bodies.Scan(text=qr_text))).state

    async def enter_pairing_code(self, code: str) -> str:
        """Link the page that shows this code: `linked`, or `passkey`. Raises `PhoneError`."""
        return (await self._post("pairing-code", bodies.Linking, bodies.Code(code=code))).state

    async def confirm_passkey(self) -> None:
        """Pass the passkey that a link waits for."""
        await self._post("passkey", bodies.Linking, {})

    async def set(
        self,
        *,
        on: bool | None = None,
        auto_read: bool | None = None,
        name: str | None = None,
        about: str | None = None,
        picture: bytes | None = None,
    ) -> None:
        """Switch the phone on or off, let it read at once, change its profile (no bytes: no
        picture)."""
        media_id = None if picture is None else ""
        if picture:
            media_id = (await self._book.put_media(picture, "image/jpeg")).media_id
        change = bodies.AccountChange(
            on=on, auto_read=auto_read, name=name, about=about, picture=media_id
        )
        await self._book.call("PATCH", f"/api/accounts/{self.number}", dict, change)

    async def send_text(
        self,
        to: str,
        body: str,
        *,
        mentions: tuple[str, ...] = (),
        preview: wire.LinkPreview | None = None,
        forwarded: bool = False,
    ) -> str:
        """Send a text from the phone; returns its id."""
        return await self._send(
            bodies.Outgoing(
                to=to, body=body, mentions=mentions, preview=preview, forwarded=forwarded
            )
        )

    async def send_location(
        self, to: str, latitude: float, longitude: float, name: str = "", address: str = ""
    ) -> str:
        """Send a place; returns its id."""
        place = wire.Location(latitude=latitude, longitude=longitude, name=name, address=address)
        return await self._send(bodies.Outgoing(to=to, type="location", location=place))

    async def send_cards(self, to: str, *cards: wire.Card) -> str:
        """Send one contact's card, or several; returns its id."""
        return await self._send(bodies.Outgoing(to=to, type="vcard", contacts=cards))

    async def send_poll(self, to: str, question: str, *options: str, choices_max: int = 1) -> str:
        """Send a poll; returns its id."""
        poll = wire.Poll(question=question, options=options, choices_max=choices_max)
        return await self._send(bodies.Outgoing(to=to, type="poll_creation", poll=poll))

    async def vote(self, chat: str, message_id: str, *options: str) -> None:
        """Vote in a poll; without options the vote is taken back."""
        await self._post("vote", dict, bodies.Vote(chat=chat, id=message_id, options=options))

    async def show_presence(self, chat: str, state: wire.PresenceState) -> None:
        """Type, record, stop, come or go."""
        await self._post("presence", dict, bodies.Shown(chat=chat, state=state))

    async def call(self, to: str, *, video: bool = False) -> str:
        """Ring; returns the call's id."""
        return (await self._post("calls", bodies.Created, bodies.Calling(to=to, video=video))).id

    async def give_up_call(self, call_id: str) -> None:
        """End a call that nobody took."""
        path = f"/api/accounts/{self.number}/calls/{call_id}"
        await self._book.call("DELETE", path, dict)

    async def change_group(
        self, wid: str, change: wire.GroupChangeKind, *phones: Phone, value: str = ""
    ) -> None:
        """Change a group this phone is in: `added`, `removed`, `promoted`, `demoted` these phones;
        `joined`, `left` by itself; `name`, `description`, `picture`, `announce_only` by value."""
        act = bodies.GroupAct(change=change, members=tuple(p.number for p in phones), value=value)
        await self._post(f"groups/{wid}", dict, act)

    async def profile(self, wid: str = "") -> wire.ProfileInfo:
        """A profile as this phone sees it; its own by default."""
        path = f"/api/accounts/{self.number}/profile"
        return await self._book.call("GET", path, wire.ProfileInfo, params={"wid": wid})

    async def send_media(
        self,
        to: str,
        data: bytes,
        mimetype: str,
        *,
        type: wire.MessageType = "image",
        filename: str = "",
        caption: str = "",
    ) -> str:
        """Send a picture or a file from the phone; returns its id."""
        media = await self._book.put_media(data, mimetype, filename)
        return await self._send(bodies.Outgoing(to=to, type=type, body=caption, media=media))

    async def reply(self, to: str, quoted_id: str, body: str) -> str:
        """Answer a message of the chat; returns the answer's id."""
        return await self._send(bodies.Outgoing(to=to, body=body, quoted_id=quoted_id))

    async def read(self, chat: str, *ids: str) -> None:
        """Read a chat, or these messages of it: their senders get ack 3."""
        await self._post("read", dict, bodies.Seen(chat=chat, ids=ids))

    async def play(self, chat: str, *ids: str) -> None:
        """Play voice messages: their senders get ack 4."""
        await self._post("read", dict, bodies.Seen(chat=chat, ids=ids, ack=wire.ACK_PLAYED))

    async def react(self, chat: str, message_id: str, emoji: str) -> None:
        """React to a message; an empty emoji takes it back."""
        await self._post("react", dict, bodies.Change(chat=chat, id=message_id, text=emoji))

    async def edit(self, chat: str, message_id: str, body: str) -> None:
        """Edit an own message."""
        await self._post("edit", dict, bodies.Change(chat=chat, id=message_id, text=body))

    async def delete(self, chat: str, message_id: str) -> None:
        """Delete an own message for everyone."""
        await self._post("delete", dict, bodies.Change(chat=chat, id=message_id))

    async def devices(self) -> list[bodies.DeviceInfo]:
        """The linked devices."""
        path = f"/api/accounts/{self.number}/devices"
        return await self._book.call("GET", path, list[bodies.DeviceInfo])

    async def unlink(self, device_id: str = "") -> None:
        """Remove a linked device, or all of them."""
        for device in await self.devices():
            if device_id in {"", device.device_id}:
                path = f"/api/accounts/{self.number}/devices/{device.device_id}"
                await self._book.call("DELETE", path, dict)

    async def chats(self) -> list[wire.ChatInfo]:
        """The chats, newest first."""
        path = f"/api/accounts/{self.number}/chats"
        return await self._book.call("GET", path, list[wire.ChatInfo])

    async def messages(self, chat: str) -> list[bodies.PhoneMessage]:
        """A chat's messages, oldest first."""
        path = f"/api/accounts/{self.number}/chats/{chat}/messages"
        return await self._book.call("GET", path, list[bodies.PhoneMessage])

    async def set_faults(self, **faults: object) -> None:
        """Switch faults for this account."""
        await self._book.set_faults(self.number, **faults)

    async def _send(self, message: bodies.Outgoing) -> str:
        return (await self._post("messages", bodies.Created, message)).id

    async def _post(self, act: str, shape: type[T], body: object) -> T:
        return await self._book.call("POST", f"/api/accounts/{self.number}/{act}", shape, body)


def _problem(data: bytes) -> bodies.Problem:
    try:
        return msgspec.json.decode(data, type=bodies.Problem)
    except msgspec.MsgspecError:
        return bodies.Problem(error="unknown")
