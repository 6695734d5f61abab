"""The link page in a real Chromium: what a person sees, as the session goes on."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import zxingcpp
from axe_playwright_python.async_playwright import Axe
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

from control_plane.core.rate_limit import RatePolicy
from control_plane.link import texts
from schemas.commands import QrAnswer
from schemas.errors import ErrorCode
from schemas.events import SessionQr, SessionQrIdle
from schemas.states import DesiredState, SessionState
from tests.integration.http_server import TENANT, Running, running
from tests.waiting import eventually

pytestmark = pytest.mark.browser

WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")


def qr_value(number: int) -> str:
    # As long as a real one, so that the picture is as dense.
    return f"2@{number:04d}" + "kQ7z/+M" * 30 + "=,AbC,dEf,gHi"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            yield started
        finally:
            await started.close()


class Opened:
    """A page open on a session's link, and the hand that moves the session."""

    def __init__(self, api: Running, page: Page, session: str, url: str) -> None:
        self.api, self.page, self.session, self.url = api, page, session, url

    async def state(self, state: SessionState, **more: Any) -> None:
        await self.api.memory.sessions.put(TENANT, self.session, state, **more)

    def show_qr(self, number: int, expires_in_s: float = 20.0) -> None:
        """Put a code on show and tell so, as a node does."""
        memory = self.api.memory
        memory.sessions.qrs[self.session] = QrAnswer(qr_value(number), number, 6, expires_in_s)
        memory.feed.publish(TENANT, self.session, SessionQr(number, 6, expires_in_s))

    def end_codes(self) -> None:
        """The codes run out."""
        memory = self.api.memory
        memory.sessions.qrs[self.session] = ErrorCode.QR_EXPIRED
        memory.feed.publish(TENANT, self.session, SessionQrIdle())

    async def seen(self) -> list[str]:
        """What a phone's camera reads off the screen."""
        picture = Image.open(io.BytesIO(await self.page.screenshot(full_page=True)))
        return [code.text for code in zxingcpp.read_barcodes(picture)]

    async def headline(self, name: str) -> None:
        """Wait until the page says what this view says."""
        await expect(self.page.locator("#headline")).to_have_text(texts.STATES[name].headline)


@asynccontextmanager
async def opened(
    browser: Browser,
    state: SessionState,
    *,
    desired: DesiredState = DesiredState.RUNNING,
    return_url: str | None = None,
    context: dict[str, Any] | None = None,
    visit: bool = True,
    **settings: Any,
) -> AsyncIterator[Opened]:
    async with running(link_tick_s=0.5, **settings) as api:
        session = await api.session()
        await api.memory.sessions.put(TENANT, session, state, desired)
        made = await api.client.post(
            f"/v1/sessions/{session}/links", json={"return_url": return_url}
        )
        page_context = await browser.new_context(**(context or {}))
        complaints: list[str] = []
        try:
            page = await page_context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda line: (
                    complaints.append(line.text) if "Content Security Policy" in line.text else None
                ),
            )
            it = Opened(api, page, session, made.json()["url"])
            if visit:
                await page.goto(it.url)
            yield it
        finally:
            await page_context.close()
        assert complaints == []


async def test_from_opening_to_linked(browser: Browser) -> None:
    """The whole way: started by the page's POST, codes that renew, scanned, ready."""
    async with opened(
        browser,
        SessionState.STOPPED,
        desired=DesiredState.STOPPED,
        return_url="https://shop.example/done",
    ) as link:
        await eventually(lambda: "start" in link.api.memory.sessions.calls)
        await link.headline("starting")
        assert await link.seen() == []
        await link.state(SessionState.PAIRING)
        link.show_qr(1)
        await link.headline("qr")
        assert await link.seen() == [qr_value(1)]
        await expect(link.page.locator("#meta")).to_contain_text("Code 1 of 6")
        link.show_qr(2)
        await expect(link.page.locator("#meta")).to_contain_text("Code 2 of 6")
        assert await link.seen() == [qr_value(2)]
        await link.state(SessionState.SYNCING)
        await link.headline("syncing")
        assert await link.seen() == []
        await link.state(SessionState.ONLINE)
        await link.headline("ready")
        await expect(link.page.locator("#hint")).to_have_text("You can close this page.")
        back = link.page.locator("#back")
        await expect(back).to_be_visible()
        assert await back.get_attribute("href") == "https://shop.example/done"
        await eventually(lambda: link.api.memory.feed.followers == 0, what="the page let go")


