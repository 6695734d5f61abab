"""How much memory the node's process tree uses, and how much the machine has left.

Owns the measuring: PSS, which counts a shared page once however many browsers share it. Blocking
and not free: call it in a thread, every ten seconds at most.
"""

from pathlib import Path

import msgspec
import psutil


class MemoryUse(msgspec.Struct, frozen=True):
    """Bytes."""

    used_bytes: int = 0
    free_bytes: int = 0


def measure() -> MemoryUse:
    """PSS of this process and all below it; what the machine could still give."""
    own = psutil.Process()
    pids = [own.pid, *(child.pid for child in own.children(recursive=True))]
    return MemoryUse(
        used_bytes=sum(_pss_bytes(pid) for pid in pids),
        free_bytes=psutil.virtual_memory().available,
    )


def _pss_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0  # it ended meanwhile, or is not ours to read
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
