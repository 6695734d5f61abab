"""What the phone's API takes and gives, as records.

Owns the JSON shapes of `phone_api`; `sandbox.phone` reads the same. Never holds behaviour.
"""

from __future__ import annotations

import msgspec

from schemas import switch_wire as wire


class NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/accounts`. `number`, `lid`: digits."""

    number: str
    name: str = ""
    lid: str = ""
    lid_only: bool = False
    on: bool = True
    auto_read: bool = False
    business: bool = False
    about: str = ""


class AccountChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /api/accounts/<number>`: what is null stays; an empty `picture` (a media id) removes
    it."""

    name: str | None = None
    about: str | None = None
    picture: str | None = None
    on: bool | None = None
    auto_read: bool | None = None


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/scan`: the QR's text."""

    text: str


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/pairing-code`."""

    code: str


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/messages`: sent by the phone itself. `id` is made when empty."""

    to: str
    type: wire.MessageType = "chat"
    body: str = ""
    media: wire.MediaRef | None = None
    quoted_id: str = ""
    mentions: tuple[str, ...] = ()
    location: wire.Location | None = None
    contacts: tuple[wire.Card, ...] = ()
    poll: wire.Poll | None = None
    preview: wire.LinkPreview | None = None
    forwarded: bool = False
    id: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/read`: no ids means the whole chat."""

    chat: str
    ids: tuple[str, ...] = ()
    ack: int = wire.ACK_READ


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/react|edit|delete`: `text` is the emoji or the new body."""

    chat: str
    id: str
    text: str = ""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/vote`: all options chosen."""

    chat: str
    id: str
    options: tuple[str, ...]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/presence`."""

    chat: str
    state: wire.PresenceState


class Calling(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/calls`; `DELETE …/calls/<id>` gives up."""

    to: str
    video: bool = False


class GroupAct(msgspec.Struct, frozen=True, kw_only=True):
    """`POST …/groups/<wid>`: `members` are account numbers, `value` as in `Groups.change`."""

    change: wire.GroupChangeKind
    members: tuple[str, ...] = ()
    value: str = ""


class NewGroup(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /api/groups`: `members` are account numbers, the owner's first."""

    name: str
    members: tuple[str, ...]


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A linked device. `instances`: browser runs that are connected now, older first."""

    device_id: str
    account: str
    linked_ts: int
    app_version: str
    online: bool
    stored_seq: int
    queued: int
    instances: tuple[str, ...]


class PhoneMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message on the phone: `n` is its number in the log; reactions are emoji by number, votes
    options by number."""

    n: int
    message: wire.Message
    reactions: dict[str, str]
    votes: dict[str, tuple[str, ...]] = {}


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """The id of what was made: a message's hex, a group's wid."""

    id: str


class Linking(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: `linked`, or `passkey` when that has to be passed first."""

    state: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Every refusal's body. `error`: not_found, invalid, expired, wrong_code, nothing_waits…"""

    error: str
    detail: str = ""
