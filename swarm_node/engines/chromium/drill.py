"""A drill: does a restored profile hold a session? Seen in a scratch browser without any network.

Owns the looking: databases that open, records, keys that work and stay inside, localStorage. It
runs on a blank page of WhatsApp's origin, so nothing of the real page runs and WhatsApp is told
nothing: a drill of a live session's snapshot is no second hold. Knows no database by name. The
profile belongs to the caller, who throws it away.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from playwright.async_api import Error as PlaywrightError

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium import link_mark
from swarm_node.engines.chromium.hosts import open_host
from swarm_node.engines.chromium.hosts.contract import OpenProfile
from swarm_node.engines.chromium.page_storage import blank_page, replace_storage
from swarm_node.engines.chromium.settings import ChromiumSettings

RECORDS_READ_MAX: Final = 500
"""Of each store, in search of keys: keys are few and messages many."""
_NO_NETWORK: Final = "--host-resolver-rules=MAP * ~NOTFOUND"
_LOOK: Final = (Path(__file__).parent / "bridge" / "drill.js").read_text(encoding="utf-8")


class DrillReport(msgspec.Struct, frozen=True):
    """What was found. `problems`: in words, without anything of the content.

    `keys_usable`: keys that signed, encrypted or derived something; `keys_extractable`: those
    that could be copied out of the browser (none should).
    """

    databases: int
    stores: int
    records: int
    keys: int
    keys_usable: int
    keys_extractable: int
    storage_items: int
    link_mark: bool
    problems: tuple[str, ...]
    duration_s: float

    @property
    def passed(self) -> bool:
        """Whether all that a login needs is there: databases, a working key, localStorage."""
        return (
            not self.problems
            and self.records > 0
            and 0 < self.keys == self.keys_usable
            and self.storage_items > 0
            and self.link_mark
        )


async def drill_profile(
    profile_dir: Path,
    settings: ChromiumSettings,
    *,
    page_storage: Mapping[str, str] | None = None,
) -> DrillReport:
    """Open the profile, with the snapshot's localStorage if there is one, and look. Bounded.

    Raises `browser_missing`, `browser_start_failed`, `browser_crashed`, `page_timeout`,
    `page_error`.
    """
    began_s = time.monotonic()
    marked = link_mark.is_linked(profile_dir)
    async with open_host(without_network(settings)) as host:
        opened = await host.open_profile(profile_dir)
        try:
            found = await _look(opened, settings, page_storage)
        finally:
            await opened.kill()
    return DrillReport(
        databases=found["databases"],
        stores=found["stores"],
        records=found["records"],
        keys=found["keys"],
        keys_usable=found["keysUsable"],
        keys_extractable=found["keysExtractable"],
        storage_items=found["storageItems"],
        link_mark=marked,
        problems=tuple(found["problems"]),
        duration_s=time.monotonic() - began_s,
    )


def without_network(settings: ChromiumSettings) -> ChromiumSettings:
    """The settings, with every host unknown; the operator's own host rules would let some by."""
    kept = [one for one in settings.extra_args if not one.startswith("--host-resolver-rules=")]
    return msgspec.structs.replace(settings, extra_args=(*kept, _NO_NETWORK))


async def _look(
    opened: OpenProfile, settings: ChromiumSettings, page_storage: Mapping[str, str] | None
) -> dict[str, Any]:
    timeout_s = settings.navigation_timeout_s
    page = await opened.new_page()
    if page_storage is not None:
        await replace_storage(page, page_storage, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s), blank_page(page, timeout_s=timeout_s):
            found: dict[str, Any] = await page.evaluate(_LOOK, RECORDS_READ_MAX)
            return found
    except TimeoutError as error:
        raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the profile does not open") from error
    except PlaywrightError as error:
        if page.is_closed():
            raise BlazzError(ErrorCode.BROWSER_CRASHED, "the browser has gone") from error
        raise BlazzError(ErrorCode.PAGE_ERROR, "the profile can't be looked at") from error
