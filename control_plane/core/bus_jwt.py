"""NATS JWTs: operator, accounts and users, put together and signed.

Owns their fields as nats-server wants them. Pure: time, keys and the signing come in. Which
subjects an identity gets is `schemas.permissions`' to say.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from schemas.bus_credentials import base64url
from schemas.permissions import RESPONSE_AGE_MAX_S, Import, Permissions

Sign = Callable[[bytes], bytes]
"""An Ed25519 signature by the key whose public part is the issuer."""

_HEADER: Final = base64url(b'{"typ":"JWT","alg":"ed25519-nkey"}')
_VERSION: Final = 2
_ANY: Final = -1
NODE_CONNECTIONS_MAX: Final = 8
"""A node has one, two while it changes over, and more for a moment when it is restarted."""


class Issuer(msgspec.Struct, frozen=True):
    """Who signs: a public key and its signature."""

    public_key: str
    sign: Sign


class JetStreamLimits(msgspec.Struct, frozen=True):
    """What an account may store, over all replicas; -1: anything."""

    disk_bytes: int = _ANY
    memory_bytes: int = _ANY


def operator(issuer: Issuer, name: str, *, system_account: str, now: int) -> str:
    """The operator's own JWT."""
    claims = {"type": "operator", "system_account": system_account}
    return _signed(issuer, issuer.public_key, name, claims, now=now)


def account(
    issuer: Issuer,
    public_key: str,
    name: str,
    *,
    now: int,
    jetstream: JetStreamLimits | None = None,
    exports: Sequence[Import] = (),
    imports: Sequence[Import] = (),
    imports_from: str = "",
    scopes: Mapping[str, Permissions] | None = None,
    connections_max: int = _ANY,
    revoked: Mapping[str, int] | None = None,
) -> str:
    """An account. `scopes` are keys that may make users with just these permissions; `revoked`
    maps a user's public key, or `*`, to the moment (Unix s) up to which its JWTs are refused."""
    limits: dict[str, Any] = {
        "subs": _ANY,
        "data": _ANY,
        "payload": _ANY,
        "imports": _ANY,
        "exports": _ANY,
        "wildcards": True,
        "conn": connections_max,
        "leaf": 0,
    }
    if jetstream is not None:
        limits |= {
            "disk_storage": jetstream.disk_bytes,
            "mem_storage": jetstream.memory_bytes,
            "streams": _ANY,
            "consumer": _ANY,
        }
    claims: dict[str, Any] = {
        "type": "account",
        "limits": limits,
        "exports": [
            {"name": each.subject, "subject": each.subject, "type": _kind(each)} for each in exports
        ],
        "imports": [_import(each, imports_from) for each in imports],
        "signing_keys": [_scope(key, allowed) for key, allowed in (scopes or {}).items()],
        "default_permissions": {"pub": {}, "sub": {}},
    }
    if revoked:
        claims["revocations"] = dict(revoked)
    return _signed(issuer, public_key, name, claims, now=now)


def user(
    issuer: Issuer, public_key: str, name: str, allowed: Permissions, *, now: int, expires_at: int
) -> str:
    """A user of the account whose own key signs, with the permissions in its JWT."""
    claims = {"type": "user", **_permitted(allowed)}
    return _signed(issuer, public_key, name, claims, now=now, expires_at=expires_at)


def scoped_user(
    issuer: Issuer, account_key: str, public_key: str, name: str, *, now: int, expires_at: int
) -> str:
    """A user made by a scoped key of an account: what it may is the scope's, in the account."""
    claims = {"type": "user", "issuer_account": account_key}
    return _signed(issuer, public_key, name, claims, now=now, expires_at=expires_at)


def _kind(each: Import) -> str:
    return "stream" if each.stream else "service"


def _import(each: Import, account_key: str) -> dict[str, Any]:
    found = {
        "name": each.subject,
        "subject": each.subject,
        "account": account_key,
        "type": _kind(each),
    }
    return found if each.local == each.subject else found | {"local_subject": each.local}


def _scope(key: str, allowed: Permissions) -> dict[str, Any]:
    return {"kind": "user_scope", "key": key, "role": "", "template": _permitted(allowed)}


def _permitted(allowed: Permissions) -> dict[str, Any]:
    found: dict[str, Any] = {
        "pub": {"allow": list(allowed.publish)},
        "sub": {"allow": list(allowed.subscribe)},
        "subs": _ANY,
        "data": _ANY,
        "payload": _ANY,
    }
    if allowed.allow_responses:
        found["resp"] = {"max": 1, "ttl": int(RESPONSE_AGE_MAX_S * 1e9)}
    return found


def _signed(
    issuer: Issuer,
    subject: str,
    name: str,
    claims: Mapping[str, Any],
    *,
    now: int,
    expires_at: int = 0,
) -> str:
    body: dict[str, Any] = {
        "iat": now,
        "iss": issuer.public_key,
        "name": name,
        "sub": subject,
        "nats": {**claims, "version": _VERSION},
    }
    if expires_at:
        body["exp"] = expires_at
    digest = hashlib.sha256(msgspec.json.encode(body)).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    text = f"{_HEADER}.{base64url(msgspec.json.encode(body))}"
    return f"{text}.{base64url(issuer.sign(text.encode()))}"
