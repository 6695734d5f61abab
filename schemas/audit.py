"""The audit log's records: which act, by whom, from where, on what, and how it ended.

Owns their shape, as kept and as the API shows it. Never holds a secret, a text or a phone number:
`parameters` are those that are named for each operation (`control_plane.http.audited`).
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.ids import TenantId

AuditId = Annotated[str, Meta(pattern=r"^aud_[0-9a-hjkmnp-tv-z]{26}$", description="One act.")]
AuditValue = str | float | bool | None | list[str]
"""Whole numbers are read as floats: the API's description must not be of two minds about them."""


class AuditSource(StrEnum):
    """By which way an act came."""

    API = "api"
    COMMAND = "command"
    """A command on a control plane's machine, with its place on the bus."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An act. It is written before it begins, and again with its end before that is answered.

    - `operation`: the API's operation id (`drainNode`), or a command's own (`rotateMasterKey`).
    - `tenant_id`: in whose name: the key's own tenant, or the one an operator spoke for.
    - `key_id`, `key_name`: of the API key; a command has no key id, and its user and machine as the
      name.
    - `target`: the ids it was about, the widest first; what it made is among them.
    - `http`, `error_code`: how it was answered; `http` None: it had not ended yet, or its process
      died before it could say so.
    """

    audit_id: AuditId
    at: float
    operation: str
    tenant_id: TenantId
    key_id: str
    source: AuditSource = AuditSource.API
    key_name: str | None = None
    address: str = ""
    target: tuple[str, ...] = ()
    parameters: dict[str, AuditValue] = {}
    request_id: str = ""
    http: int | None = None
    error_code: str | None = None
    ended_at: float | None = None
