"""Checkpoints: inert unless asked for, and then exact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from schemas.transport import checkpoints
from schemas.transport.checkpoints import (
    VARIABLE,
    Act,
    At,
    Part,
    armed_file,
    fired_file,
    passed_file,
)

AT = At.HEAD_AFTER_READ
PASSES_THREE_TIMES = f"""
from schemas.transport.checkpoints import At, checkpoint
for _ in range(3):
    checkpoint(At("{AT}"))
    print("passed", flush=True)
"""


def run(folder: Path | None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", PASSES_THREE_TIMES],
        env=env if folder is None else env | {VARIABLE: str(folder)},
        cwd=Path(checkpoints.__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_without_the_variable_nothing_happens_and_nothing_is_looked_at(tmp_path: Path) -> None:
    armed_file(tmp_path, AT).write_text(f"{Act.KILL} 1")
    done = run(None)
    assert (done.returncode, done.stdout.count("passed")) == (0, 3)
    assert [path.name for path in tmp_path.iterdir()] == [armed_file(tmp_path, AT).name]


def test_an_armed_step_kills_at_the_passing_it_names_and_once(tmp_path: Path) -> None:
    armed_file(tmp_path, AT).write_text(f"{Act.KILL} 2")
    done = run(tmp_path)
    assert (done.returncode, done.stdout.count("passed")) == (-signal.SIGKILL, 1)
    assert fired_file(tmp_path, AT).exists()
    assert run(tmp_path).returncode == 0


def test_every_step_of_the_table_is_somewhere_on_the_way() -> None:
    root = Path(checkpoints.__file__).parents[2]
    for part, folder in ((Part.CONTROL_PLANE, "control_plane"), (Part.NODE, "swarm_node")):
        text = "".join(path.read_text() for path in sorted((root / folder).rglob("*.py")))
        missing = [at for at in At if at.part is part and f"checkpoint(At.{at.name})" not in text]
        assert not missing, f"{folder} passes no {missing}"


def test_a_step_that_was_passed_leaves_its_mark(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [passed_file(tmp_path, AT).name]
