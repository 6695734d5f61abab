"""The catalogue: providers, regions, machine sizes, prices and what a session takes.

Owns its shape and what makes one wrong. Never reads a file; the shipped one is `catalogue.toml`.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.errors import BlazzError, ErrorCode

HostMode = Literal["isolated", "shared"]
"""How sessions share browsers: one browser each, or some profiles to a browser."""

Id = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$")]
"""Short and plain: it becomes part of a host's name."""

Count = Annotated[int, Meta(ge=1, le=100_000)]
Price = Annotated[float, Meta(ge=0, le=1_000_000)]

_MEND: Final = "`blazz plan --write-catalogue FILE` writes one that is whole"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a typo in a key is an error."""


class Size(_Part, frozen=True):
    """A machine that can be rented. `price` is a month's, in the provider's currency."""

    id: Id
    memory_mb: Annotated[int, Meta(ge=128)]
    vcpus: Count
    price: Price
    note: str = ""


class Region(_Part, frozen=True):
    """Where a provider has machines. Two providers' regions of one id are in the same place.

    `weight`: its part of the fleet, beside all other regions. `code`: the provider's own name.
    """

    id: Id
    weight: Count
    code: str = ""


class Provider(_Part, frozen=True):
    """Whom machines are rented from. `size`: what is taken when the sessions a node are given."""

    id: Id
    size: Id
    regions: Annotated[tuple[Region, ...], Meta(min_length=1)]
    sizes: Annotated[tuple[Size, ...], Meta(min_length=1)]
    currency: str = "USD"

    def size_named(self, size_id: str) -> Size | None:
        """One of its sizes."""
        return next((size for size in self.sizes if size.id == size_id), None)


class NodeLimits(_Part, frozen=True):
    """What bounds a node besides memory. `sessions_max`: how many one address may hold."""

    sessions_max: Count
    sessions_per_vcpu: Count


class BrowserMemory(_Part, frozen=True):
    """What sessions take, in MB of PSS: `browser_mb` for each browser, `session_mb` each."""

    session_mb: Annotated[float, Meta(gt=0)]
    browser_mb: Annotated[float, Meta(ge=0)] = 0.0
    sessions_per_browser: Count = 1


class Memory(_Part, frozen=True):
    """What is taken before the first session, and by each.

    `host_reserve_mb` is the system's, `node_mb` the node process's own. What was measured is
    planned times `margin`.
    """

    host_reserve_mb: Annotated[int, Meta(ge=0)]
    node_mb: Annotated[int, Meta(ge=0)]
    margin: Annotated[float, Meta(ge=1, le=10)]
    isolated: BrowserMemory
    shared: BrowserMemory


class Fixed(_Part, frozen=True):
    """What the fleet needs once, however large. `price` is a month's for each, in USD."""

    name: Id
    price: Price
    count: Count = 1


class Claim(_Part, frozen=True):
    """What somebody else's sums say of a fleet; the plan remarks where its own differ."""

    sessions: Count
    nodes: Count
    node_usd: Price
    month_usd: Price


class Catalogue(_Part, frozen=True):
    """All that a plan is made from. `rates`: USD for one unit of each other currency."""

    node: NodeLimits
    memory: Memory
    providers: Annotated[tuple[Provider, ...], Meta(min_length=1)]
    fixed: tuple[Fixed, ...] = ()
    claims: tuple[Claim, ...] = ()
    rates: dict[str, Annotated[float, Meta(gt=0)]] = {}
    source: str = ""

    def provider(self, provider_id: str) -> Provider:
        """Raises `config_invalid` with those there are."""
        for provider in self.providers:
            if provider.id == provider_id:
                return provider
        known = ", ".join(provider.id for provider in self.providers)
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"no provider {provider_id!r} in the catalogue: {known}"
        )

    def usd(self, provider: Provider, price: float) -> float:
        """A provider's price in USD."""
        return price if provider.currency == "USD" else price * self.rates[provider.currency]


def parse(text: str, source: str) -> Catalogue:
    """The catalogue in a TOML text. Raises `config_invalid` with what is wrong, and where."""
    try:
        catalogue = msgspec.convert(tomllib.loads(text), Catalogue)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise _wrong(source, str(error)) from error
    for fault in _faults(catalogue):
        raise _wrong(source, fault)
    return catalogue


def _wrong(source: str, what: str) -> BlazzError:
    return BlazzError(ErrorCode.CONFIG_INVALID, f"{source}: {what}; {_MEND}")


def _faults(catalogue: Catalogue) -> Iterable[str]:
    yield from _twice("providers", (provider.id for provider in catalogue.providers))
    yield from _twice("fixed", (item.name for item in catalogue.fixed))
    for provider in catalogue.providers:
        where = f"provider {provider.id}"
        yield from _twice(f"{where}, regions", (region.id for region in provider.regions))
        yield from _twice(f"{where}, sizes", (size.id for size in provider.sizes))
        if provider.size_named(provider.size) is None:
            known = ", ".join(size.id for size in provider.sizes)
            yield f"{where}: `size` is {provider.size!r}, and its sizes are {known}"
        if provider.currency != "USD" and provider.currency not in catalogue.rates:
            yield f"{where}: no rate for {provider.currency}; write it in `[rates]`"


def _twice(where: str, ids: Iterable[str]) -> Iterable[str]:
    for one, count in Counter(ids).items():
        if count > 1:
            yield f"{where}: {one!r} stands there {count} times"
