"""Renewals: a node's credential, made anew before it ends.

Owns the check of who asks: the subject names the node, and the JWT that it shows must be one that
this fleet's node signer made for that very name. The signer is a scoped key: all it can make is a
user of a node's account, with the permissions that the operator put there. A revoked node has no
connection to ask by, and no account that would know what is made for it.
"""

import asyncio
import hmac
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import nkeys
import structlog

from control_plane.core import bus_jwt
from control_plane.core.bus_jwt import Issuer
from schemas import log_keys
from schemas.bus_credentials import Claims, claims_of, from_base64url
from schemas.commands import RenewCredential, Renewed
from schemas.errors import BlazzError, ErrorCode
from schemas.subjects import ALL_NODE_RENEWALS, node_renew
from schemas.transport import typed
from schemas.transport.connection import Bus, BusMessage

log = structlog.get_logger()

CREDENTIAL: Final = "node-signer"
_QUEUE_GROUP: Final = "renewals"


def find_signer(configured: Path | None, environ: Mapping[str, str] | None = None) -> Path | None:
    """The settings' file, else systemd's credential `node-signer`, else None."""
    if configured is not None:
        return configured
    directory = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    if directory and (path := Path(directory) / CREDENTIAL).exists():
        return path
    return None


@asynccontextmanager
async def serve_renewals(bus: Bus, signer: Path | None, *, ttl_s: float) -> AsyncIterator[None]:
    """For the block, answer `RenewCredential`; replicas share the questions. Without a signer (the
    bus is not in operator mode) nothing is served. Raises `config_invalid`."""
    if signer is None:
        yield
        return
    issuer = await asyncio.to_thread(_read, signer)

    async def answer(asked: RenewCredential, message: BusMessage) -> Renewed:
        if message.subject != node_renew(asked.node_id):
            raise BlazzError(ErrorCode.FORBIDDEN, "a node asks under its own name")
        shown = checked(asked.jwt, asked.node_id, issuer)
        now = int(time.time())
        expires_at = int(now + ttl_s)
        jwt = bus_jwt.scoped_user(
            issuer, shown.account, shown.sub, asked.node_id, now=now, expires_at=expires_at
        )
        log.info("credential.renewed", **{log_keys.NODE: asked.node_id}, expires_at=expires_at)
        return Renewed(jwt, expires_at)

    async with typed.serve(
        bus, ALL_NODE_RENEWALS, RenewCredential, answer, queue_group=_QUEUE_GROUP
    ):
        yield


def checked(jwt: str, node_id: str, signer: Issuer) -> Claims:
    """What a JWT says, if `signer` signed it for this node's own account. Raises `forbidden`."""
    refused = BlazzError(ErrorCode.FORBIDDEN, "this is not a credential of the node's")
    signed, _, signature = jwt.rpartition(".")
    try:
        claims, shown = claims_of(jwt), from_base64url(signature)
    except (BlazzError, ValueError):
        raise refused from None
    # Ed25519 signs the same text with the same bytes.
    genuine = hmac.compare_digest(signer.sign(signed.encode()), shown)
    own = claims.nats.type == "user" and claims.nats.issuer_account
    if not genuine or not own or claims.iss != signer.public_key or claims.name != node_id:
        raise refused
    return claims


def _read(path: Path) -> Issuer:
    try:
        keys = nkeys.from_seed(bytearray(path.read_bytes().strip()))
    except (OSError, nkeys.NkeysError, ValueError):
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"the node signer {path} can't be read"
        ) from None
    return Issuer(keys.public_key.decode(), lambda text: bytes(keys.sign(text)))