async def test_a_dead_code_is_never_on_show(browser: Browser) -> None:
    async with opened(browser, SessionState.PAIRING) as link:
        link.show_qr(6, expires_in_s=2.5)
        await link.headline("qr")
        # The node doesn't answer any more, so the server is silent: the page's own clock must do.
        link.api.memory.sessions.answering.clear()
        await expect(link.page.locator("#code")).to_have_class("code ending", timeout=4_000)
        assert await link.seen() == [], "it is blurred before it dies"
        await expect(link.page.locator("#code svg")).to_have_count(0, timeout=4_000)
        await expect(link.page.locator("#meta")).to_have_text(texts.CODE_NEXT)
        assert await link.seen() == []


async def test_codes_that_ran_out_are_renewed_twice_then_on_a_press(browser: Browser) -> None:
    async with opened(browser, SessionState.PAIRING) as link:
        sessions = link.api.memory.sessions
        for number in (1, 2):
            link.show_qr(number)
            await expect(link.page.locator("#meta")).to_contain_text(f"Code {number} of 6")
            link.end_codes()
            await renewals(link, number)
        link.show_qr(3)
        await expect(link.page.locator("#meta")).to_contain_text("Code 3 of 6")
        link.end_codes()
        await link.headline("expired")
        button = link.page.get_by_role("button", name="New code")
        await expect(button).to_be_visible()
        assert len(sessions.renewed) == 2
        await button.click()
        await renewals(link, 3)


async def renewals(link: Opened, count: int) -> None:
    await eventually(lambda: len(link.api.memory.sessions.renewed) == count)


async def test_a_pairing_code_is_asked_for_with_the_phone_number(browser: Browser) -> None:
    narrow = {"viewport": {"width": 360, "height": 740}}
    async with opened(browser, SessionState.PAIRING, context=narrow) as link:
        link.show_qr(1)
        number = link.page.get_by_label(texts.PHONE_LABEL)
        await expect(number).to_be_visible()  # open by default on a phone's own screen
        await number.fill("my number")
        await link.page.get_by_role("button", name=texts.PHONE_BUTTON).click()
        await expect(link.page.locator("#phone-error")).to_have_text(
            texts.PHONE_ERRORS[ErrorCode.RECIPIENT_INVALID]
        )
        await number.fill("+62 812 3456 7890")
        await link.page.get_by_role("button", name=texts.PHONE_BUTTON).click()
        await expect(link.page.locator("#pairing-code")).to_have_text("ABCD-1234")
        await expect(link.page.locator("#phone-error")).to_be_empty()
        await keep(link.page, "link-phone-360")
    async with opened(browser, SessionState.PAIRING) as link:
        await expect(link.page.locator("summary")).to_be_visible()
        await expect(link.page.get_by_label(texts.PHONE_LABEL)).to_be_hidden()


async def test_trouble_is_told_and_a_press_tries_again(browser: Browser) -> None:
    async with opened(browser, SessionState.FAILED) as link:
        await link.headline("failed")
        calls = link.api.memory.sessions.calls
        assert "restart" not in calls, "only a person restarts what failed"
        await link.page.get_by_role("button", name="Try again").click()
        await eventually(lambda: "restart" in calls)
        await link.headline("starting")
        for state, name in (
            (SessionState.PASSKEY_REQUIRED, "passkey"),
            (SessionState.FENCED, "conflict"),
        ):
            await link.state(state)
            await link.headline(name)
        await link.state(SessionState.FAILED, reason="stream_replaced")
        await link.headline("conflict")
        await link.state(SessionState.PAIRING)
        link.api.memory.sessions.qrs[link.session] = ErrorCode.NODE_UNREACHABLE
        await link.headline("unavailable")


async def test_a_lost_server_is_told_and_a_dead_link_too(browser: Browser) -> None:
    async with opened(browser, SessionState.PAIRING) as link:
        link.show_qr(1)
        await link.headline("qr")
        link.api.stop.set()
        await link.headline("offline")
        assert await link.seen() == []
    async with opened(browser, SessionState.PAIRING, visit=False) as link:
        answer = await link.page.goto(f"{link.api.url}/link/no-such-token")
        assert answer is not None
        assert answer.status == 404
        await link.headline("gone")


