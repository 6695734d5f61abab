"""Themes: two sets of colours that stay apart under every common colour blindness, and skins of the
dark one, so that fleets are told apart.

Owns the colours, from Okabe and Ito's palette: good is blue, not green; bad is vermilion; between
them yellow or orange. Colour is never the only sign: every state has a glyph and a word too.
"""

from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="blazz-dark",
    primary="#56B4E9",
    secondary="#CC79A7",
    accent="#CC79A7",
    success="#56B4E9",
    warning="#F0C442",
    error="#FF7F50",
    foreground="#E6E6E6",
    background="#101418",
    surface="#181E24",
    panel="#242C34",
    dark=True,
)
LIGHT: Final = Theme(
    name="blazz-light",
    primary="#0063A6",
    secondary="#8F3F70",
    accent="#8F3F70",
    success="#0063A6",
    warning="#8A5A00",
    error="#B33A00",
    foreground="#14181C",
    background="#FCFCFA",
    surface="#F0F0EC",
    panel="#DEDEDA",
    dark=False,
)


def _tinted(name: str, primary: str, surface: str, panel: str) -> Theme:
    """The dark theme with another frame; what says how things are doing stays as it is."""
    return Theme(
        name=f"blazz-{name}",
        primary=primary,
        secondary=DARK.secondary,
        accent=DARK.accent,
        success=DARK.success,
        warning=DARK.warning,
        error=DARK.error,
        foreground=DARK.foreground,
        background=DARK.background,
        surface=surface,
        panel=panel,
        dark=True,
    )


SKINS: Final[dict[str, Theme]] = {
    "dark": DARK,
    "light": LIGHT,
    "green": _tinted("green", "#2FBF8F", "#14211D", "#1D3A31"),
    "violet": _tinted("violet", "#B79CED", "#1C1826", "#332A4D"),
}
"""By the name that a context gives."""
