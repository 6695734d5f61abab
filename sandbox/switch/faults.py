"""The fault switches: what can be made to go wrong, for everyone or for one account.

Owns their fields and how the two levels are merged. Never applies one: the part concerned asks.
"""

from __future__ import annotations

import msgspec

EVERYONE = ""


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All faults, off by default.

    - `offline`: links are cut and refused.
    - `ack_delay_ms`: the answer to a send (ack 1), and what follows from it, waits so long.
    - `lose_answers`: the next n sends are accepted, but the link is cut before the answer.
    - `reject_sends`: the next n sends are refused for good.
    - `late_modules`, `late_ms`: these page modules appear so late; page loads only, everyone only.
    - `app_version`: the page's version from the next load on; open pages are told to update.
      Everyone only.
    - `expired_codes`: every QR and pairing code counts as expired.
    - `whats_new_deadline_ms`: a "What's new" dialog; not closed in time, the device is unlinked
      (0: no deadline). -1: no dialog.
    - `passkey`: linking waits for a passkey.
    - `sync_delay_ms`: pause before each part of the initial sync.
    """

    offline: bool = False
    ack_delay_ms: int = 0
    lose_answers: int = 0
    reject_sends: int = 0
    late_modules: tuple[str, ...] = ()
    late_ms: int = 2500
    app_version: str = ""
    expired_codes: bool = False
    whats_new_deadline_ms: int = -1
    passkey: bool = False
    sync_delay_ms: int = 0


_PLAIN = Faults()


class FaultBoard:
    """Faults by account number; `EVERYONE` is the level below all."""

    def __init__(self) -> None:
        self._levels: dict[str, Faults] = {EVERYONE: Faults()}

    def set(self, account: str, values: dict[str, object]) -> Faults:
        """Replace the named fields at one level. Raises `msgspec.ValidationError`."""
        was = msgspec.structs.asdict(self._levels.get(account, _PLAIN))
        self._levels[account] = msgspec.convert({**was, **values}, Faults)
        return self._levels[account]

    def clear(self) -> None:
        """Switch everything off."""
        self._levels = {EVERYONE: Faults()}

    def of(self, account: str = EVERYONE) -> Faults:
        """The faults in force for an account: its own fields where set, else everyone's."""
        everyone, own = self._levels[EVERYONE], self._levels.get(account, _PLAIN)
        merged = msgspec.structs.asdict(everyone)
        for name, value in msgspec.structs.asdict(own).items():
            if value != getattr(_PLAIN, name):
                merged[name] = value
        return msgspec.convert(merged, Faults)

    def use_up(self, account: str, name: str) -> bool:
        """Take one from a counting fault (`lose_answers`, `reject_sends`); False when none."""
        for level in (account, EVERYONE):
            faults = self._levels.get(level)
            if faults is not None and getattr(faults, name) > 0:
                setattr(faults, name, getattr(faults, name) - 1)
                return True
        return False
