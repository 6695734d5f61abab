"""How many sessions a machine holds, and which machine is taken at each provider.

Owns these two choices. Never counts nodes.
"""

import math
from collections.abc import Sequence

import msgspec

from cli.planning.catalogue import BrowserMemory, Catalogue, HostMode, Memory, Provider, Size
from schemas.errors import BlazzError, ErrorCode


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked about nodes.

    - `sessions_per_node`: given; None has it computed from memory and cores.
    - `sizes`: `2gb` for every provider that has it, `vultr/2gb` for one; none lets us choose.
    - `session_mb`: what a session takes where you measured it, in place of the catalogue's.
    """

    sessions_per_node: int | None = None
    sizes: tuple[str, ...] = ()
    host_mode: HostMode = "isolated"
    session_mb: float | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's machine; `fits`: how many sessions memory and cores hold; USD a month."""

    provider: Provider
    size: Size
    sessions_per_node: int
    fits: int
    price_usd: float


def memory_mb(sessions: int, memory: Memory, mode: HostMode, session_mb: float | None) -> float:
    """What that many sessions are planned to take, without the host's and the node's own."""
    if session_mb is not None:
        return sessions * session_mb
    taken = _browsers(memory, mode)
    browsers = math.ceil(sessions / taken.sessions_per_browser)
    return (browsers * taken.browser_mb + sessions * taken.session_mb) * memory.margin


def fits(size: Size, catalogue: Catalogue, sizing: Sizing) -> int:
    """How many sessions a machine holds by memory, cores and the most for an address."""
    memory, node = catalogue.memory, catalogue.node
    free = size.memory_mb - memory.host_reserve_mb - memory.node_mb
    most = min(node.sessions_max, size.vcpus * node.sessions_per_vcpu)
    for sessions in range(most, 0, -1):
        if memory_mb(sessions, memory, sizing.host_mode, sizing.session_mb) <= free:
            return sessions
    return 0


def choose(catalogue: Catalogue, providers: Sequence[Provider], sizing: Sizing) -> list[Choice]:
    """A machine for each provider. Raises `config_invalid` for one unknown or too small.

    With the sessions a node given it is the catalogue's usual size, else the cheapest a session,
    and of two equals the one that holds fewer: it loses fewer.
    """
    named = _named(providers, sizing.sizes)
    return [_chosen(catalogue, provider, named.get(provider.id), sizing) for provider in providers]


def _chosen(catalogue: Catalogue, provider: Provider, named: Size | None, sizing: Sizing) -> Choice:
    def choice(size: Size) -> Choice:
        held = fits(size, catalogue, sizing)
        return Choice(
            provider=provider,
            size=size,
            sessions_per_node=sizing.sessions_per_node or held,
            fits=held,
            price_usd=catalogue.usd(provider, size.price),
        )

    if sizing.sessions_per_node is not None:
        usual = provider.size_named(provider.size)
        assert usual is not None
        return choice(named or usual)
    candidates = [choice(named)] if named else [choice(size) for size in provider.sizes]
    holding = [one for one in candidates if one.sessions_per_node > 0]
    if not holding:
        raise _too_small(catalogue, provider, candidates, sizing)
    return min(holding, key=lambda one: (one.price_usd / one.sessions_per_node, one.fits))


def _named(providers: Sequence[Provider], wanted: Sequence[str]) -> dict[str, Size]:
    """The size that was asked for at each provider; the one named with its provider wins."""
    found: dict[str, Size] = {}
    known = {provider.id: provider for provider in providers}
    for text in sorted(wanted, key=lambda text: "/" in text):
        provider_id, slash, size_id = text.rpartition("/")
        if slash and provider_id not in known:
            raise BlazzError(
                ErrorCode.CONFIG_INVALID,
                f"--size {text}: {provider_id!r} is none of the providers: {', '.join(known)}",
            )
        for provider in [known[provider_id]] if slash else providers:
            size = provider.size_named(size_id)
            if size is None:
                sizes = ", ".join(size.id for size in provider.sizes)
                raise BlazzError(
                    ErrorCode.CONFIG_INVALID,
                    f"--size {text}: {provider.id} has {sizes}; name one with its provider: "
                    f"{provider.id}/{provider.size}",
                )
            found[provider.id] = size
    return found


def _too_small(
    catalogue: Catalogue, provider: Provider, candidates: Sequence[Choice], sizing: Sizing
) -> BlazzError:
    largest = max((one.size for one in candidates), key=lambda size: size.memory_mb)
    memory = catalogue.memory
    own = memory.host_reserve_mb + memory.node_mb
    one = memory_mb(1, memory, sizing.host_mode, sizing.session_mb)
    return BlazzError(
        ErrorCode.CONFIG_INVALID,
        f"{provider.id}/{largest.id} has {largest.memory_mb} MB: too little for one session, which "
        f"is planned with {one:.0f} MB, besides {own} MB for host and node; take a larger --size, "
        "or leave it out",
    )


def _browsers(memory: Memory, mode: HostMode) -> BrowserMemory:
    return memory.shared if mode == "shared" else memory.isolated
