"""What is installed and shipped: the locks agree, name no host, and the wheel is whole."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-npm.lock")
# They serve set-up only and are no dependency of an installed Blazz.
TOOLS = {"editables", "hatchling", "rust-just"}
BUNDLE = ROOT / "node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"


def pins(lock: str) -> dict[str, str]:
    """Requirement lines of a lock (name, markers and all) with their versions."""
    found = re.findall(r"^(\S+)==(\S+)([^\\\n]*)", (ROOT / lock).read_text(), re.MULTILINE)
    return {f"{name}{marker.strip()}": version for name, version, marker in found}


def requirements(lines: list[str]) -> set[str]:
    wanted = [Requirement(line) for line in lines]
    return {f"{one.name}{one.specifier}{one.marker or ''}" for one in wanted}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_no_lock_names_a_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_npm_lock_pins_content_and_names_no_host() -> None:
    text = (ROOT / "package-lock.json").read_text()
    assert '"integrity": "sha512-' in text
    assert "://" not in text


def test_checks_run_on_the_versions_that_are_shipped() -> None:
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    different = {name: (version, dev.get(name)) for name, version in run.items()
                 if dev.get(name) != version}  # fmt: skip
    assert not different


def test_the_project_depends_on_what_the_lock_was_made_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = (ROOT / "requirements.in").read_text().splitlines()
    wanted = requirements([line for line in listed if line and not line.startswith("#")])
    declared = requirements(project["dependencies"])
    assert wanted - declared == TOOLS
    assert declared <= wanted


def test_the_wheel_holds_the_parts_and_the_wa_js_bundle(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=50,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        shipped = archive.read("swarm_node/engines/chromium/assets/wppconnect-wa.js")
    assert shipped == BUNDLE.read_bytes()
    assert {name.partition("/")[0] for name in names if not name.startswith("blazz-")} == {
        "schemas", "swarm_node", "control_plane", "tui", "cli", "sandbox", "bench"
    }  # fmt: skip
    assert "swarm_node/engines/chromium/assets/wppconnect-wa.LICENSE" in names
    assert "cli/planning/catalogue.toml" in names