async def test_it_works_without_scripts(browser: Browser) -> None:
    context = {"java_script_enabled": False}
    async with opened(browser, SessionState.PAIRING, context=context, visit=False) as link:
        link.show_qr(4, expires_in_s=60)
        await link.page.goto(link.url)
        await link.headline("qr")
        assert await link.seen() == [qr_value(4)]
        await link.page.locator("summary").click()
        await link.page.get_by_label(texts.PHONE_LABEL).fill("+62 812 3456 7890")
        await link.page.get_by_role("button", name=texts.PHONE_BUTTON).click()
        await expect(link.page.locator("#pairing-code")).to_have_text("ABCD-1234")
        await link.state(SessionState.STOPPED, desired=DesiredState.STOPPED)
        await link.page.goto(link.url)
        await link.page.get_by_role("button", name="Show the code").click()
        await link.headline("starting")
        assert "start" in link.api.memory.sessions.calls


async def test_a_get_changes_nothing_and_a_post_from_elsewhere_is_refused(
    browser: Browser,
) -> None:
    async with opened(
        browser,
        SessionState.STOPPED,
        desired=DesiredState.STOPPED,
        visit=False,
        link_rate=RatePolicy(per_s=0.001, burst=2),
    ) as link:
        async with httpx.AsyncClient() as preview:
            for _ in range(3):
                page = await preview.get(link.url)
                assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
                assert page.headers["referrer-policy"] == "no-referrer"
            for headers in (
                {},
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
                {"Sec-Fetch-Site": "cross-site", "Origin": link.api.url},
                {"Sec-Fetch-Site": "none"},
            ):
                refused = await preview.post(f"{link.url}/start", json={}, headers=headers)
                assert refused.json()["code"] == "forbidden"
            assert link.api.memory.sessions.calls == ["create"]
            ours = {"Origin": link.api.url}
            codes = [
                (await preview.post(f"{link.url}/start", json={}, headers=ours)).status_code
                for _ in range(3)
            ]
            assert codes == [204, 204, 429]
            wrong = await preview.post(f"{link.api.url}/link/x/start", json={}, headers=ours)
            assert wrong.json()["code"] == "link_token_invalid"
            assert "/link/" not in wrong.text
        assert link.api.memory.sessions.calls == ["create", "start"]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_it_is_readable_and_accessible_at_every_width(browser: Browser, scheme: str) -> None:
    """Set `BLAZZ_SCREENSHOTS` to a directory to look at the pictures."""
    async with opened(browser, SessionState.PAIRING, context={"color_scheme": scheme}) as link:
        link.show_qr(2, expires_in_s=60)
        for state, name in (
            (SessionState.PAIRING, "qr"),
            (SessionState.FAILED, "failed"),
            (SessionState.ONLINE, "ready"),
        ):
            await link.state(state)
            await link.headline(name)
            for width in WIDTHS:
                await link.page.set_viewport_size({"width": width, "height": 800})
                overflow = await link.page.evaluate(
                    "document.documentElement.scrollWidth > document.documentElement.clientWidth"
                )
                assert not overflow, (name, width)
                if name == "qr":
                    assert await link.seen() == [qr_value(2)], width
                    box = await link.page.locator("#code svg").bounding_box()
                    assert box is not None
                    assert box["width"] >= 240
                await keep(link.page, f"link-{name}-{width}-{scheme}")
            results = await Axe().run(link.page)
            serious = [
                (rule["id"], [node["target"] for node in rule["nodes"]])
                for rule in results.response["violations"]
            ]
            assert serious == [], (name, serious)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_docs_draw_and_are_accessible(browser: Browser, scheme: str) -> None:
    async with opened(
        browser, SessionState.PAIRING, context={"color_scheme": scheme}, visit=False
    ) as link:
        page = link.page
        await page.goto(f"{link.api.url}/docs#sendMessage")
        await expect(page.locator("#sendMessage")).to_have_attribute("open", "")
        await expect(page.locator("#sendMessage")).to_contain_text("multipart/form-data")
        assert await page.locator("details.operation").count() > 25
        for width in (360, 1280):
            await page.set_viewport_size({"width": width, "height": 900})
            assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")
            await keep(page, f"docs-{width}-{scheme}")
        assert (await Axe().run(page)).response["violations"] == []
        await page.goto(f"{link.api.url}/docs/errors#qr_expired")
        await keep(page, f"errors-{scheme}")
        assert (await Axe().run(page)).response["violations"] == []


async def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("BLAZZ_SCREENSHOTS"):
        await page.screenshot(path=f"{folder}/{name}.png")
