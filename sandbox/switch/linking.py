"""QR refs and pairing codes: from an unlinked line to a linked device.

Owns which refs and codes are good now and which line waits on each. Never sends messages.
"""

from __future__ import annotations

import secrets
from typing import Final, Protocol

import msgspec

from sandbox.switch.devices import DeviceRegistry
from sandbox.switch.faults import FaultBoard
from sandbox.switch.model import Account, Device
from schemas import switch_wire as wire

FIRST_REF_TTL_S: Final = 60.0
LATER_REF_TTL_S: Final = 20.0
REFS_A_RUN: Final = 6
"""The first ref lives a minute, five more 20 s each, as on the real page."""

CODE_TTL_S: Final = 180.0
_CODE_LETTERS: Final = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"


class Candidate(Protocol):
    """A line whose page is not linked yet."""

    public_key: str

    def post(self, frame: wire.SwitchFrame) -> None: ...

    def linked(self, device: Device) -> None: ...


class LinkError(Exception):
    """The phone could not link; `reason` is one of the phone's errors."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Code(msgspec.Struct, frozen=True):
    candidate: Candidate
    number: str
    ends_ms: int


class LinkOffice:
    """Refs, codes and lines that wait for a passkey."""

    def __init__(self, devices: DeviceRegistry, faults: FaultBoard) -> None:
        self._devices = devices
        self._faults = faults
        self._refs: dict[str, Candidate] = {}
        self._codes: dict[str, _Code] = {}
        self._waiting: dict[str, tuple[Candidate, Account]] = {}

    def new_ref(self, candidate: Candidate) -> str:
        """A fresh ref for a line; its former one stops being good."""
        self.drop_ref(candidate)
        ref = "2@" + secrets.token_urlsafe(48)
        self._refs[ref] = candidate
        return ref

    def drop_ref(self, candidate: Candidate) -> None:
        """No ref of this line is good any more."""
        self._refs = {r: c for r, c in self._refs.items() if c is not candidate}

    def forget(self, candidate: Candidate) -> None:
        """The line is gone."""
        self.drop_ref(candidate)
        self._codes = {k: c for k, c in self._codes.items() if c.candidate is not candidate}
        self._waiting = {k: w for k, w in self._waiting.items() if w[0] is not candidate}

    def new_code(self, candidate: Candidate, number: str, ends_ms: int) -> str:
        """A pairing code for the owner of `number`."""
        self._codes = {k: c for k, c in self._codes.items() if c.candidate is not candidate}
        code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(8))
        self._codes[code] = _Code(candidate, number, ends_ms)
        return code

    def scan(self, account: Account, text: str, ts: int) -> str:
        """The phone scanned a QR: `linked`, or `passkey` when that has to come first.

        `text` is the QR's whole text, `ref,key,key,adv`, with or without a URL before a `#`.
        Raises `LinkError`: `expired`.
        """
        ref = text.strip().rpartition("#")[2].split(",")[0]
        candidate = self._refs.get(ref)
        if candidate is None or self._faults.of(account.number).expired_codes:
            raise LinkError("expired")
        return self._begin(candidate, account, ts)

    def enter_code(self, account: Account, code: str, now_ms: int) -> str:
        """The phone typed a pairing code. Raises `LinkError`: `expired`, `wrong_code`."""
        entry = self._codes.get(code.replace("-", "").strip().upper())
        if entry is None or entry.number != account.number:
            raise LinkError("wrong_code")
        if entry.ends_ms <= now_ms or self._faults.of(account.number).expired_codes:
            raise LinkError("expired")
        return self._begin(entry.candidate, account, now_ms // 1000)

    def confirm_passkey(self, account: Account, ts: int) -> None:
        """The person passed the passkey on the phone. Raises `LinkError`: `nothing_waits`."""
        waiting = self._waiting.pop(account.number, None)
        if waiting is None:
            raise LinkError("nothing_waits")
        self._finish(waiting[0], account, ts)

    def passkey_passed(self, candidate: Candidate, ts: int) -> None:
        """The person passed the passkey at the page."""
        for number, (waiting, account) in list(self._waiting.items()):
            if waiting is candidate:
                del self._waiting[number]
                self._finish(candidate, account, ts)

    def _begin(self, candidate: Candidate, account: Account, ts: int) -> str:
        self.forget(candidate)
        if self._faults.of(account.number).passkey:
            self._waiting[account.number] = (candidate, account)
            candidate.post(wire.PasskeyRequired())
            return "passkey"
        self._finish(candidate, account, ts)
        return "linked"

    def _finish(self, candidate: Candidate, account: Account, ts: int) -> None:
        candidate.linked(self._devices.link(account.number, candidate.public_key, ts))
