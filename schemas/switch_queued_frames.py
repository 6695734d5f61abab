"""The frames that a linked device must store before the switch forgets them; see `switch_wire`.

Owns these shapes. Each carries `seq`; what one person may do twice in a second has `ts_ms` besides
`ts`. Never holds behaviour.
"""

from __future__ import annotations

from schemas.switch_client_frames import Frame
from schemas.switch_records import CallKind, ChatInfo, GroupChangeKind, Message


class MessageIn(Frame, frozen=True, kw_only=True):
    """Queued. A message for this device: from others, or the user's own from the phone or another
    linked device. `offline`: it waited while the device was away."""

    seq: int
    message: Message
    offline: bool = False


class Ack(Frame, frozen=True, kw_only=True):
    """Queued. The user's own messages `ids` in `chat` rose to `ack`; `by` (a wid) made it so.

    In a group this is the lowest ack among the others, as WhatsApp's ticks show it.
    """

    seq: int
    chat: str
    ids: tuple[str, ...]
    ack: int
    by: str
    ts: int


class ReadElsewhere(Frame, frozen=True, kw_only=True):
    """Queued. The user read `chat` on the phone or another device: unread is 0."""

    seq: int
    chat: str


class Reaction(Frame, frozen=True, kw_only=True):
    """Queued. `sender` reacted to message `id`, written by `author`; an empty `emoji` removes."""

    seq: int
    chat: str
    id: str
    author: str
    author_is_me: bool
    sender: str
    emoji: str
    ts: int
    ts_ms: int = 0


class Edited(Frame, frozen=True, kw_only=True):
    """Queued. `sender` changed their message's text."""

    seq: int
    chat: str
    id: str
    sender: str
    from_me: bool
    body: str
    ts: int
    ts_ms: int = 0


class Deleted(Frame, frozen=True, kw_only=True):
    """Queued. `sender` deleted their message for everyone."""

    seq: int
    chat: str
    id: str
    sender: str
    from_me: bool
    ts: int


class ChatAdded(Frame, frozen=True, kw_only=True):
    """Queued. The account is in a new group, or a group changed."""

    seq: int
    chat: ChatInfo


class PollVoted(Frame, frozen=True, kw_only=True):
    """Queued. `sender` voted in poll `id`, written by `author`: all that they chose now, as the
    options read; none takes the vote back."""

    seq: int
    chat: str
    id: str
    author: str
    author_is_me: bool
    sender: str
    options: tuple[str, ...]
    ts: int
    ts_ms: int = 0


class GroupChanged(Frame, frozen=True, kw_only=True):
    """Queued. `by` changed a group: `members` are those concerned, `value` the new name or
    description, a picture's media id, or `on`/`off`. `info`: the chat after it. Those who are out
    of the group by it are told, too."""

    seq: int
    chat: str
    change: GroupChangeKind
    by: str
    ts: int
    info: ChatInfo
    members: tuple[str, ...] = ()
    value: str = ""


class CallIn(Frame, frozen=True, kw_only=True):
    """Queued. `sender` calls, or gave up (`missed`); `group`: the group that is called."""

    seq: int
    id: str
    sender: str
    state: CallKind
    ts: int
    video: bool = False
    group: str = ""


QueuedFrame = (
    MessageIn
    | Ack
    | ReadElsewhere
    | Reaction
    | Edited
    | Deleted
    | ChatAdded
    | PollVoted
    | GroupChanged
    | CallIn
)
