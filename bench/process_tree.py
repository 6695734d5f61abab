"""What a process and all below it use: memory (PSS), threads, file handles, temp files.

Owns reading `/proc`. Processes may end while it reads; those count as gone.
"""

from pathlib import Path

import msgspec
import psutil


class TreeUse(msgspec.Struct, frozen=True):
    """One reading of a process tree."""

    processes: int
    pss_bytes: int
    threads: int
    file_handles: int


def tree_pids(root: int) -> list[int]:
    """The process and its descendants that live now."""
    try:
        process = psutil.Process(root)
        return [root, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages are counted once over all that share them."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _handles(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def _threads(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0


def read_tree(root: int) -> TreeUse:
    """Read it once."""
    pids = tree_pids(root)
    return TreeUse(
        processes=len(pids),
        pss_bytes=sum(pss_bytes(pid) for pid in pids),
        threads=sum(_threads(pid) for pid in pids),
        file_handles=sum(_handles(pid) for pid in pids),
    )


def count_files(folder: Path) -> int:
    """Files under a folder, however deep."""
    return sum(1 for path in folder.rglob("*") if path.is_file() or path.is_symlink())
