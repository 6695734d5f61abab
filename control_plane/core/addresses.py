"""Addresses: which of them a customer's URL may lead to.

Owns the table of networks that are not the public internet, and the addresses that hide another
one inside. Never resolves a name and never connects.

The table is our own: `ipaddress.is_global` changes from one Python release to the next.
"""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Network = IPv4Network | IPv6Network

_NOT_PUBLIC_V4: Final = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        # Here most clouds keep a machine's credentials (169.254.169.254).
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        # Azure's metadata and key server stands at a public address.
        ("168.63.129.16/32", "cloud metadata"),
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("2001::/23", "protocol assignments"),  # Teredo and ORCHID are in it
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read `127.0.0.0/8` and the like. Raises `ValueError`."""
    return tuple(ip_network(text) for text in texts)


def refusal(address: str, allowed: Sequence[Network] = ()) -> str | None:
    """Why a connection to `address` is refused, or None where it may be made.

    `allowed` comes first: networks that an operator opened on purpose. Raises `ValueError` when
    `address` is none.
    """
    read = _unwrapped(ip_address(address))
    if any(read.version == network.version and read in network for network in allowed):
        return None
    if isinstance(read, IPv4Address):
        return next((why for network, why in _NOT_PUBLIC_V4 if read in network), None)
    if read not in _PUBLIC_V6:
        return "not a public network"
    return next((why for network, why in _NOT_PUBLIC_V6 if read in network), None)


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for (mapped, or behind NAT64), else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
