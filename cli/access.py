"""What `blazz key list|create|revoke`, `blazz tenant …` and `blazz audit …` do, through the API.

Owns the words it prints. A key's text is printed once, or written to a file that only its owner
can read.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from cli.acting import Step, confirm, perform
from cli.client import Api
from cli.exit_codes import Exit
from cli.options import Acting, Target, Watch
from cli.parts import write_private
from cli.render import Column, Shape, moment, show, show_one, shown
from cli.target import open_api
from schemas.api import ApiKeyView, EraseTenant, ErasureView, NewApiKey, Page
from schemas.api_accounts import TenantChange, TenantView
from schemas.audit import AuditRecord
from schemas.errors import BlazzError, ErrorCode

_PAGE: Final = 200


def _key_state(key: ApiKeyView) -> str:
    return "revoked" if key.revoked else "valid"


KEYS: Final = Shape[ApiKeyView](
    (
        Column("KEY", lambda k: k.key_id),
        Column("NAME", lambda k: k.name),
        Column("TENANT", lambda k: k.tenant_id),
        Column("SCOPES", lambda k: k.scopes),
        Column("STATE", _key_state),
        Column("EXPIRES", lambda k: moment(k.expires_at)),
        Column("CREATED", lambda k: moment(k.created_at), wide=True),
    ),
    lambda k: k.key_id,
)


def _parameters(record: AuditRecord) -> str:
    return " ".join(f"{name}={value}" for name, value in record.parameters.items())


def _outcome(record: AuditRecord) -> str:
    if record.http is None:
        return "no end"
    return str(record.http) if record.error_code is None else f"{record.http} {record.error_code}"


ACTS: Final = Shape[AuditRecord](
    (
        Column("TIME", lambda r: moment(r.at)),
        Column("WHO", lambda r: r.key_name or r.key_id),
        Column("OPERATION", lambda r: r.operation),
        Column("TARGET", lambda r: r.target),
        Column("END", _outcome),
        Column("PARAMETERS", _parameters),
        Column("TENANT", lambda r: r.tenant_id, wide=True),
        Column("KEY", lambda r: r.key_id, wide=True),
        Column("FROM", lambda r: r.address or r.source.value, wide=True),
        Column("REQUEST", lambda r: r.request_id, wide=True),
        Column("ACT", lambda r: r.audit_id, wide=True),
    ),
    lambda r: r.audit_id,
)
_TENANT: Final = Shape[TenantView]((), lambda t: t.tenant_id)
_ERASURE: Final = Shape[ErasureView]((), lambda e: e.tenant_id)


async def list_keys(target: Target) -> Exit:
    """Print the tenant's keys."""
    async with open_api(target) as api:
        page = await api.call("GET", "/v1/keys", Page[ApiKeyView])
    return show(page.data, KEYS, target.form)


async def create_key(target: Target, acting: Acting, new: NewApiKey, to_file: Path | None) -> Exit:
    """Make one; with `to_file` its text goes there and is not printed. Raises `config_invalid`
    before anything is made if the file is there already."""
    if to_file is not None and await asyncio.to_thread(to_file.exists):
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{to_file} is there already")
    async with open_api(target) as api:
        view = await perform(api, acting, Step("new", "POST", "/v1/keys", new), ApiKeyView)
    if view is None:
        return Exit.OK
    if to_file is not None:
        await asyncio.to_thread(write_private, to_file, f"{view.key}\n")
        view = msgspec.structs.replace(view, key=None)
        print(f"Its text is in {to_file}.", file=sys.stderr)
    else:
        print("Keep the key's text: it is not shown again.", file=sys.stderr)
    return show_one(view, KEYS, target.form)


async def revoke_keys(target: Target, acting: Acting, keys: Sequence[str]) -> Exit:
    """Make keys stop working."""
    confirm(target, acting, "makes these keys stop working for good", keys)
    async with open_api(target) as api:
        for key_id in keys:
            await perform(api, acting, Step(key_id, "DELETE", f"/v1/keys/{key_id}"), msgspec.Raw)
            if not acting.dry_run:
                print(f"{key_id} is revoked")
    return Exit.OK


async def show_tenant(target: Target) -> Exit:
    """Print the key's own tenant."""
    async with open_api(target) as api:
        return show_one(await api.call("GET", "/v1/tenant", TenantView), _TENANT, target.form)


async def set_tenant(target: Target, acting: Acting, change: TenantChange) -> Exit:
    """Change its settings."""
    async with open_api(target) as api:
        step = Step("tenant", "PATCH", "/v1/tenant", change)
        view = await perform(api, acting, step, TenantView)
    return Exit.OK if view is None else show_one(view, _TENANT, target.form)


async def erase_tenant(target: Target, acting: Acting, tenant_id: str) -> Exit:
    """Begin the erasure of a tenant."""
    confirm(target, acting, "erases all of a tenant for good: nothing brings it back", [tenant_id])
    async with open_api(target) as api:
        path = f"/v1/tenants/{tenant_id}/erasure"
        step = Step(tenant_id, "POST", path, EraseTenant(confirm=tenant_id))
        view = await perform(api, acting, step, ErasureView)
    if view is None:
        return Exit.OK
    print(f"Follow it: blazz tenant erasure {tenant_id} --watch", file=sys.stderr)
    return show_one(view, _ERASURE, target.form)


async def show_erasure(target: Target, tenant_id: str, watch: Watch, stop: asyncio.Event) -> Exit:
    """Print how far an erasure is."""
    async with open_api(target) as api:

        async def once() -> Exit:
            path = f"/v1/tenants/{tenant_id}/erasure"
            return show_one(await api.call("GET", path, ErasureView), _ERASURE, target.form)

        return await shown(stop, watch, once)


class ActsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which acts to list. `since`: Unix seconds, None: as the API has it."""

    since: float | None = None
    key: str | None = None
    operation: str | None = None
    about: str | None = None
    limit: int = 50


async def list_acts(target: Target, wanted: ActsWanted, watch: Watch, stop: asyncio.Event) -> Exit:
    """Print who did what, newest first."""
    async with open_api(target) as api:

        async def once() -> Exit:
            return show(await _acts(api, wanted), ACTS, target.form)

        return await shown(stop, watch, once)


async def _acts(api: Api, wanted: ActsWanted) -> list[AuditRecord]:
    query = {
        "since": None if wanted.since is None else f"{wanted.since:.3f}",
        "key": wanted.key,
        "operation": wanted.operation,
        "target": wanted.about,
    }
    sent = {name: value for name, value in query.items() if value is not None}
    found: list[AuditRecord] = []
    while len(found) < wanted.limit:
        sent["limit"] = str(min(_PAGE, wanted.limit - len(found)))
        page = await api.call("GET", "/v1/audit", Page[AuditRecord], query=sent)
        found += page.data
        if page.next_cursor is None:
            break
        sent["cursor"] = page.next_cursor
    return found
