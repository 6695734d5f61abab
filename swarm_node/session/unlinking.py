"""Unlinking: whether a session's engine can be logged out now, and doing it.

Owns the one bounded call. Never changes the session's state.
"""

import asyncio

from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState
from swarm_node.engines.contract import Engine


async def unlink(
    engine: Engine | None, state: SessionState, *, linked: bool, call_max_s: float
) -> None:
    """Unlink the account behind `engine`, if there is one.

    Raises `session_not_running`, `session_not_online`, `page_timeout` or what the engine raised.
    """
    if engine is None:
        raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, f"the session is {state}")
    if state is SessionState.STARTING:
        # Nobody knows yet whether an account is behind the profile.
        raise BlazzError(ErrorCode.SESSION_NOT_ONLINE, "the session is starting")
    if not linked:
        return
    try:
        async with asyncio.timeout(call_max_s):
            await engine.logout()
    except TimeoutError:
        raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the logout got no answer") from None
