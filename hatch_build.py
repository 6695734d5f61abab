"""Puts the wa-js bundle into the wheel.

Owns only that. The bundle is a dependency, pinned in package-lock.json, and never stands in git;
an installed Blazz has no node_modules, so its wheel carries the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("node_modules/@wppconnect/wa-js")
TARGET = "swarm_node/engines/chromium/assets"


class WaJsBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `wppconnect-wa.js` and its licences to a wheel; an editable install needs neither."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raise `FileNotFoundError` when the bundle is not installed."""
        if self.target_name != "wheel" or version == "editable":
            return
        package = Path(self.root) / SOURCE
        bundle = package / "dist" / "wppconnect-wa.js"
        if not bundle.is_file():
            message = f"{SOURCE}/dist/wppconnect-wa.js is missing: run `./justw --provide wa-js`"
            raise FileNotFoundError(message)
        build_data["force_include"][str(bundle)] = f"{TARGET}/wppconnect-wa.js"
        build_data["force_include"][str(package / "LICENSE")] = f"{TARGET}/wppconnect-wa.LICENSE"
        notices = bundle.with_name("wppconnect-wa.js.LICENSE.txt")
        build_data["force_include"][str(notices)] = f"{TARGET}/{notices.name}"
