"""The page's state as one record, read by the watch and by the tests.

Owns the shape of `state()`'s answer and what follows from it alone. Pure.
"""

import msgspec

from swarm_node.engines.contract import Identity


class SelfTest(msgspec.Struct, frozen=True):
    """`unwired`: parts that came after wa-js had hung its listeners. `missing`: parts that are not
    there at all. `deaf`: new messages that the page's store had and wa-js did not tell of."""

    unwired: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    deaf: int = 0

    @property
    def fault(self) -> str | None:
        """What is wrong, in words; None when nothing is."""
        if self.unwired:
            return f"came too late for wa-js: {', '.join(self.unwired)}"
        if self.missing:
            return f"not there: {', '.join(self.missing)}"
        if self.deaf:
            return f"{self.deaf} new messages without an event"
        return None


class PageState(msgspec.Struct, frozen=True, rename="camel"):
    """What the page was at one moment. `sync`: percent, while it syncs. `heap`: bytes."""

    injected: bool = False
    ready: bool = False
    full_ready: bool = False
    authenticated: bool = False
    main_loaded: bool = False
    mode: str | None = None
    socket: str | None = None
    main: bool = False
    identity: Identity | None = None
    sync: float | None = None
    version: str | None = None
    passkey: bool = False
    news_closed: int = 0
    self_test: SelfTest = SelfTest()
    heap: float = 0
    dropped: int = 0

    @property
    def replaced(self) -> bool:
        """Whether another client holds this device's keys."""
        return self.mode == "CONFLICT" or self.socket == "CONFLICT"

    @property
    def linked(self) -> bool:
        """Whether an account is in: what `conn.authenticated` should say and does not always."""
        return self.authenticated and self.main_loaded and self.identity is not None

    @property
    def settled(self) -> bool:
        """Whether nothing is expected to change by itself soon."""
        return self.full_ready and self.main
