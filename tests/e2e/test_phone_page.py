"""The sandbox phone's page in a real Chromium; the linked device is a line without a browser."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import qrcode
from axe_playwright_python.async_playwright import Axe
from PIL import Image
from playwright.async_api import Page, async_playwright, expect

from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas import switch_wire as wire
from tests.integration.switch_device import DeviceKeys, Line, open_line

pytestmark = pytest.mark.browser

ANN, BOB = "15550001", "15550002"
# The page reads the phone anew once a second, in turns that take seconds on a busy machine.
expect.set_options(timeout=20_000)
WIDTHS = (360, 1280)


def picture_of_qr(text: str) -> bytes:
    out = io.BytesIO()
    qrcode.make(text).save(out, "PNG")
    return out.getvalue()


def photo() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((320, 200)).save(out, "PNG")
    return out.getvalue()


@asynccontextmanager
async def phone_page(url: str) -> AsyncIterator[Page]:
    """The page, which must neither throw nor break its own policy."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda line: (
                    complaints.append(line.text) if "Content Security Policy" in line.text else None
                ),
            )
            await page.goto(url)
            yield page
        finally:
            await browser.close()
    assert complaints == []


async def look(page: Page, name: str) -> None:
    """Nothing inaccessible or wider than the screen, light or dark, narrow or wide."""
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.set_viewport_size({"width": width, "height": 800})
            if folder := os.environ.get("BLAZZ_SCREENSHOTS"):
                await page.screenshot(path=Path(folder) / f"phone-{name}-{width}-{scheme}.png")
            found = (await Axe().run(page)).response["violations"]
            assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == [], (name, scheme)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (name, width)


async def write(page: Page, text: str) -> None:
    """Type into the composer and press Enter."""
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def act(page: Page, message: str, name: str) -> None:
    """Press one of a message's buttons."""
    bubble = page.locator(".message", has=page.locator(".text", has_text=message))
    await bubble.hover()
    await bubble.get_by_role("button", name="Actions for").click()
    await bubble.get_by_role("button", name=name, exact=True).click()


async def message_on(line: Line, body: str) -> wire.Message:
    message = (await line.wait(wire.MessageIn)).message
    assert message.body == body
    return message


async def test_the_first_visit_says_what_to_do() -> None:
    async with Sandbox() as sandbox, phone_page(sandbox.api_url) as page:
        await expect(page.get_by_text("There is no phone yet")).to_be_visible()
        await page.get_by_label("Number", exact=True).fill(ANN)
        await page.get_by_label("Name", exact=True).fill("Ann")
        await page.get_by_role("button", name="Create phone").click()
        await expect(page.locator("#no-chats")).to_contain_text("No chats yet")
        await expect(page.locator("#no-chats")).to_contain_text("There is no other phone yet")
        await expect(page.get_by_label("Picture of the QR")).to_be_visible()
        await look(page, "first")


async def test_link_by_picture_chat_and_unlink() -> None:
    async with Sandbox() as sandbox, PhoneBook(sandbox.api_url) as book:
        await book.create(ANN, "Ann", lid="7770001")
        bob = await book.create(BOB, "Bob", lid="7770002")
        await bob.send_text(ANN, "hello Ann")
        async with (
            phone_page(f"{sandbox.api_url}/#{ANN}") as page,
            open_line(sandbox, DeviceKeys()) as line,
        ):
            await _link(page, line)
            await page.locator("#chats").get_by_role("button", name="Bob").click()
            await _send(page, line, book)
            await _ticks(page, line, book)
            await _change(page, line)
            await _other_kinds(page, line, book)
            await look(page, "chat")
            await page.get_by_role("button", name="Unlink").click()
            await expect(page.locator("#devices")).to_have_text("None yet.")
            assert (await line.wait(wire.Unlinked)).reason == "phone"
            await expect(page.get_by_label("Picture of the QR")).to_be_visible()


async def _link(page: Page, line: Line) -> None:
    await line.hello()
    ref = (await line.wait(wire.Qr)).ref
    choose = page.get_by_label("Picture of the QR")
    await choose.set_input_files({"name": "no.png", "mimeType": "image/png", "buffer": photo()})
    await expect(page.locator("#told")).to_have_text("There is no QR in that picture.")
    picture = picture_of_qr(f"{ref},key,key,adv")
    await choose.set_input_files({"name": "qr.png", "mimeType": "image/png", "buffer": picture})
    await expect(page.locator("#told")).to_have_text("Linked.")
    device = (await line.wait(wire.Paired)).device_id
    await line.wait(wire.SyncDone)
    await expect(page.locator("#devices")).to_contain_text(device[:8])
    await expect(page.locator("#devices")).to_contain_text("online")
    # Folded away once it has done its work.
    await expect(choose).to_be_hidden()


