"""The frames between a linked device (the sandbox's page, or the loopback engine) and the switch.

Owns the shape of every frame on the WebSocket `/sandbox/link`, and their codec. One JSON object a
text message, tagged by `t`. Never holds behaviour, and never anything of the real WhatsApp
protocol: it is the sandbox's own.

A device's life on the wire (C: client, S: switch)::

    new device       C hello(public_key)        S qr …, qr_idle │ pairing_code
                     (phone scans or types)     S [passkey_required, C passkey] paired
                                                S welcome(first=True), sync…, sync_done
    known device     C hello(device_id)         S challenge   C proof
                                                S welcome │ refused
                                                S queued frames (with seq), sync_done
    afterwards       C send → S sent │ send_failed;  C react, edit, delete … → S done
                     S message, ack, reaction, edited, poll_voted, group_changed, call …
    taken over       S conflict; the device may C takeover, and the other one gets S conflict

Rules both sides keep:

- **Queue and `seq`.** Every frame that must survive a restart of the device (a `QueuedFrame`)
  carries `seq`, rising for one device. The client stores it durably, then says
  `stored(seq)` (cumulative); only then the switch forgets it. What was not stored is sent again
  after the next welcome, so a client skips any `seq` it has stored already.
- **Freshness.** `hello.freshness` is the highest `seq` the client has stored. A client that stored
  less than it once said it had was restored from an old snapshot; beyond the switch's tolerance it
  is refused (`stale_state`) and unlinked, as WhatsApp does with a device whose keys are too old.
- **Requests.** A client frame with `req` (a positive number, unique in the connection) is answered
  by one frame with the same `req`.
- **Ids.** `id` is the hex of a message key; a message is `(chat, id)`. `chat`, `sender` are wids:
  `<digits>@c.us`, `<digits>@lid`, `<digits>@g.us`.
- **A resend** is a `send` with an id this device has used before: it is answered `sent` again, and
  is delivered to nobody a second time. The same holds for `react`, `edit` and `delete` with an
  `own_id`, and for those that ask for what is so already: `done(found=True)`, and nobody is told.
- **Presence** is told to the devices that subscribed to the chat and are there, never queued; a
  subscription ends with the device's instance. A call rings at devices that are there, and is
  queued when it was missed.
- **Times** are Unix seconds (`ts`), or milliseconds where the name ends in `_ms`.
"""

from __future__ import annotations

import msgspec

# The whole vocabulary can be had from this one module.
from schemas.switch_client_frames import *  # noqa: F403
from schemas.switch_client_frames import ClientFrame, Frame
from schemas.switch_queued_frames import *  # noqa: F403
from schemas.switch_queued_frames import (
    Ack,
    CallIn,
    ChatAdded,
    Deleted,
    Edited,
    GroupChanged,
    MessageIn,
    PollVoted,
    Reaction,
    ReadElsewhere,
)
from schemas.switch_records import *  # noqa: F403
from schemas.switch_records import (
    ChatInfo,
    ContactInfo,
    GroupInfo,
    Message,
    NoticeKind,
    PresenceState,
    ProfileInfo,
    RefusedReason,
    SendFailure,
    UnlinkReason,
)


class Challenge(Frame, frozen=True, kw_only=True):
    """After a `hello` with a device id. `nonce`: base64 of 32 bytes."""

    nonce: str


class Qr(Frame, frozen=True, kw_only=True):
    """A new ref to draw. `index` counts from 0, `count` is the run's length, `ttl_ms` its life.

    What a phone scans is the text `ref,key,key,adv`; only the ref matters to the switch.
    """

    ref: str
    index: int
    count: int
    ttl_ms: int


class QrIdle(Frame, frozen=True, kw_only=True):
    """The run of refs is over; `refresh_qr` starts another."""


class PairingCode(Frame, frozen=True, kw_only=True):
    """Answer to `request_pairing_code`: eight characters; empty when the phone is unknown."""

    req: int
    code: str
    ttl_ms: int


class PasskeyRequired(Frame, frozen=True, kw_only=True):
    """Linking waits for a passkey; goes on after `passkey`, or when the phone confirms."""


class Paired(Frame, frozen=True, kw_only=True):
    """The device is linked. It must keep `device_id` (and its key) before it answers anything."""

    device_id: str
    me: str
    lid: str
    pushname: str
    platform: str = "android"


class Welcome(Frame, frozen=True, kw_only=True):
    """Logged in, and the active connection. `first`: a full sync follows. `queued`: frames
    waiting, sent before `sync_done`."""

    device_id: str
    me: str
    lid: str
    pushname: str
    first: bool
    queued: int
    ts_ms: int


