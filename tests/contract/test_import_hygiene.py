"""The import rules that import-linter can't see: allow-lists, and what is loaded at run time.

import-linter (pyproject.toml) holds who may import whom; here a fresh interpreter shows what an
import really pulls in, and each pure module's own imports are read against a short list.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("schemas", "swarm_node", "control_plane", "tui", "cli", "sandbox", "bench")
EDGE = {"aiohttp", "litestar", "motor", "nats", "playwright", "pymongo", "textual", "uvicorn"}
# Standard library modules that would let the clock, chance or the world into pure code.
IMPURE = {
    "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib",
    "random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


def modules_under(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(directory.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def core_modules() -> list[tuple[str, Path]]:
    return [
        found
        for part in PARTS
        for core in (ROOT / part).rglob("core")
        if core.is_dir()
        for found in modules_under(core)
    ]


def registry_modules() -> list[tuple[str, Path]]:
    transport = ROOT / "schemas" / "transport"
    return [
        (name, path)
        for name, path in modules_under(ROOT / "schemas")
        if not path.is_relative_to(transport)
    ]


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def loaded_by(*modules: str) -> set[str]:
    """Names in `sys.modules` of a fresh interpreter after it imported these modules."""
    script = (
        "import importlib, json, sys\n"
        f"for name in {list(modules)!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def imported_by(path: Path) -> set[str]:
    """Dotted names that a module itself imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def outside(path: Path, allowed: frozenset[str]) -> set[str]:
    """What a module imports that is neither in `allowed` nor inside one of its packages."""
    return {
        name
        for name in imported_by(path)
        if not any(name == one or name.startswith(f"{one}.") for one in allowed)
    }


def test_schemas_load_no_nats_and_no_event_loop() -> None:
    loaded = loaded_by(*(name for name, _ in registry_modules()))
    assert not loaded & (EDGE | {"asyncio", "logging", "structlog"})
    assert "schemas.transport" not in loaded


@pytest.mark.parametrize("path", [path for _, path in registry_modules()], ids=_shown)
def test_schemas_import_only_the_standard_library_and_msgspec(path: Path) -> None:
    assert not outside(path, sys.stdlib_module_names | {"msgspec", "schemas"})


def test_core_loads_no_event_loop_and_no_logging() -> None:
    loaded = loaded_by(*(name for name, _ in core_modules()))
    assert not loaded & (EDGE | {"asyncio", "logging", "socket", "structlog", "subprocess"})
    assert "schemas.transport" not in loaded


@pytest.mark.parametrize("path", [path for _, path in core_modules()], ids=_shown)
def test_core_imports_only_schemas_and_pure_standard_library(path: Path) -> None:
    own_core = f"{path.relative_to(ROOT).parts[0]}.core"
    assert not outside(path, (sys.stdlib_module_names - IMPURE) | {"msgspec", "schemas", own_core})


def test_the_command_line_starts_without_the_parts() -> None:
    # `blazz --help` and every small command must not pay for a web server, a browser driver or
    # a terminal toolkit that they never use.
    loaded = loaded_by("cli.main")
    assert not loaded & EDGE
    assert not loaded & {"swarm_node", "control_plane", "tui", "sandbox", "bench"}


def test_ansible_is_never_a_package() -> None:
    # It would hide the real `ansible` from everything that runs in the project's root.
    assert not list((ROOT / "ansible").rglob("__init__.py"))
