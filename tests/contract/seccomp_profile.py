"""The containers' seccomp profile, made from the systemd unit's own filter.

    python -m tests.contract.seccomp_profile

writes `deploy/docker/seccomp.json`: what `blazz-node.service` may call, a container may call, too.
Needs systemd-analyze, which knows the groups (`@system-service`) by their calls.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
UNIT: Final = ROOT / "deploy/systemd/blazz-node.service"
PROFILE: Final = ROOT / "deploy/docker/seccomp.json"
NAMESPACES_DENIED: Final = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC: all but the three that Chromium's sandbox makes."""
_ENOSYS: Final = 38
_MAKES_NAMESPACES: Final = ("clone", "unshare")
_RULED_BELOW: Final = frozenset({"clone", "unshare", "clone3"})
_LEFT_OUT: Final = frozenset(
    {"setns", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd"}
)
"""Many a way out of containers led through these; what would like them does without."""


def allowed_by_the_unit() -> set[str]:
    """The names of the calls that the unit's `SystemCallFilter=` lines leave."""
    allowed: set[str] = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        names = _expanded(words.removeprefix("~").split())
        allowed = allowed - names if words.startswith("~") else allowed | names
    return allowed


def profile() -> dict[str, Any]:
    """What `seccomp.json` holds."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [
            {
                "comment": "What blazz-node.service may call; Chromium's sandbox needs chroot.",
                "names": sorted(allowed_by_the_unit() - _RULED_BELOW - _LEFT_OUT),
                "action": "SCMP_ACT_ALLOW",
            },
            {
                "comment": "New namespaces: user, pid and net, as Chromium's sandbox makes them.",
                "names": list(_MAKES_NAMESPACES),
                "action": "SCMP_ACT_ALLOW",
                "args": [
                    {
                        "index": 0,
                        "value": NAMESPACES_DENIED,
                        "valueTwo": 0,
                        "op": "SCMP_CMP_MASKED_EQ",
                    }
                ],
            },
            {
                "comment": "Its flags can't be seen: told that there is none, libc takes clone.",
                "names": ["clone3"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": _ENOSYS,
            },
        ],
    }


def _expanded(words: list[str]) -> set[str]:
    names: set[str] = set()
    for word in words:
        names |= _group(word) if word.startswith("@") else {word}
    return names


def _group(name: str) -> set[str]:
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    return _expanded(
        [line.strip() for line in listed.splitlines()[1:] if not line.strip().startswith("#")]
    )


if __name__ == "__main__":
    PROFILE.write_text(json.dumps(profile(), indent=1) + "\n")
