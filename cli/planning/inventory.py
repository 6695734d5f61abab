"""The plan as an Ansible inventory.

Owns its groups, host names and variables. Never knows an address: `ansible_host` is added where
the machines are made.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cli.planning.catalogue import Catalogue
from cli.planning.sizing import Choice
from cli.planning.spread import Fleet, Node

NATS_SERVERS = 3
"""A majority of three outlives one."""


def inventory(
    fleet: Fleet, choices: Sequence[Choice], catalogue: Catalogue, version: str
) -> dict[str, Any]:
    """The tree of the YAML file. Every host's variables stand once, in the group of its role."""
    size = {one.provider.id: one.size.id for one in choices}
    codes = {
        (provider.id, region.id): region.code
        for provider in catalogue.providers
        for region in provider.regions
    }
    homes = bus_homes(choices)

    def place(provider: str, region: str) -> dict[str, Any]:
        known = {"blazz_provider": provider, "blazz_region": region}
        code = codes[provider, region]
        return known | ({"blazz_provider_region": code} if code else {})

    control = "blazz-control-1"
    return {
        "all": {
            "vars": {"blazz_version": version},
            "children": {
                "nats": _hosts(
                    {f"blazz-nats-{n}": place(*home) for n, home in enumerate(homes, start=1)}
                ),
                "control_plane": _hosts({control: place(*homes[0])}),
                "proxy": _hosts({control: {}}),
                "observability": _hosts({control: {}}),
                "swarm_nodes": _hosts(
                    {
                        node.id: place(node.provider, node.region)
                        | {
                            "blazz_size": size[node.provider],
                            "blazz_sessions_max": node.sessions_max,
                        }
                        for node in fleet.nodes
                    }
                ),
            }
            | _by_provider(fleet.nodes),
        }
    }


def bus_homes(choices: Sequence[Choice]) -> list[tuple[str, str]]:
    """Where the bus's servers stand: in one place, at as many providers as have machines there.

    They agree on every write, so they must be near each other; and no provider may take two of
    them along if that can be helped. It does not change while the fleet grows.
    """
    known = [(one.provider.id, region.id) for one in choices for region in one.provider.regions]
    at = Counter(region for _, region in known)
    centre = max(known, key=lambda home: at[home[1]])[1]
    near = sorted(known, key=lambda home: home[1] != centre)
    firsts = {provider: (provider, region) for provider, region in reversed(near)}
    others = [home for home in near if home not in firsts.values()]
    homes = [home for home in near if home in firsts.values()] + others
    return [homes[n % len(homes)] for n in range(NATS_SERVERS)]


def _by_provider(nodes: Sequence[Node]) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for node in nodes:
        provider = _group("provider", node.provider)
        region = _group("region", node.provider, node.region)
        children = groups.setdefault(provider, {"children": {}})["children"]
        children.setdefault(region, {"hosts": {}})["hosts"][node.id] = {}
    return groups


def _hosts(hosts: Mapping[str, Any]) -> dict[str, Any]:
    return {"hosts": dict(hosts)}


def _group(*words: str) -> str:
    """Ansible's groups are named like variables: no hyphen."""
    return "_".join(words).replace("-", "_")
