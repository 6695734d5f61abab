"""Admission: may one more session come to this node, and when may its engine start?

Owns the two decisions. A full node says so at once (`node_at_capacity`); it never queues, for the
control plane has other nodes to choose from. Starts are spaced, for a browser that starts costs
more than one that runs. Never counts by itself and reads no clock: both are arguments.
"""

from schemas.errors import BlazzError, ErrorCode


def admit(*, held: int, sessions_max: int, stopping: bool) -> None:
    """Let one more session in, or say why not.

    `held`: sessions admitted and not destroyed, running or not: each may be started at any time.
    Raises `node_at_capacity`, or `shutting_down` when the node is on its way out.
    """
    if stopping:
        raise BlazzError(ErrorCode.SHUTTING_DOWN, "the node is stopping")
    if held >= sessions_max:
        raise BlazzError(
            ErrorCode.NODE_AT_CAPACITY,
            f"the node holds {held} of {sessions_max} sessions",
            sessions_max=sessions_max,
        )


def start_delay_s(*, now_s: float, last_start_s: float | None, spacing_s: float) -> float:
    """How long the next engine start must wait so that starts are `spacing_s` apart."""
    if last_start_s is None:
        return 0.0
    return max(0.0, last_start_s + spacing_s - now_s)