async def _send(page: Page, line: Line, book: PhoneBook) -> None:
    await expect(page.locator(".message.in")).to_contain_text("hello Ann")
    await page.get_by_role("button", name="Mark as read").click()
    await line.wait(wire.ReadElsewhere)
    await expect(page.get_by_role("button", name="Mark as read")).to_be_hidden()
    await write(page, "hi from the page")
    assert (await message_on(line, "hi from the page")).from_me
    data = photo()
    await page.locator("#file").set_input_files(
        {"name": "hill.png", "mimeType": "image/png", "buffer": data}
    )
    await write(page, "a hill")
    message = await message_on(line, "a hill")
    assert message.type == "image"
    assert message.media is not None
    assert await book.get_media(message.media.media_id) == data
    shown = page.get_by_role("img", name="a hill")
    await expect(shown).to_be_visible()
    await expect(shown).to_have_js_property("naturalWidth", 320)
    await act(page, "hello Ann", "Reply")
    await write(page, "hello yourself")
    assert (await message_on(line, "hello yourself")).quoted_id
    await expect(page.locator("blockquote")).to_have_text("Bobhello Ann")


async def _ticks(page: Page, line: Line, book: PhoneBook) -> None:
    """The linked device writes; the page shows it, and how far it got."""
    bob = book.phone(BOB)
    await bob.set(on=False)
    await line.send("3EB0AA", f"{BOB}@c.us", "from the laptop")
    ticks = page.locator(".message.out", has_text="from the laptop").locator("footer .spoken")
    await expect(ticks).to_have_text("sent")
    await bob.set(on=True)
    await expect(ticks).to_have_text("delivered")
    # On Bob's own screen it is unread, until he presses the button.
    await page.get_by_label("Which phone").select_option(BOB)
    chat = page.locator("#chats").get_by_role("button", name="Ann")
    await expect(chat).to_contain_text("4 unread")
    await chat.click()
    await expect(page.locator(".message.in .text").last).to_have_text("from the laptop")
    await page.get_by_role("button", name="Mark as read").click()
    await expect(chat).not_to_contain_text("unread")
    await page.get_by_label("Which phone").select_option(ANN)
    await page.locator("#chats").get_by_role("button", name="Bob").click()
    await expect(ticks).to_have_text("read")


async def _change(page: Page, line: Line) -> None:
    await act(page, "hello Ann", "React: heart")
    assert (await line.wait(wire.Reaction)).emoji == "❤️"
    await expect(page.locator(".reactions")).to_contain_text("Reactions: Ann ❤️")
    await act(page, "hi from the page", "Edit")
    await write(page, "hi, edited")
    assert (await line.wait(wire.Edited)).body == "hi, edited"
    await expect(page.locator(".message", has_text="hi, edited")).to_contain_text("edited ")
    await act(page, "from the laptop", "Delete")
    await line.wait(wire.Deleted)
    await expect(page.get_by_text("You deleted this message")).to_be_visible()


async def _other_kinds(page: Page, line: Line, book: PhoneBook) -> None:
    bob = book.phone(BOB)
    await bob.send_location(ANN, -6.2, 106.8, "The shop", "1 Road")
    await expect(page.locator(".place")).to_have_text("The shop1 Road-6.2, 106.8")
    vcard = "BEGIN:VCARD\nVERSION:3.0\nFN:Eve\nTEL;waid=15550009:+15550009\nEND:VCARD"
    await bob.send_cards(ANN, wire.Card(name="Eve", vcard=vcard))
    await expect(page.locator(".card")).to_have_text("Eve15550009")
    preview = wire.LinkPreview(url="https://example.test/", title="Our shop")
    await bob.send_text(ANN, "see https://example.test/", preview=preview, forwarded=True)
    shown = page.locator(".message", has=page.locator(".preview"))
    await expect(shown).to_contain_text("Our shop")
    await expect(shown).to_contain_text("Forwarded")
    poll_id = await bob.send_poll(ANN, "When?", "now", "later")
    for option in ("now", "later"):
        await page.locator(".poll").get_by_role("button", name=option).click()
        vote = await line.wait(wire.PollVoted)
        assert (vote.id, vote.options) == (poll_id, (option,))
    await bob.vote(ANN, poll_id, "later")
    chosen = page.locator(".poll [aria-pressed=true]")
    await expect(chosen).to_have_text("later2")
    await expect(page.locator("#chats")).to_contain_text("Poll: When?")