class Refused(Frame, frozen=True, kw_only=True):
    """No login; the switch closes the socket. `bad_proof` leaves the link standing; the
    others mean that it is gone."""

    reason: RefusedReason


class Sync(Frame, frozen=True, kw_only=True):
    """A part of the initial sync. `percent` rises to 100."""

    percent: int
    chats: tuple[ChatInfo, ...] = ()
    contacts: tuple[ContactInfo, ...] = ()
    messages: tuple[Message, ...] = ()


class SyncDone(Frame, frozen=True, kw_only=True):
    """Sync, or the queue that waited, is through; the session is in use from here."""


class Sent(Frame, frozen=True, kw_only=True):
    """Answer to `send`: the switch holds the message (ack 1). `resend`: it had it before."""

    req: int
    id: str
    chat: str
    ts: int
    resend: bool = False


class SendFailed(Frame, frozen=True, kw_only=True):
    """Answer to `send`: refused for good; nobody gets it."""

    req: int
    id: str
    reason: SendFailure


class Done(Frame, frozen=True, kw_only=True):
    """Answer to `react`, `edit`, `delete`, `receipt`, `show_presence`, `subscribe_presence`,
    `set_profile`. `found`: it was so before, and nobody was told again."""

    req: int
    ok: bool
    reason: str = ""
    found: bool = False


class Exists(Frame, frozen=True, kw_only=True):
    """Answer to `query_exists`. `wid` is null for no account; `lid` empty for none."""

    req: int
    wid: str | None
    lid: str = ""
    name: str = ""
    business: bool = False


class ChatFound(Frame, frozen=True, kw_only=True):
    """Answer to `query_chat`; null when the wid leads nowhere."""

    req: int
    chat: ChatInfo | None


class Conflict(Frame, frozen=True, kw_only=True):
    """Another connection with this device's keys became the active one."""


class Unlinked(Frame, frozen=True, kw_only=True):
    """The link is gone: the device must forget its keys and start over with `hello`."""

    reason: UnlinkReason


class Notice(Frame, frozen=True, kw_only=True):
    """A dialog the user must close (`notice_ack`); after `deadline_ms` (0: never) without it the
    device is unlinked with `notice_ignored`."""

    kind: NoticeKind
    text: str = ""
    deadline_ms: int = 0


class Pong(Frame, frozen=True, kw_only=True):
    """Answer to `ping`. `ts_ms`: the switch's clock."""

    req: int
    ts_ms: int


class Presence(Frame, frozen=True, kw_only=True):
    """`sender` does something in `chat`, to which this device subscribed; not queued."""

    chat: str
    sender: str
    state: PresenceState


class ChatsListed(Frame, frozen=True, kw_only=True):
    """Answer to `query_chats`: all of them, newest first."""

    req: int
    chats: tuple[ChatInfo, ...]


class ContactsListed(Frame, frozen=True, kw_only=True):
    """Answer to `query_contacts`: all of them, by wid."""

    req: int
    contacts: tuple[ContactInfo, ...]


class GroupFound(Frame, frozen=True, kw_only=True):
    """Answer to `query_group`; null for no group that this account is in."""

    req: int
    group: GroupInfo | None


class ProfileFound(Frame, frozen=True, kw_only=True):
    """Answer to `query_profile`; null when the wid leads nowhere."""

    req: int
    profile: ProfileInfo | None


SwitchFrame = (
    Challenge
    | Qr
    | QrIdle
    | PairingCode
    | PasskeyRequired
    | Paired
    | Welcome
    | Refused
    | Sync
    | SyncDone
    | MessageIn
    | Ack
    | ReadElsewhere
    | Reaction
    | Edited
    | Deleted
    | ChatAdded
    | PollVoted
    | GroupChanged
    | CallIn
    | Presence
    | Sent
    | SendFailed
    | Done
    | Exists
    | ChatFound
    | ChatsListed
    | ContactsListed
    | GroupFound
    | ProfileFound
    | Conflict
    | Unlinked
    | Notice
    | Pong
)

_encoder = msgspec.json.Encoder()
_client_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
_switch_decoder: msgspec.json.Decoder[SwitchFrame] = msgspec.json.Decoder(SwitchFrame)


def encode(frame: ClientFrame | SwitchFrame) -> str:
    """The frame as the text of one WebSocket message."""
    return _encoder.encode(frame).decode()


def decode_client(text: str | bytes) -> ClientFrame:
    """A frame a client sent. Raises `msgspec.MsgspecError` when it is none."""
    return _client_decoder.decode(text)


def decode_switch(text: str | bytes) -> SwitchFrame:
    """A frame the switch sent. Raises `msgspec.MsgspecError` when it is none."""
    return _switch_decoder.decode(text)
