"""The browser on this machine: where it is, and whether its own sandbox can run here.

Owns the search and the checks. Starts it only to ask for its version, and for a blank page where
nothing else tells whether its sandbox runs.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.settings import EXECUTABLE_ENV, ChromiumSettings

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_VERSION_TIMEOUT_S: Final = 15.0
_USER_NAMESPACES: Final = Path("/proc/sys/user/max_user_namespaces")
_UNPRIVILEGED: Final = Path("/proc/sys/kernel/unprivileged_userns_clone")
_APPARMOR: Final = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
BY_APPARMOR: Final = "AppArmor restricts user namespaces (apparmor_restrict_unprivileged_userns)"
_TRIAL_TIMEOUT_S: Final = 30.0


def find_executable(settings: ChromiumSettings, *, bundled: Path | None = None) -> Path:
    """The browser to use: the setting, `BLAZZ_CHROMIUM`, the PATH, then Playwright's (`bundled`).

    A browser that is named must be there: another one in its place could not open the profiles.
    Raises `browser_missing`.
    """
    named = settings.executable or _from_environment()
    if named is not None:
        if not _runnable(named):
            raise BlazzError(
                ErrorCode.BROWSER_MISSING, f"there is no program at {named} ({EXECUTABLE_ENV})"
            )
        return named
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    if bundled is not None and _runnable(bundled):
        return bundled
    raise BlazzError(
        ErrorCode.BROWSER_MISSING, f"none of {', '.join(NAMES)} is installed, nor Playwright's own"
    )


async def browser_build(executable: Path) -> str:
    """What `--version` says, without the name: profiles are tied to it.

    Raises `browser_missing` when the binary does not start.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            executable,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise BlazzError(
            ErrorCode.BROWSER_MISSING, f"{executable} does not start: {error.strerror}"
        ) from error
    try:
        async with asyncio.timeout(_VERSION_TIMEOUT_S):
            said, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise BlazzError(
            ErrorCode.BROWSER_MISSING, f"{executable} did not say its version"
        ) from error
    found = _VERSION.search(said.decode(errors="replace"))
    if found is None:
        raise BlazzError(ErrorCode.BROWSER_MISSING, f"{executable} is no Chromium")
    return found.group()


async def why_this_not_sandboxed(executable: Path) -> str | None:
    """Why this browser's own sandbox can't run on this host, or None when it can.

    AppArmor may let this one program do what it refuses to all others; that is tried, with a blank
    page. Bounded.
    """
    reason = why_not_sandboxed()
    if reason == BY_APPARMOR and await starts_sandboxed(executable):
        return None
    return reason


async def starts_sandboxed(executable: Path) -> bool:
    """Whether it shows a blank page with its sandbox on: without one it refuses to start."""
    with tempfile.TemporaryDirectory(
        prefix="blazz-sandbox-", ignore_cleanup_errors=True
    ) as scratch:
        try:
            process = await asyncio.create_subprocess_exec(
                executable,
                "--headless",
                "--no-first-run",
                "--disable-gpu",
                f"--user-data-dir={scratch}",
                "--dump-dom",
                "about:blank",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return False
        try:
            async with asyncio.timeout(_TRIAL_TIMEOUT_S):
                return await process.wait() == 0
        except TimeoutError:
            return False
        finally:
            if process.returncode is None:
                # The whole group: a browser is several processes.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def why_not_sandboxed() -> str | None:
    """Why Chromium's own sandbox can't run on this host for just any browser, or None."""
    if os.geteuid() == 0:
        return "running as root"
    if _read(_USER_NAMESPACES) == "0":
        return "user namespaces are switched off (user.max_user_namespaces)"
    if _read(_UNPRIVILEGED) == "0":
        return "user namespaces are for root only (kernel.unprivileged_userns_clone)"
    if _read(_APPARMOR) == "1":
        return BY_APPARMOR
    return None


def _from_environment() -> Path | None:
    named = os.environ.get(EXECUTABLE_ENV)
    return Path(named) if named else None


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None
