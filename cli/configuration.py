"""A person's configuration by dotted keys: contexts, and how the terminal looks.

Owns the keys and which file each is in: `current` and `contexts.NAME.FIELD` in the contexts' file,
`tui.FIELD` and `tui.keys.ACTION` in the terminal's. Never keeps what the reader of that file would
refuse, and never holds a secret: keys are in files that are named here.
"""

from typing import Any, Final

import msgspec

from cli import contexts, taste
from cli.contexts import Context
from cli.taste import Taste
from schemas.errors import BlazzError, ErrorCode

CURRENT: Final = "current"
_CONTEXTS: Final = "contexts"
_TUI: Final = "tui"
_KEYS: Final = "keys"


class Setting(msgspec.Struct, frozen=True):
    """A key that has a value."""

    key: str
    value: bool | str


def all_set() -> list[Setting]:
    """Every key that is set, in order. Raises `config_invalid` for a file that can't be read."""
    file = contexts.read()
    found = {} if file.current is None else {CURRENT: file.current}
    for name, context in file.contexts.items():
        for field, value in msgspec.to_builtins(context).items():
            found[f"{_CONTEXTS}.{name}.{field}"] = value
    for field, value in msgspec.to_builtins(taste.read()).items():
        if field == _KEYS:
            found |= {f"{_TUI}.{_KEYS}.{action}": keys for action, keys in value.items()}
        else:
            found[f"{_TUI}.{field}"] = value
    return [Setting(key, found[key]) for key in sorted(found)]


def get(key: str) -> Setting:
    """One. Raises `not_found` if it is not set."""
    _take_apart(key)
    for setting in all_set():
        if setting.key == key:
            return setting
    raise BlazzError(ErrorCode.NOT_FOUND, f"{key} is not set")


def change(key: str, value: str | None) -> None:
    """Set it, or (None) have it not set any more. Raises `config_invalid`, `not_found`."""
    match _take_apart(key):
        case (contexts_word, name, field) if contexts_word == _CONTEXTS:
            file = contexts.read()
            tree = msgspec.to_builtins(file.named(name))
            context: Context = _converted(_changed(tree, field, value), Context, key)
            if context.skin is not None and field == "skin":
                taste.checked_skin(context.skin, key)
            made = {**file.contexts, name: context}
            contexts.write(msgspec.structs.replace(file, contexts=made))
        case (tui_word, *rest) if tui_word == _TUI:
            tree = msgspec.to_builtins(taste.read())
            if len(rest) == 1:
                tree = _changed(tree, rest[0], value)
            else:
                tree[_KEYS] = _changed(dict(tree.get(_KEYS, {})), rest[1], value)
            taste.write(taste.checked(_converted(tree, Taste, key), key))
        case _:
            file = contexts.read()
            if value is not None:
                file.named(value)
            contexts.write(msgspec.structs.replace(file, current=value))


def _take_apart(key: str) -> tuple[str, ...]:
    """The words of a key that may be set. Raises `config_invalid`."""
    if key == CURRENT:
        return (key,)
    first, _, rest = key.partition(".")
    # A context's name may have dots itself.
    name, _, field = rest.rpartition(".")
    if first == _CONTEXTS and name and field in Context.__struct_fields__:
        return (first, name, field)
    if first == _TUI and not name and field in set(Taste.__struct_fields__) - {_KEYS}:
        return (first, field)
    if first == _TUI and name == _KEYS and field:
        return (first, name, field)
    raise BlazzError(
        ErrorCode.CONFIG_INVALID, f"{key!r} is no key; there are: {'; '.join(known())}"
    )


def known() -> list[str]:
    """The keys there are, as people are told them."""
    of_context = ", ".join(Context.__struct_fields__)
    of_tui = ", ".join(name for name in Taste.__struct_fields__ if name != _KEYS)
    return [
        CURRENT,
        f"contexts.NAME.( {of_context} )",
        f"tui.( {of_tui} )",
        "tui.keys.ACTION",
    ]


def _changed(tree: dict[str, Any], field: str, value: str | None) -> dict[str, Any]:
    left = {name: each for name, each in tree.items() if name != field}
    return left if value is None else {**left, field: value}


def _converted(tree: dict[str, Any], kind: Any, key: str) -> Any:
    try:
        return msgspec.convert(tree, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{key}: {error}") from error
