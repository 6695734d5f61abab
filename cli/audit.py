"""The audit log, for a command that acts on the bus itself and not through the API.

Owns who such a command says it is: the machine's user. Never records what a command only reads.
"""

import getpass
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import uuid_utils

from control_plane.audit import StreamAudit
from schemas.audit import AuditRecord, AuditSource, AuditValue
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import audit_id
from schemas.transport.connection import Bus

LOCAL_TENANT: Final = "blazz-command"
"""Stands where a key's tenant does: a command has no key. An operator makes no tenant so named."""


@asynccontextmanager
async def recorded(
    bus: Bus, operation: str, parameters: dict[str, AuditValue]
) -> AsyncIterator[None]:
    """For the block, an act: written down before it begins (or `audit_unavailable`), and with its
    end after it."""
    audit = StreamAudit(bus)
    record = AuditRecord(
        audit_id=audit_id(uuid_utils.uuid7().bytes),
        at=time.time(),
        operation=operation,
        tenant_id=LOCAL_TENANT,
        key_id="",
        key_name=f"{_user()}@{socket.gethostname()}",
        source=AuditSource.COMMAND,
        parameters=parameters,
    )
    await audit.write(record)
    try:
        yield
    except BlazzError as error:
        await audit.write(_ended(record, error.spec.http, error.code))
        raise
    except Exception:
        await audit.write(_ended(record, 500, ErrorCode.INTERNAL))
        raise
    await audit.write(_ended(record, 200, None))


def _ended(record: AuditRecord, http: int, code: ErrorCode | None) -> AuditRecord:
    return msgspec.structs.replace(
        record, http=http, error_code=None if code is None else code.value, ended_at=time.time()
    )


def _user() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
