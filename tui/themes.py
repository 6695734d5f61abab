"""Themes: two sets of colours that stay apart under every common colour blindness.

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
THEMES: Final = (DARK, LIGHT)
