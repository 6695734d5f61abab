"""A mark in the profile directory: this profile has been linked.

Owns the file. With it, a page that asks for a QR code means that the device was unlinked while
nobody looked; without it, that it was never linked. Holds nothing about the account.
"""

from pathlib import Path
from typing import Final

NAME: Final = "blazz-linked"


def is_linked(profile_dir: Path) -> bool:
    """Whether the profile was linked when it was last in use."""
    return (profile_dir / NAME).exists()


def mark_linked(profile_dir: Path) -> None:
    """Remember that the profile is linked. A restored snapshot of a linked session needs it too."""
    (profile_dir / NAME).touch()


def mark_unlinked(profile_dir: Path) -> None:
    """Remember that it is not."""
    (profile_dir / NAME).unlink(missing_ok=True)
