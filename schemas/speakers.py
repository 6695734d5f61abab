"""Speakers: whether what a node says stands where that node alone can say it.

Owns the rule. The bus lets a node publish on its own subjects and keys only, so a name inside of
what it says counts only if it is the same. Pure.
"""

import msgspec

from schemas.keys import node_key, observed_key
from schemas.records import Heartbeat, NodeRecord, SessionObserved
from schemas.subjects import node_heartbeat


def speaks_for_itself(where: str, said: msgspec.Struct | None) -> bool:
    """`where`: the subject of a message, or the key of a record in the fleet bucket."""
    match said:
        case Heartbeat():
            return where == node_heartbeat(said.node_id)
        case NodeRecord():
            return where == node_key(said.node_id)
        case SessionObserved():
            return where == observed_key(said.node_id, said.session_id)
    return True
