"""Pages of an account's chats and contacts.

Owns their order and what `after` means. Pure. Never where the rows come from.
"""

from collections.abc import Iterable

from schemas.chats import Chat, Contact
from schemas.errors import BlazzError, ErrorCode


def chats_page(
    chats: Iterable[Chat], limit: int, after: str | None, groups_only: bool
) -> tuple[tuple[Chat, ...], str | None]:
    """At most `limit` chats, last used first, and the next `after` (`<time>~<chat id>` of the last
    one). A chat used meanwhile has moved before the page. Raises `validation_failed`."""
    rows = [chat for chat in chats if chat.is_group or not groups_only]
    rows.sort(key=_chat_place)
    if after is not None:
        time, tilde, chat_id = after.partition("~")
        try:
            place = (-float(time), chat_id)
        except ValueError:
            raise _no_cursor() from None
        if not tilde:
            raise _no_cursor()
        rows = [chat for chat in rows if _chat_place(chat) > place]
    page = tuple(rows[:limit])
    more = len(rows) > limit
    return page, f"{page[-1].last_message_at or 0.0!r}~{page[-1].chat_id}" if more else None


def contacts_page(
    contacts: Iterable[Contact], limit: int, after: str | None
) -> tuple[tuple[Contact, ...], str | None]:
    """At most `limit` contacts by id, and the next `after` (the last one's id)."""
    rows = sorted(contacts, key=lambda contact: contact.contact_id)
    rows = [contact for contact in rows if after is None or contact.contact_id > after]
    page = tuple(rows[:limit])
    return page, page[-1].contact_id if len(rows) > limit else None


def _chat_place(chat: Chat) -> tuple[float, str]:
    return (-(chat.last_message_at or 0.0), chat.chat_id)


def _no_cursor() -> BlazzError:
    return BlazzError(ErrorCode.VALIDATION_FAILED, "`after` is not what an earlier answer gave")
