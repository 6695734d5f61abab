"""Releases for the lab: wheels of this very tree under made-up versions, and what they depend on.

Owns building and downloading; runs outside of the lab's namespaces, which have no way to a package
index. The code of two releases is the same but for the version's number, and for a fault where one
is asked for.
"""

import asyncio
import hashlib
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from bench.hosts.shell import must
from schemas.errors import BlazzError, ErrorCode

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements.lock"
WA_JS: Final = Path("node_modules/@wppconnect/wa-js")
WHEELHOUSE: Final = ROOT / ".lab-wheels"
BUILD_TOOLS: Final = ("setuptools", "wheel")
PYTHON: Final = "/usr/bin/python3"
"""That of the hosts: the wheels are of its version."""
BROKEN_FILE: Final = "swarm_node/app.py"
_VERSION: Final = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)
_BUILD_MAX_S: Final = 180.0
_DOWNLOAD_MAX_S: Final = 900.0


def versions_after(pyproject: str, count: int) -> list[str]:
    """The tree's own version and the patch numbers after it."""
    found = _VERSION.search(pyproject)
    if found is None:
        raise BlazzError(ErrorCode.CONFIG_INVALID, "pyproject.toml names no version")
    major, minor, patch = found[1].split(".")
    return [f"{major}.{minor}.{int(patch) + step}" for step in range(count)]


def with_version(pyproject: str, version: str) -> str:
    """The same project under another version."""
    return _VERSION.sub(f'version = "{version}"', pyproject, count=1)


def broken_on(source: str, host: str) -> str:
    """A node that ends at once on one host, as where something it needs is missing."""
    return source + (
        "\nimport socket\n\n"
        f'if socket.gethostname() == "{host}":\n\n'
        "    async def run_node(*_args, **_kwargs):\n"
        '        raise RuntimeError("made to fail on this host by the lab")\n'
    )


async def build_wheel(folder: Path, version: str, *, breaks_on: str | None = None) -> Path:
    """A wheel of the tree below `folder`. Raises `config_invalid` where there is no tree."""
    tree = folder / f"tree-{version}"
    await _copy_tree(tree)
    pyproject = tree / "pyproject.toml"
    pyproject.write_text(with_version(pyproject.read_text(), version))
    if breaks_on is not None:
        module = tree / BROKEN_FILE
        module.write_text(broken_on(module.read_text(), breaks_on))
    out = folder / "dist"
    await must(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)),
        timeout_s=_BUILD_MAX_S,
        cwd=tree,
    )
    await asyncio.to_thread(shutil.rmtree, tree)
    return out / f"blazz-{version}-py3-none-any.whl"


async def _copy_tree(tree: Path) -> None:
    if not (ROOT / WA_JS).is_dir() or not LOCK.is_file():
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"the lab builds releases of a source tree; {ROOT} is none"
        )
    listed = await must("git", "-C", str(ROOT), "ls-files", "-z")

    def copy() -> None:
        for name in filter(None, listed.split("\0")):
            if not name.startswith("tests/") and (ROOT / name).exists():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
        shutil.copytree(ROOT / WA_JS, tree / WA_JS)

    await asyncio.to_thread(copy)


async def fill_wheelhouse() -> Path:
    """A directory with every wheel of the lock, by its hashes; kept from run to run."""
    name = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    house = WHEELHOUSE / name
    if house.is_dir():
        return house
    draft = WHEELHOUSE / f"{name}.draft"
    await asyncio.to_thread(shutil.rmtree, WHEELHOUSE, ignore_errors=True)
    draft.mkdir(parents=True)
    tools = WHEELHOUSE / "pip"
    await must(PYTHON, "-m", "venv", str(tools))
    pip = (str(tools / "bin/pip"), "download", "--quiet", "--disable-pip-version-check")
    wanted = ("--require-hashes", "-r", str(LOCK), "-d", str(draft))
    await must(*pip, *wanted, timeout_s=_DOWNLOAD_MAX_S)
    # What is published as source alone is built on the host.
    await must(*pip, "--no-deps", "-d", str(draft), *BUILD_TOOLS, timeout_s=_DOWNLOAD_MAX_S)
    draft.rename(house)
    await asyncio.to_thread(shutil.rmtree, tools)
    return house
