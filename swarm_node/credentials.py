"""The node's credential: which file is used, and its renewal before it ends.

Owns the copy in the data directory, which the bus signs in with and which is replaced as a whole.
The key's seed never leaves this machine: a renewal is a new JWT for the same key. Never signs in.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import structlog

from schemas import log_keys
from schemas.bus_credentials import Credentials, claims_of, parse_credentials
from schemas.commands import RenewCredential, Renewed
from schemas.errors import BlazzError, ErrorCode

log = structlog.get_logger()

_LOOK_S: Final = 60.0
_LOOKS_A_LIFE: Final = 40
RENEW_BELOW: Final = 0.5
"""Of its life: half a day of trying, for a credential of a day."""
_SPREAD: Final = 0.1


class AskRenewal(Protocol):
    """Asks the control plane (`subjects.node_renew`). Raises `BlazzError`."""

    async def __call__(self, question: RenewCredential, /) -> Renewed: ...


class NodeCredential:
    """The credential of one node. `configured`: what was put on the machine; `kept`: ours."""

    def __init__(
        self,
        node_id: str,
        configured: Path,
        kept: Path,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.kept = kept
        self._node_id = node_id
        self._configured = configured
        self._clock = clock
        # A fleet that was rolled out in one minute must not renew in one.
        self._renew_below = RENEW_BELOW + random.uniform(-_SPREAD, _SPREAD)

    def choose(self) -> Credentials:
        """The one that was issued last; a new one on the machine takes the kept one's place.
        Blocking. Raises `config_invalid` if neither can be read."""
        path, found = self._newest()
        if path != self.kept:
            self._write(found)
        return found

    def newest(self) -> Path:
        """Where the one that was issued last lies; nothing is written. Blocking. Raises
        `config_invalid` if neither can be read."""
        return self._newest()[0]

    def _newest(self) -> tuple[Path, Credentials]:
        configured, kept = _read(self._configured), _read(self.kept)
        if configured is not None and (kept is None or configured.claims.iat > kept.claims.iat):
            return self._configured, configured
        if kept is None:
            raise BlazzError(ErrorCode.CONFIG_INVALID, f"no NATS credentials in {self._configured}")
        return self.kept, kept

    async def keep_renewed(self, ask: AskRenewal, told: Callable[[int], None]) -> None:
        """Renew it whenever the better part of its life is over, for ever; `told` hears when it
        ends (Unix s). A failure is logged and tried again."""
        pause_s = _LOOK_S
        while True:
            try:
                held = await asyncio.to_thread(self.choose)
                claims = held.claims
                told(claims.exp)
                if claims.exp:
                    pause_s = min(_LOOK_S, (claims.exp - claims.iat) / _LOOKS_A_LIFE)
                if claims.life_left(self._clock()) < self._renew_below:
                    told((await self._renew(held, ask)).claims.exp)
            except (BlazzError, OSError) as error:
                code = error.code if isinstance(error, BlazzError) else type(error).__name__
                log.warning("credential.not_renewed", **{log_keys.NODE: self._node_id}, code=code)
            await asyncio.sleep(pause_s)

    async def _renew(self, held: Credentials, ask: AskRenewal) -> Credentials:
        renewed = await ask(RenewCredential(self._node_id, held.jwt))
        before, after = held.claims, claims_of(renewed.jwt)
        if (after.sub, after.account) != (before.sub, before.account):
            raise BlazzError(ErrorCode.FORBIDDEN, "the renewed credential is another's")
        made = Credentials(renewed.jwt, held.seed)
        await asyncio.to_thread(self._write, made)
        log.info("credential.renewed", **{log_keys.NODE: self._node_id}, expires_at=after.exp)
        return made

    def _write(self, credentials: Credentials) -> None:
        draft = self.kept.with_name(f".{self.kept.name}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(credentials.text())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.kept)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _read(path: Path) -> Credentials | None:
    try:
        return parse_credentials(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, BlazzError):
        return None
