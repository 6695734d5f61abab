"""What a lab consists of: regions, hosts, their addresses, and the commands that join them.

Pure: nothing here runs anything. The lab's own namespace is the router of all regions and where the
operator, the customers and WhatsApp's stand-in are; each region is a bridge in it.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from schemas.errors import BlazzError, ErrorCode

NETWORK: Final = ipaddress.IPv4Network("10.77.0.0/16")
"""Exists only inside of the lab's namespaces."""
OUTSIDE: Final = "10.77.0.1"
"""The lab's own address, the same for every region: what is outside of the fleet listens here."""
REGIONS_MAX: Final = 8
HOSTS_MAX: Final = 12
PROVIDER: Final = "lab"
_CUT_PRIORITY: Final = "100"


class Region(msgspec.Struct, frozen=True):
    """One region: a bridge with a network of its own, from number 1."""

    name: str
    number: int

    @property
    def bridge(self) -> str:
        """The interface's name."""
        return f"region{self.number}"

    @property
    def network(self) -> ipaddress.IPv4Network:
        """Its addresses."""
        return ipaddress.IPv4Network(f"10.77.{self.number}.0/24")

    @property
    def gateway(self) -> str:
        """The router's address in it."""
        return str(self.network[1])


class Host(msgspec.Struct, frozen=True):
    """One host. `groups`: those of the inventory that it is in."""

    name: str
    region: Region
    address: str
    groups: tuple[str, ...]

    @property
    def interface(self) -> str:
        """The lab's end of its cable."""
        return "h" + self.address.replace("10.77.", "").replace(".", "-")


class LabPlan(msgspec.Struct, frozen=True):
    """All of it."""

    regions: tuple[Region, ...]
    hosts: tuple[Host, ...]

    def group(self, name: str) -> list[Host]:
        """The hosts of a group, in order."""
        return [host for host in self.hosts if name in host.groups]


def make_plan(regions: Mapping[str, Sequence[tuple[str, ...]]]) -> LabPlan:
    """From each region's name and its hosts' groups. Raises `config_invalid` beyond the bounds."""
    count = sum(len(hosts) for hosts in regions.values())
    if not 1 <= count <= HOSTS_MAX or len(regions) > REGIONS_MAX:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"a lab has 1 to {HOSTS_MAX} hosts in at most {REGIONS_MAX} regions, not {count}",
        )
    made = tuple(Region(name, number) for number, name in enumerate(regions, start=1))
    hosts = [
        Host(
            f"blazz-{PROVIDER}-{region.name}-{number:02}",
            region,
            str(region.network[10 + number]),
            tuple(groups),
        )
        for region in made
        for number, groups in enumerate(regions[region.name], start=1)
    ]
    return LabPlan(made, tuple(hosts))


def router_commands(plan: LabPlan) -> list[list[str]]:
    """Make the lab's namespace the router. Word lists for `ip`."""
    commands = [
        ["link", "set", "lo", "up"],
        ["address", "add", f"{OUTSIDE}/32", "dev", "lo"],
    ]
    for region in plan.regions:
        length = region.network.prefixlen
        commands += [
            ["link", "add", region.bridge, "type", "bridge"],
            ["address", "add", f"{region.gateway}/{length}", "dev", region.bridge],
            ["link", "set", region.bridge, "up"],
        ]
    return commands


def cable_commands(host: Host, pid: int) -> list[list[str]]:
    """Join the network namespace of a process to the host's region."""
    return [
        [
            *("link", "add", host.interface, "type", "veth"),
            *("peer", "name", "uplink", "netns", str(pid)),
        ],
        ["link", "set", host.interface, "master", host.region.bridge, "up"],
    ]


def cut_commands(one: Region, other: Region, *, heal: bool = False) -> list[list[str]]:
    """Drop, or pass again, every packet between two regions; both still reach the outside."""
    return [
        [
            *("rule", "del" if heal else "add", "priority", _CUT_PRIORITY),
            *("from", str(a.network), "to", str(b.network), "blackhole"),
        ]
        for a, b in ((one, other), (other, one))
    ]


def hosts_file(plan: LabPlan) -> str:
    """`/etc/hosts` of each host."""
    lines = ["127.0.0.1 localhost", f"{OUTSIDE} outside"]
    return "\n".join([*lines, *(f"{host.address} {host.name}" for host in plan.hosts)]) + "\n"


def inventory(
    plan: LabPlan, host_vars: Mapping[str, Mapping[str, Any]], all_vars: Mapping[str, Any]
) -> dict[str, Any]:
    """The inventory that the playbooks are given, with the groups that `blazz plan` writes."""
    groups: dict[str, Any] = {}
    for host in plan.hosts:
        for group in (*host.groups, f"provider_{PROVIDER}", f"region_{PROVIDER}_{_word(host)}"):
            groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
    hosts = {
        host.name: {
            "ansible_host": host.address,
            "blazz_provider": PROVIDER,
            "blazz_region": host.region.name,
            **host_vars.get(host.name, {}),
        }
        for host in plan.hosts
    }
    return {"all": {"hosts": hosts, "children": groups, "vars": dict(all_vars)}}


def known_hosts(hosts: Iterable[Host], public_key: str) -> str:
    """What ssh knows of the hosts: they share the lab's one key."""
    kind, key = public_key.split()[:2]
    return "".join(f"{host.address} {kind} {key}\n" for host in hosts)


def _word(host: Host) -> str:
    return host.region.name.replace("-", "_")
