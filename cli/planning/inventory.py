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

NATS, CONTROL_PLANE = "nats", "control-plane"
"""What the catalogue's `fixed` calls them; its counts are the inventory's."""


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
    count = {NATS: 3, CONTROL_PLANE: 2} | {item.name: item.count for item in catalogue.fixed}
    homes = homes_near(choices)

    def place(provider: str, region: str) -> dict[str, Any]:
        known = {"blazz_provider": provider, "blazz_region": region}
        code = codes[provider, region]
        return known | ({"blazz_provider_region": code} if code else {})

    def servers(name: str, item: str) -> dict[str, Any]:
        return {f"blazz-{name}-{n + 1}": place(*homes[n % len(homes)]) for n in range(count[item])}

    control = servers("control", CONTROL_PLANE)
    return {
        "all": {
            "vars": {"blazz_version": version},
            "children": {
                "nats": _hosts(servers("nats", NATS)),
                "control_plane": _hosts(control),
                "proxy": _hosts({host: {} for host in control}),
                "observability": _hosts({next(iter(control)): {}}),
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


def homes_near(choices: Sequence[Choice]) -> list[tuple[str, str]]:
    """Where servers of one kind stand, the first in the first: near each other, providers apart.

    The bus's servers agree on every write, so they are in one place if it has enough providers;
    and no provider takes two of them along if that can be helped. A larger fleet changes nothing.
    """
    known = [(one.provider.id, region.id) for one in choices for region in one.provider.regions]
    at = Counter(region for _, region in known)
    centre = max(known, key=lambda home: at[home[1]])[1]
    near = sorted(known, key=lambda home: home[1] != centre)
    firsts = {provider: (provider, region) for provider, region in reversed(near)}
    others = [home for home in near if home not in firsts.values()]
    return [home for home in near if home in firsts.values()] + others


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
