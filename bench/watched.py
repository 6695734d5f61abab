"""What traffic and its judge need of a fleet, wherever it runs.

Owns the protocol only: a fleet of children of this process has it (`chaos_fleet`), and one on
hosts of its own (`roll_fleet`).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from bench.stage import Linked
from cli.client import Api
from sandbox.phone import Phone, PhoneBook
from schemas.states import EngineKind
from schemas.transport.connection import BusSettings


class WatchedFleet(Protocol):
    """A running fleet with its sessions linked."""

    @property
    def engine(self) -> EngineKind:
        """What its sessions run in."""

    @property
    def book(self) -> PhoneBook:
        """The phones, and the switch's log."""

    @property
    def api(self) -> Api:
        """A control plane that always answers in the end."""

    @property
    def apis(self) -> Sequence[Api]:
        """Those that customers ask, in turn."""

    @property
    def linked(self) -> Sequence[Linked]:
        """The sessions."""

    @property
    def friends(self) -> Sequence[Phone]:
        """Whom they write to, and who writes to them."""

    @property
    def bus(self) -> BusSettings:
        """How a reader of the event stream signs in."""

    @property
    def hooked(self) -> Counter[str] | None:
        """Events that a webhook's receiver took, by id; None without one."""
