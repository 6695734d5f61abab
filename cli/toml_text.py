"""TOML files that commands write: the text of a tree, put in place in one step.

Owns the writing alone; the standard library reads.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def replace_file(path: Path, tree: Mapping[str, Any]) -> None:
    """Write the tree there; only its owner may read it. Comments of the old file are lost."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text("\n".join(_lines(tree)).strip() + "\n", encoding="utf-8")
    draft.replace(path)


def _lines(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[str]:
    """TOML of a tree whose values JSON can write too: its strings, numbers and lists are TOML's."""
    lines = [
        f"{_key(key)} = {msgspec.json.encode(value).decode()}"
        for key, value in tree.items()
        if not isinstance(value, dict)
    ]
    for key, value in tree.items():
        if isinstance(value, dict):
            path = (*above, key)
            lines += ["", f"[{'.'.join(map(_key, path))}]", *_lines(value, path)]
    return lines


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else msgspec.json.encode(key).decode()
