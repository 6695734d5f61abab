"""How things break here: processes that are killed or frozen, outright and by their ids.

Owns finding the process to hit and hitting it. Only ever touches processes of one stack: they are
found below a child of that stack, or by a path inside its directory.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.process_tree import tree_pids
from bench.stage import Stage


def kill(pid: int) -> None:
    """SIGKILL, now."""
    os.kill(pid, signal.SIGKILL)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """SIGSTOP for the block, then SIGCONT: a machine that stalls, and comes back."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def node_tree(stage: Stage, node_id: str) -> list[int]:
    """A node's process and all below it."""
    return tree_pids(stage.stack.node(node_id).child.pid)


def browser(stage: Stage, node_id: str, session_id: str) -> int:
    """The main process of a session's browser on a node."""
    return _of_session(stage, node_id, session_id, "")[0]


def renderers(stage: Stage, node_id: str, session_id: str) -> list[int]:
    """The renderer processes of a session's browser on a node."""
    return _of_session(stage, node_id, session_id, "renderer")


def alive(pids: list[int]) -> list[int]:
    """Those that still run."""
    return [pid for pid in pids if _runs(pid)]


def of_folder(folder: Path) -> list[str]:
    """Every process that names the folder in its command or its `TMPDIR`; as words."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            named = f"{folder}/" in words or str(folder) in process.environ().get("TMPDIR", "")
        except psutil.Error:
            continue
        if named and process.pid != os.getpid() and _runs(process.pid):
            found.append(f"{process.pid} {words[:200]}")
    return found


def _of_session(stage: Stage, node_id: str, session_id: str, kind: str) -> list[int]:
    """A browser's processes of one kind; the main one has none. Zygotes fork renderers, so these
    are not found by parent but by the profile or among the tree of the main process."""
    found = []
    for pid in node_tree(stage, node_id):
        try:
            words = psutil.Process(pid).cmdline()
        except psutil.Error:
            continue
        is_main = not any("--type=" in word for word in words)
        if is_main and any("--user-data-dir=" in word and session_id in word for word in words):
            found.append(pid)
    if not kind or not found:
        return found
    return [pid for pid in tree_pids(found[0]) if f"--type={kind}" in _words(pid)]


def _words(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
