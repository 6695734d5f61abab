"""The playbooks, run as an operator runs them: `ansible-playbook` over ssh.

Owns the call and the reading of its recap. Never decides what a failure means.
"""

import contextlib
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.hosts.lab import Lab
from bench.hosts.shell import call
from bench.hosts.wheels import ROOT
from schemas.errors import BlazzError, ErrorCode

PARTS: Final = ("ansible", "deploy")
"""Of the tree: the playbooks, and the units that they install."""
VENV: Final = ROOT / ".venv-ansible"
LIMIT_S: Final = 2400.0
_RECAP: Final = re.compile(r"^(\S+)\s+: ((?:\w+=\d+\s*)+)$", re.MULTILINE)

_FAILED: Final = re.compile(r"^fatal: \[\S+\]: FAILED! => (\{.*\})$", re.MULTILINE)
_STOPPED: Final = " did not come to "


class Recap(msgspec.Struct, frozen=True):
    """What a run of a playbook came to. `hosts`: Ansible's counts, by host and word."""

    playbook: str
    code: int
    took_s: float
    hosts: dict[str, dict[str, int]]

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.code == 0

    def total(self, word: str) -> int:
        """The sum of a count, such as `changed`, over all hosts."""
        return sum(counts.get(word, 0) for counts in self.hosts.values())


def read_recap(output: str) -> dict[str, dict[str, int]]:
    """The counts under `PLAY RECAP`; empty if it never came to one."""
    _, _, recap = output.rpartition("PLAY RECAP")
    found = {}
    for name, counts in _RECAP.findall(recap):
        pairs = (pair.split("=") for pair in counts.split())
        found[name] = {word: int(number) for word, number in pairs}
    return found


def read_reason(output: str) -> str:
    """Why the last roll was stopped, in the playbook's own words; empty if it was not."""
    for told in reversed(_FAILED.findall(output)):
        with contextlib.suppress(msgspec.DecodeError):
            message = str(msgspec.json.decode(told).get("msg", ""))
            if _STOPPED in message:
                return message
    return ""


def ansible_playbook() -> str:
    """The program. Raises `config_invalid` where there is none."""
    ours = VENV / "bin/ansible-playbook"
    found = str(ours) if ours.exists() else shutil.which("ansible-playbook")
    if found is None:
        raise BlazzError(ErrorCode.CONFIG_INVALID, "no ansible-playbook: run `./justw _ansible`")
    return found


class Operator:
    """Runs playbooks against a lab's hosts by one inventory."""

    def __init__(self, lab: Lab, inventory: Mapping[str, Any]) -> None:
        self.lab = lab
        self._folder = lab.folder / "operator-home"
        self._folder.mkdir()
        # As they are now: the tree may be worked on while they run.
        for part in PARTS:
            shutil.copytree(ROOT / part, self._folder / part, symlinks=True)
        self._ansible = self._folder / PARTS[0]
        self.inventory = self._folder / "inventory" / "hosts.yml"
        self.inventory.parent.mkdir()
        # YAML reads JSON.
        self.inventory.write_bytes(msgspec.json.format(msgspec.json.encode(inventory)))
        self.runs: list[Recap] = []

    @property
    def secrets(self) -> Path:
        """Where the playbooks keep what they make, beside the inventory."""
        return self.inventory.parent / "secrets"

    @property
    def log(self) -> Path:
        """Everything that Ansible printed."""
        return self._folder / "ansible.log"

    def said(self, chars: int | None = None) -> str:
        """What Ansible printed, or the end of it."""
        if not self.log.exists():
            return ""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text if chars is None else text[-chars:]

    def reason(self) -> str:
        """The words with which the last roll was stopped; empty if it was not."""
        return read_reason(self.said(40_000))

    async def play(self, playbook: str, *, variables: Mapping[str, Any] | None = None) -> Recap:
        """Run `playbooks/<playbook>.yml` to its end, well or not."""
        began = time.monotonic()
        start = self.log.stat().st_size if self.log.exists() else 0
        extra: Sequence[str] = ()
        if variables:
            extra = ("-e", msgspec.json.encode(variables).decode())
        ended = await call(
            *(ansible_playbook(), "-i", str(self.inventory), f"playbooks/{playbook}.yml", *extra),
            timeout_s=LIMIT_S,
            cwd=self._ansible,
            env={
                "ANSIBLE_CONFIG": str(self._ansible / "ansible.cfg"),
                "ANSIBLE_HOME": str(self._folder / "ansible-home"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_FORCE_COLOR": "0",
                "ANSIBLE_FORKS": "6",
                "HOME": str(self._folder),
            },
            log=self.log,
        )
        with self.log.open(encoding="utf-8", errors="replace") as text:
            text.seek(start)
            said = text.read()
        recap = Recap(playbook, ended.code, round(time.monotonic() - began, 1), read_recap(said))
        self.runs.append(recap)
        return recap


def connection_vars(lab: Lab) -> dict[str, Any]:
    """How Ansible reaches the hosts."""
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(lab.key_file),
        "ansible_ssh_common_args": " ".join(lab.ssh_options()),
    }
