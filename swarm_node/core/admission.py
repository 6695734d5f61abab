"""Admission: may one more session come to this node, and when may its engine start?

Owns the two decisions. A full node says so at once (`node_at_capacity`); it never queues, for the
control plane has other nodes to choose from. Starts are spaced, for a browser that starts costs
more than one that runs. Never counts by itself and reads no clock: both are arguments.
"""

from schemas.errors import BlazzError, ErrorCode


def admit(*, running: int, sessions_max: int, stopping: bool) -> None:
    """Let one more engine start, or say why not.

    `running`: engines that run or are about to; a session at rest costs nothing.
    Raises `node_at_capacity`, or `shutting_down` when the node is on its way out.
    """
    if stopping:
        raise BlazzError(ErrorCode.SHUTTING_DOWN, "the node is stopping")
    if running >= sessions_max:
        raise BlazzError(
            ErrorCode.NODE_AT_CAPACITY,
            f"the node runs {running} of {sessions_max} sessions",
            sessions_max=sessions_max,
        )


def start_delay_s(*, now_s: float, last_start_s: float | None, spacing_s: float) -> float:
    """How long the next engine start must wait so that starts are `spacing_s` apart."""
    if last_start_s is None:
        return 0.0
    return max(0.0, last_start_s + spacing_s - now_s)
