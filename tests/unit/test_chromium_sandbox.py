"""Whether a browser's own sandbox runs is tried where AppArmor alone stands against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm_node.engines.chromium import executable


def program(folder: Path, text: str) -> Path:
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("text", "starts"), [("exit 0", True), ("kill -ABRT $$", False)])
async def test_a_browser_that_refuses_has_no_sandbox(
    tmp_path: Path, text: str, starts: bool
) -> None:
    assert await executable.starts_sandboxed(program(tmp_path, text)) is starts


async def test_one_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executable, "_TRIAL_TIMEOUT_S", 0.3)
    assert not await executable.starts_sandboxed(program(tmp_path, "sleep 300 & wait"))


async def test_no_browser_has_no_sandbox(tmp_path: Path) -> None:
    assert not await executable.starts_sandboxed(tmp_path / "none")


async def test_only_apparmors_no_is_put_to_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = program(tmp_path, "exit 0")
    monkeypatch.setattr(executable, "why_not_sandboxed", lambda: executable.BY_APPARMOR)
    assert await executable.why_this_not_sandboxed(fine) is None
    monkeypatch.setattr(executable, "why_not_sandboxed", lambda: "running as root")
    assert await executable.why_this_not_sandboxed(fine) == "running as root"
