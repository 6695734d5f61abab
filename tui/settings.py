"""Settings of the terminal: where the bus is, as whom to read, what to show.

Owns the record. Never reads a file or the environment: `cli` does.
"""

import msgspec

from schemas.permissions import inbox_prefix
from schemas.timing import FAST, TimingProfile
from schemas.transport.connection import BusSettings, TlsSettings


class TuiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`identity` is the bus user (its inbox is named after it); `nkey_seed_file` its key."""

    servers: tuple[str, ...]
    identity: str = "viewer"
    nkey_seed_file: str | None = None
    creds_file: str | None = None
    tls: TlsSettings | None = None
    context: str = "local"
    """The name of the fleet, always on the screen: nobody should steer the wrong one."""
    production: bool = False
    """Somebody's customers are on it: where acts are possible, the header is red."""
    read_only: bool = False
    """Refuse acts even with a key."""
    profile: TimingProfile = FAST
    show_phones: bool = False
    light: bool = False
    skin: str = ""
    """One of `tui.themes.SKINS`, instead of dark or light."""
    low_bandwidth: bool = False
    """For slow lines: fewer repaints, no sparkline."""
    keymap: dict[str, str] = {}
    """Other keys, by the id of the action (`tui/actions.py`)."""
    at: float | None = None
    """Show the fleet as it was at this moment (Unix seconds); None: as it is."""
    events_history: int = 200
    """How many past events to read back at the start."""

    def bus(self) -> BusSettings:
        """The same as the transport wants it."""
        return BusSettings(
            servers=self.servers,
            name=f"tui-{self.identity}",
            inbox_prefix=inbox_prefix(self.identity),
            nkey_seed_file=self.nkey_seed_file,
            creds_file=self.creds_file,
            tls=self.tls,
            profile=self.profile,
            first_connect_timeout_s=5.0,
        )
