"""What an account's lists and cards are made of: pages and vCards."""

import pytest

from schemas.chats import Chat, Contact
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ContactCard
from swarm_node.core.account_pages import chats_page, contacts_page
from swarm_node.core.vcards import read_cards, write_card


@pytest.mark.parametrize(
    "card",
    [
        ContactCard("Ann", "15550009"),
        ContactCard("O'Neil; Ann, the\nfirst \\ only", "15550009", "Shop, Inc; London"),
        ContactCard("安娜 🎉", "6281234567890", "店"),
    ],
)
def test_a_card_survives_its_way(card: ContactCard) -> None:
    assert read_cards([write_card(card)]) == (card,)


@pytest.mark.parametrize(
    "text",
    ["", "BEGIN:VCARD\nFN:Nobody\nEND:VCARD", "TEL;waid=12:+12", "TEL;waid=0123456789:x", "\\:;,"],
)
def test_a_card_without_a_number_is_left_out(text: str) -> None:
    assert read_cards([text, write_card(ContactCard("Ann", "15550009"))]) == (
        ContactCard("Ann", "15550009"),
    )


def test_chats_come_in_pages_last_used_first() -> None:
    chats = [
        Chat(f"{number}@c.us", last_message_at=at)
        for number, at in ((1, None), (2, 5.5), (3, 9.25), (4, 5.5), (5, None))
    ]
    chats.append(Chat("6@g.us", is_group=True, last_message_at=7.0))
    order = ["3@c.us", "6@g.us", "2@c.us", "4@c.us", "1@c.us", "5@c.us"]
    for limit in (1, 2, 4, 6, 7):
        seen: list[str] = []
        after: str | None = None
        while True:
            page, after = chats_page(chats, limit, after, groups_only=False)
            assert len(page) <= limit
            seen += [chat.chat_id for chat in page]
            if after is None:
                break
        assert seen == order
    groups, after = chats_page(chats, 1, None, groups_only=True)
    assert ([chat.chat_id for chat in groups], after) == (["6@g.us"], None)
    for wrong in ("", "x~1@c.us", "5.5"):
        with pytest.raises(BlazzError) as raised:
            chats_page(chats, 1, wrong, groups_only=False)
        assert raised.value.code is ErrorCode.VALIDATION_FAILED


def test_contacts_come_in_pages_by_id() -> None:
    contacts = [Contact(f"{number}@c.us") for number in (3, 1, 2)]
    page, after = contacts_page(contacts, 2, None)
    assert [contact.contact_id for contact in page] == ["1@c.us", "2@c.us"]
    rest, end = contacts_page(contacts, 2, after)
    assert ([contact.contact_id for contact in rest], end) == (["3@c.us"], None)
    assert contacts_page([], 2, None) == ((), None)
