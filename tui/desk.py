"""The desk: what every screen is handed.

Owns the bundle and the one moment (`Now`) that a repaint is of. Never folds, asks or acts.
"""

from tui.acts import Actor, SessionRef
from tui.clock import Clock
from tui.health import HealthLimits
from tui.model import FleetView
from tui.past.tape import PAST_LIMITS
from tui.roll import Roll
from tui.rows.listing import Now
from tui.settings import TuiSettings
from tui.source import Source


class Desk:
    """`actor` and `source` are None without an API key: the terminal only watches then."""

    def __init__(
        self,
        view: FleetView,
        settings: TuiSettings,
        clock: Clock,
        actor: Actor | None = None,
        source: Source | None = None,
    ) -> None:
        self.view = view
        self.settings = settings
        self.clock = clock
        self.source = source
        self.limits = PAST_LIMITS if settings.at is not None else HealthLimits.of(settings.profile)
        self.roll = Roll(view, self.limits)
        self._actor = actor

    @property
    def actor(self) -> Actor | None:
        """Who acts; None in read-only mode."""
        if self.settings.read_only or self.settings.at is not None:
            return None
        return self._actor

    @property
    def why_read_only(self) -> str:
        """A sentence; empty if acts are possible."""
        if self.settings.at is not None:
            return "Read-only: this is the past"
        if self._actor is None:
            return "Read-only: no API key was given"
        return "Read-only, as asked for" if self.settings.read_only else ""

    @property
    def why_not_asked(self) -> str:
        """What stands where only the API could tell, and is not asked."""
        return "not known of the past" if self.settings.at is not None else "needs an API key"

    def now(self) -> Now:
        """Both clocks and every node's verdict; the roll is brought up to it."""
        monotonic = self.clock.monotonic()
        self.roll.bring_up(monotonic)
        return Now(monotonic, self.clock.unix(), self.roll.healths, self.settings.show_phones)

    def session_ref(self, session_id: str) -> SessionRef | None:
        """Whose a session is; None when nothing is known of it."""
        look = self.roll.looks.get(session_id)
        return None if look is None else SessionRef(look.tenant_id, session_id)
