"""`blazz --install-completion`: what it writes is read by a shell and completes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PRESSED_TAB = r"""
. "$HOME/.bashrc"
press() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _blazz
  printf '%s ' "${COMPREPLY[@]}"; echo
}
press blazz sess
press blazz session sn
press blazz node list --cont
press blazz session list -o ""
"""


def install(home: Path, shell: str) -> None:
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    words = (sys.executable, "-m", "cli", "--install-completion", "--shell", shell)
    subprocess.run(words, env=env, check=True, capture_output=True, timeout=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_nouns_verbs_flags_and_values(tmp_path: Path) -> None:
    install(tmp_path, "bash")
    install(tmp_path, "bash")
    assert (tmp_path / ".bashrc").read_text().count("Load blazz completion") == 1
    done = subprocess.run(
        ("bash", "--norc", "-c", PRESSED_TAB),
        check=False,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    offered = [line.split() for line in done.stdout.splitlines()]
    assert offered == [
        ["session"],
        ["snapshots"],
        ["--context"],
        ["table", "wide", "json", "jsonl", "yaml", "name"],
    ], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_where_they_look(tmp_path: Path, shell: str) -> None:
    install(tmp_path, shell)
    written = [path for path in tmp_path.rglob("*blazz*") if path.is_file()]
    assert len(written) == 1
    assert "snapshots" in written[0].read_text(encoding="utf-8")
