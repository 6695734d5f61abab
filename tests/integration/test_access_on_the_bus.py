"""Tenants' settings and a link's browser on a real bus; two instances stand for two replicas."""

from __future__ import annotations

import asyncio

import msgspec

from control_plane.access.keys import BucketAccess
from control_plane.access.tenants import BucketTenants
from schemas.api_accounts import TenantChange
from schemas.transport.connection import Bus

TENANT = "acme"
SESSION = "ses_00000000000000000000000001"


def tenants(bus: Bus, cache_s: float = 0.0) -> BucketTenants:
    return BucketTenants(
        bus,
        default_region="SG",
        check_retention=lambda _: None,
        cache_s=cache_s,
        cache_max=10,
    )


async def test_a_tenants_region_is_its_own_or_the_servers(bus: Bus) -> None:
    one, other = tenants(bus, cache_s=60), tenants(bus)
    assert await one.region(TENANT) == "SG"
    changed = await one.change(TENANT, TenantChange(default_region="ID"))
    assert changed.default_region == "ID"
    # The replica that changed it knows at once, whatever it remembered.
    assert [await one.region(TENANT), await other.region(TENANT)] == ["ID", "ID"]
    assert await other.region("rival") == "SG"
    await asyncio.gather(
        one.change(TENANT, TenantChange(name="Acme")),
        other.change(TENANT, TenantChange(default_region=None)),
    )
    record = await one.get(TENANT)
    assert (record.name, record.default_region) == ("Acme", None)
    assert await other.region(TENANT) == "SG"


async def test_of_many_browsers_one_gets_the_link(bus: Bus) -> None:
    replicas = [BucketAccess(bus, cache_s=0, cache_max=10) for _ in range(2)]
    made, token = await replicas[0].create_link(TENANT, SESSION, expires_in_s=60, return_url=None)
    hashes = [f"{n:02x}" * 32 for n in range(6)]
    bound = await asyncio.gather(
        *(replicas[n % 2].bind_link(token, sha256) for n, sha256 in enumerate(hashes))
    )
    assert len({record.browser_sha256 for record in bound}) == 1
    assert bound[0].browser_sha256 in hashes
    kept = await replicas[1].open_link(token)
    assert kept == msgspec.structs.replace(made, browser_sha256=bound[0].browser_sha256)
