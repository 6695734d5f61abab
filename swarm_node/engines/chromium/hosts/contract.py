"""What the engine asks of whatever keeps browsers: the seam between `isolated` and `shared`.

Owns the two protocols. An engine sees one profile with its pages and nothing of the browser
behind it, so that one browser can hold one profile or many.
"""

from pathlib import Path
from typing import Protocol

from playwright.async_api import Page


class OpenProfile(Protocol):
    """One session's profile, open in some browser. Ends by `close` or `kill`, or by a crash."""

    @property
    def pids(self) -> list[int]:
        """The processes that are this profile's alone; empty when it shares them."""
        ...

    async def new_page(self) -> Page:
        """A fresh page in this profile; the one before it is closed. Bounded.

        Raises `browser_crashed`.
        """
        ...

    async def wait_closed(self) -> None:
        """Return once the browser behind the profile has gone, for whatever reason."""
        ...

    def oom_killed(self) -> bool:
        """Whether the kernel killed one of its processes for want of memory since last asked."""
        ...

    async def close(self) -> None:
        """Flush the profile and close it: bounded, killed if it must be. Idempotent.

        Raises `timeout` when it was killed: what was last may be missing from the profile.
        """
        ...

    async def kill(self) -> None:
        """End it at once, even while `close` hangs. Idempotent, never raises."""
        ...


class BrowserHost(Protocol):
    """The browsers of one node."""

    @property
    def executable(self) -> Path:
        """The browser's binary."""
        ...

    async def build(self) -> str:
        """The browser's version, asked of the binary. Raises `browser_missing`."""
        ...

    @property
    def sandboxed(self) -> bool:
        """Whether Chromium's own sandbox is on."""
        ...

    async def open_profile(self, profile_dir: Path, *, proxy: str | None = None) -> OpenProfile:
        """Open a profile (made when missing), after clearing a dead browser's locks.

        Raises `browser_missing`, `browser_start_failed`; `data_dir_locked` when a live browser
        uses it.
        """
        ...
