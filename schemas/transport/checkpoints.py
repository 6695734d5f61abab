"""Checkpoints: named steps at which a test can make a process die, or stand still.

Owns the table of steps and what an armed one does. Inert unless `BLAZZ_CHECKPOINTS` names a
directory when the process starts: then it costs a look into it at each step, and whoever can write
there can kill the process, so it is for tests and benches alone. Never raises and never waits: a
step that is passed changes nothing.

Arming: a file `<step>.armed` in the directory, holding an act (`kill` or `freeze`) and, from 1, at
which passing: `kill 3`. It is renamed to `<step>.fired` right before the act, so it acts once. The
first passing of a step leaves `<step>.passed`.
"""

import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

VARIABLE: Final = "BLAZZ_CHECKPOINTS"


class Part(StrEnum):
    """Whose step it is."""

    CONTROL_PLANE = "control_plane"
    NODE = "node"


class At(StrEnum):
    """Every step, in the order a message, a snapshot and a session's move pass them. `part` is the
    process that passes it."""

    part: Part

    def __new__(cls, name: str, part: Part) -> Self:
        """A step is its name."""
        made = str.__new__(cls, name)
        made._value_ = name
        made.part = part
        return made

    # A message, from the API to WhatsApp
    ACCEPT_BEFORE_APPEND = "accept.before_append", Part.CONTROL_PLANE
    ACCEPT_AFTER_APPEND = "accept.after_append", Part.CONTROL_PLANE
    ACCEPT_BEFORE_ANSWER = "accept.before_answer", Part.CONTROL_PLANE
    HEAD_BEFORE_READ = "head.before_read", Part.CONTROL_PLANE
    HEAD_AFTER_READ = "head.after_read", Part.CONTROL_PLANE
    REQUEST_BEFORE = "request.before", Part.CONTROL_PLANE
    LOOKUP_BEFORE = "lookup.before", Part.NODE
    LOOKUP_AFTER = "lookup.after", Part.NODE
    SEND_BEFORE = "send.before", Part.NODE
    SEND_AFTER = "send.after", Part.NODE
    ACK_BEFORE = "ack.before", Part.NODE
    REQUEST_AFTER = "request.after", Part.CONTROL_PLANE
    LEDGER_BEFORE_WRITE = "ledger.before_write", Part.CONTROL_PLANE
    DELETE_BEFORE = "delete.before", Part.CONTROL_PLANE
    DELETE_AFTER = "delete.after", Part.CONTROL_PLANE

    # An event, from the node to the ledger and to a webhook
    EVENT_BEFORE_KEEP = "event.before_keep", Part.NODE
    EVENT_AFTER_KEEP = "event.after_keep", Part.NODE
    EVENT_BEFORE_PUBLISH = "event.before_publish", Part.NODE
    EVENT_AFTER_PUBLISH = "event.after_publish", Part.NODE
    FOLD_BEFORE = "fold.before", Part.CONTROL_PLANE
    FOLD_AFTER = "fold.after", Part.CONTROL_PLANE
    WEBHOOK_BEFORE_POST = "webhook.before_post", Part.CONTROL_PLANE
    WEBHOOK_AFTER_POST = "webhook.after_post", Part.CONTROL_PLANE
    WEBHOOK_BEFORE_ACK = "webhook.before_ack", Part.CONTROL_PLANE

    # A snapshot, from the profile to the vault
    CAPTURE_BEFORE = "capture.before", Part.NODE
    CAPTURE_AFTER = "capture.after", Part.NODE
    PUT_BEFORE = "put.before", Part.NODE
    PUT_AFTER = "put.after", Part.NODE
    COMMIT_AFTER = "commit.after", Part.NODE
    STORE_BEFORE = "store.before", Part.CONTROL_PLANE
    STORE_AFTER = "store.after", Part.CONTROL_PLANE
    POINTER_BEFORE = "pointer.before", Part.CONTROL_PLANE
    POINTER_AFTER = "pointer.after", Part.CONTROL_PLANE

    # A session's move to another node
    HAND_OVER_BEFORE_STOP = "hand_over.before_stop", Part.NODE
    HAND_OVER_AFTER_STOP = "hand_over.after_stop", Part.NODE
    HAND_OVER_BEFORE_PLACING = "hand_over.before_placing", Part.CONTROL_PLANE
    HAND_OVER_AFTER_PLACING = "hand_over.after_placing", Part.CONTROL_PLANE
    HAND_OVER_BEFORE_START = "hand_over.before_start", Part.NODE
    HAND_OVER_AFTER_START = "hand_over.after_start", Part.NODE


class Act(StrEnum):
    """What an armed step does to its own process."""

    KILL = "kill"
    FREEZE = "freeze"
    """Stops it until somebody sends SIGCONT."""


_SIGNALS: Final = {Act.KILL: signal.SIGKILL, Act.FREEZE: signal.SIGSTOP}


class _Armory:
    """The directory of one process, and how often each step was passed since it was armed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._passed: set[At] = set()
        self._since_armed: dict[At, int] = {}

    def passing(self, step: At) -> None:
        if step not in self._passed:
            self._passed.add(step)
            passed_file(self._folder, step).touch()
        armed = armed_file(self._folder, step)
        if not armed.exists():
            return
        act, _, at = armed.read_text(encoding="ascii").partition(" ")
        count = self._since_armed.get(step, 0) + 1
        self._since_armed[step] = count
        if count >= int(at or 1):
            del self._since_armed[step]
            armed.rename(fired_file(self._folder, step))
            os.kill(os.getpid(), _SIGNALS[Act(act)])


def armed_file(folder: Path, step: At) -> Path:
    """What arms a step; write it elsewhere and rename it, so that it is never read half."""
    return folder / f"{step}.armed"


def fired_file(folder: Path, step: At) -> Path:
    """What an armed step leaves."""
    return folder / f"{step}.fired"


def passed_file(folder: Path, step: At) -> Path:
    """What a step leaves that was passed at all."""
    return folder / f"{step}.passed"


_ARMORY: Final = _Armory(Path(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else None


def checkpoint(step: At) -> None:
    """This process passes a step."""
    if _ARMORY is not None:
        _ARMORY.passing(step)
