"""Text search: which messages hold the words somebody looks for.

Owns what a word is and what a match is, alike for every store. Never reads a store.

Words are compared without case, as pieces of the text: "bay" finds "Pembayaran". No language is
assumed, so nothing is stemmed and no word is too common.
"""

from typing import Final

from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage

WORDS_MAX: Final = 8
QUERY_CHARS_MAX: Final = 200


def words_of(query: str) -> tuple[str, ...]:
    """The words of a query, folded. Raises `validation_failed` for none, or too many."""
    words = tuple(dict.fromkeys(fold(query).split()))
    if not words or len(words) > WORDS_MAX or len(query) > QUERY_CHARS_MAX:
        raise BlazzError(
            ErrorCode.VALIDATION_FAILED,
            f"`q` must be 1 to {WORDS_MAX} words, {QUERY_CHARS_MAX} characters at most",
        )
    return words


def fold(text: str) -> str:
    """A text as it is compared."""
    return text.casefold()


def searched(message: ChatMessage) -> str:
    """What of a message is searched, folded: its text or caption, a place's or a card's name, a
    poll's question and answers, a file's name."""
    parts = [message.text or ""]
    if message.location is not None:
        parts += [message.location.name or "", message.location.address or ""]
    parts += [card.name for card in message.contacts]
    if message.poll is not None:
        parts += [message.poll.question, *message.poll.options]
    if message.media is not None:
        parts.append(message.media.filename or "")
    return fold("\n".join(part for part in parts if part))


def matches(message: ChatMessage, words: tuple[str, ...]) -> bool:
    """Whether all words stand in it."""
    text = searched(message)
    return all(word in text for word in words)
