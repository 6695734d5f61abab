"""Schedules: what happens to the world of one run, and when; all of it from the seed.

Owns what a schedule is and how it is drawn. A schedule is drawn whole before the run begins, so
that a change of the product does not change what is done to it. Never carries anything out
(`player.py`) and never checks anything.
"""

import random
from typing import Final

import msgspec

from schemas.states import EngineKind

FAULTS_BEGIN_S: Final = 12.0
FAULTS_LAST_S: Final = (10.0, 35.0)
VAULT_SHARE: Final = 0.4
CLUSTER_SHARE: Final = 0.1


class Action(msgspec.Struct, frozen=True):
    """One thing that is done at a time: `kind` names the player's method.

    `who` is a process's or a session's number, whichever the kind takes; `for_s` how long a fault
    lasts; `amount` what it says itself.
    """

    at_s: float
    kind: str
    who: int = 0
    for_s: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        words = [self.kind, str(self.who)]
        if self.for_s:
            words.append(f"for {self.for_s:.2f} s")
        if self.amount:
            words.append(f"amount {self.amount:.3f}")
        return " ".join(words)


class Schedule(msgspec.Struct, frozen=True):
    """One run. `places` are the nodes' `sessions_max`; `heal_s` is when all faults end."""

    seed: int
    places: tuple[int, ...]
    replicas: int
    sessions: int
    actions: tuple[Action, ...]
    heal_s: float
    vault: bool = False
    """Whether devices live in profiles on disk and are kept in the vault."""
    engine: EngineKind = EngineKind.LOOPBACK
    """Whose staggers apply; the browser is simulated either way."""
    timing: str = "fast"


NODE_FAULTS: Final = {
    "crash_node": 6,
    "lose_node": 3,
    "stop_node": 1,
    "stall_node": 6,
    "cut_node": 5,
    "deafen_node": 3,
    "mute_node": 3,
    "slow_node": 2,
    "crash_browser": 3,
    "cut_internet": 1,
    "spoil_starts": 1,
}
CONTROL_FAULTS: Final = {
    "crash_control": 4,
    "stall_control": 4,
    "cut_control": 3,
    "deafen_control": 2,
    "mute_control": 2,
}
BUS_FAULTS: Final = {
    "crash_bus": 3,
    "slow_disk": 2,
    "lose_vault": 2,
    "lose_messages": 2,
    "repeat_messages": 2,
}
REQUESTS: Final = {
    "create": 4,
    "stop": 3,
    "start": 3,
    "restart": 3,
    "delete": 2,
    "send": 6,
}
OPERATIONS: Final = {"cordon": 2, "uncordon": 2, "drain": 3, "move": 4, "rebalance": 1}
_WEIGHTS: Final = NODE_FAULTS | CONTROL_FAULTS | BUS_FAULTS | REQUESTS | OPERATIONS

_SHORT_S: Final = (0.3, 3.0)
_MIDDLE_S: Final = (3.0, 9.0)
_LONG_S: Final = (9.0, 25.0)


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(f"schedule {seed}")
    nodes = chance.choice((3, 3, 4, 4, 5))
    places = tuple(chance.choice((1, 2, 2, 3, 4)) for _ in range(nodes))
    replicas = chance.choice((1, 2, 2, 3))
    sessions = max(1, min(sum(places), round(sum(places) * chance.uniform(0.3, 1.0))))
    lasts_s = chance.uniform(*FAULTS_LAST_S)
    # Most faults do their worst together: some runs have few, some have many at once.
    count = chance.choice((2, 4, 6, 8, 12, 16))
    # Only some kinds occur in a run: so that each combination is looked at closely now and then.
    kinds = chance.sample(list(_WEIGHTS), k=chance.randint(3, len(_WEIGHTS)))
    weights = [_WEIGHTS[kind] for kind in kinds]
    actions = []
    for _ in range(count):
        kind = chance.choices(kinds, weights)[0]
        actions.append(
            Action(
                at_s=round(FAULTS_BEGIN_S + chance.uniform(0.0, lasts_s), 3),
                kind=kind,
                who=_who(kind, chance, nodes=nodes, replicas=replicas),
                for_s=round(chance.uniform(*chance.choice((_SHORT_S, _MIDDLE_S, _LONG_S))), 3),
                amount=round(chance.random(), 3),
            )
        )
    actions.sort(key=lambda action: action.at_s)
    return Schedule(
        seed=seed,
        places=places,
        replicas=replicas,
        sessions=sessions,
        actions=tuple(actions),
        heal_s=round(FAULTS_BEGIN_S + lasts_s + 1.0, 3),
        vault=chance.random() < VAULT_SHARE,
        engine=chance.choice((EngineKind.LOOPBACK, EngineKind.CHROMIUM)),
        timing="cluster" if chance.random() < CLUSTER_SHARE else "fast",
    )


def _who(kind: str, chance: random.Random, *, nodes: int, replicas: int) -> int:
    if kind in NODE_FAULTS or kind in OPERATIONS:
        # The same few nodes again and again: trouble on trouble is where the faults are.
        return min(chance.randrange(nodes), chance.randrange(nodes))
    if kind in CONTROL_FAULTS:
        return chance.randrange(replicas)
    return chance.randrange(100)
