"""Groups: made and changed by their members' phones.

Owns who may change what, and who is told. Never delivers a message.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.switch.directory import Directory
from sandbox.switch.log import SwitchLog
from sandbox.switch.model import Account, Group, RefusedError
from sandbox.switch.notices import Notices
from schemas import switch_wire as wire

_ANYONE = ("left", "name", "description", "picture")
"""What takes no admin."""


class Groups:
    """All groups' changes."""

    def __init__(
        self, directory: Directory, notices: Notices, log: SwitchLog, now_ms: Callable[[], int]
    ) -> None:
        self._directory = directory
        self._notices = notices
        self._log = log
        self._now_ms = now_ms

    def create(self, name: str, members: list[str]) -> Group:
        """Make a group; the first member is its owner. Raises `ValueError`."""
        group = self._directory.add_group(name, members, self._now_ms() // 1000)

        def added(viewer: Account) -> Callable[[int], wire.QueuedFrame]:
            info = self._directory.chat_info(group.wid, viewer)
            return lambda seq: wire.ChatAdded(seq=seq, chat=info)

        self._notices.tell(group.members, added, None)
        owner = self._directory.accounts[group.owner]
        self._tell(group, "created", owner, group.members, name, group.members)
        return group

    def change(
        self,
        by: Account,
        wid: str,
        change: wire.GroupChangeKind,
        members: tuple[str, ...] = (),
        value: str = "",
    ) -> None:
        """Change a group. Raises `RefusedError`, and `ValueError` for a change that makes no sense.

        `members` are account numbers, for `added`, `removed`, `promoted`, `demoted`; `value` is the
        new name, description or picture (a media id), or `on`/`off`.
        """
        group = self._directory.groups.get(wid)
        if group is None:
            raise RefusedError("unknown_chat")
        if (by.number in group.members) is (change == "joined"):
            raise RefusedError("not_a_member")
        if change not in (*_ANYONE, "joined") and by.number not in group.admins:
            raise RefusedError("admins_only")
        told = list(group.members)
        if change in ("left", "joined"):
            members = (by.number,)
        self._apply(group, change, members, value)
        told += [number for number in group.members if number not in told]
        self._tell(group, change, by, members, value, told)

    def _apply(
        self, group: Group, change: wire.GroupChangeKind, members: tuple[str, ...], value: str
    ) -> None:
        known = all(m in self._directory.accounts for m in members)
        inside = [m in group.members for m in members]
        match change:
            case "added" | "joined" if members and known and not any(inside):
                group.members.extend(members)
            case "removed" | "left" if members and all(inside):
                group.members[:] = [m for m in group.members if m not in members]
                group.admins[:] = [m for m in group.admins if m not in members]
            case "promoted" if members and all(inside):
                group.admins.extend(m for m in members if m not in group.admins)
            case "demoted" if members and all(inside):
                group.admins[:] = [m for m in group.admins if m not in members]
            case "name" if value:
                group.name = value
            case "description":
                group.description = value
            case "picture":
                group.picture = value
            case "announce_only" if value in ("on", "off"):
                group.announce_only = value == "on"
            case _:
                raise ValueError("no such change of this group")

    def _tell(
        self,
        group: Group,
        change: wire.GroupChangeKind,
        by: Account,
        members: tuple[str, ...] | list[str],
        value: str,
        told: list[str],
    ) -> None:
        accounts = [self._directory.accounts[m] for m in members]
        self._log.write(
            "group.changed", account=by.number, chat=group.wid, type=change, reason=value
        )

        def frame_for(viewer: Account) -> Callable[[int], wire.QueuedFrame]:
            info = self._directory.chat_info(group.wid, viewer)
            return lambda seq: wire.GroupChanged(
                seq=seq,
                chat=group.wid,
                change=change,
                by=self._directory.seen(by, viewer),
                ts=self._now_ms() // 1000,
                info=info,
                members=tuple(self._directory.seen(a, viewer) for a in accounts),
                value=value,
            )

        self._notices.tell(told, frame_for, None)
