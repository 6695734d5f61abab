"""Pushing accounts to the fleet's NATS servers, as the system account.

Owns the talk with the servers' account resolver. Never signs anything. One server is enough: the
servers of a cluster pass accounts on among themselves.
"""

from pathlib import Path
from typing import Final

import msgspec

from cli.identity.authority import Authority
from schemas.bus_credentials import claims_of
from schemas.errors import BlazzError, ErrorCode
from schemas.transport.connection import Bus, BusSettings, TlsSettings

_UPDATE: Final = "$SYS.REQ.CLAIMS.UPDATE"
_TIMEOUT_S: Final = 10.0


class Pushed(msgspec.Struct, frozen=True):
    """How many accounts there are, and how many of them the servers did not have like this."""

    accounts: int
    changed: int


class _Done(msgspec.Struct, frozen=True):
    code: int = 0


class _Answer(msgspec.Struct, frozen=True):
    data: _Done | None = None


async def push(authority: Authority, server: str, *, tls_ca: Path | None = None) -> Pushed:
    """Give the servers every account that is new or was changed. Revocations take effect on live
    connections at once. Raises `nats_unavailable`, `config_invalid` (the servers don't know this
    operator, or refuse an account)."""
    settings = BusSettings(
        servers=(server,),
        name="blazz identity",
        inbox_prefix="_INBOX_system",
        creds_file=str(authority.system_creds),
        tls=TlsSettings(ca_file=str(tls_ca)) if tls_ca else None,
    )
    accounts = authority.accounts()
    changed = 0
    async with Bus.connect(settings) as bus:
        for public_key, jwt in accounts.items():
            if await _held(bus, public_key) == jwt:
                continue
            answer = await bus.request(_UPDATE, jwt.encode(), timeout_s=_TIMEOUT_S)
            done = msgspec.json.decode(answer.data, type=_Answer).data
            if done is None or done.code != 200:
                raise BlazzError(
                    ErrorCode.CONFIG_INVALID,
                    f"the server refused account {claims_of(jwt).name}",
                )
            changed += 1
    return Pushed(len(accounts), changed)


async def _held(bus: Bus, public_key: str) -> str:
    subject = f"$SYS.REQ.ACCOUNT.{public_key}.CLAIMS.LOOKUP"
    answer = await bus.request(subject, b"", timeout_s=_TIMEOUT_S)
    return answer.data.decode("ascii", "replace").strip()
