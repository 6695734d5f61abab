"""JSON Schemas of everything in the registry, generated: `python -m schemas.json_schema`.

With `--check` it writes nothing and exits 1 when a file differs from what it would write.

Owns the grouping into files. Never hand-edited output: a test fails when the files in
`schemas/json/` differ from what this makes.
"""

import inspect
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas import (
    api,
    api_accounts,
    api_messages,
    api_sending,
    api_snapshots,
    audit,
    chats,
    commands,
    envelope,
    events,
    history,
    messages,
    pacing,
    records,
    snapshot_requests,
    snapshots,
    switch_wire,
    webhooks,
)

FOLDER: Final = Path(__file__).parent / "json"
MODULES: Final = (
    api,
    api_accounts,
    api_messages,
    api_sending,
    api_snapshots,
    audit,
    chats,
    commands,
    envelope,
    events,
    history,
    messages,
    pacing,
    records,
    snapshot_requests,
    snapshots,
    switch_wire,
    webhooks,
)


_SPREAD: Final = {
    switch_wire: (
        "schemas.switch_client_frames",
        "schemas.switch_queued_frames",
        "schemas.switch_records",
        "schemas.switch_wire",
    )
}
"""Modules that are spread over several files."""


def _structs(module: Any) -> list[type[msgspec.Struct]]:
    """The concrete structs that a module (or a part of it) declares, in order of name."""
    return [
        value
        for _, value in sorted(vars(module).items())
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ in _SPREAD.get(module, (module.__name__,))
        and not getattr(value, "__parameters__", ())
        and value is not envelope.Reply  # msgspec has no schema for Raw; see `documents`
    ]


def documents() -> dict[str, dict[str, Any]]:
    """File name → JSON Schema document, all of them."""
    made: dict[str, dict[str, Any]] = {}
    for module in MODULES:
        name = module.__name__.rpartition(".")[2]
        _, components = msgspec.json.schema_components(
            _structs(module), ref_template="#/$defs/{name}"
        )
        made[f"{name}.json"] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"Blazz {name.replace('_', ' ')}",
            "$defs": _same_on_every_python(dict(sorted(components.items()))),
        }
    made["envelope.json"]["$defs"]["Reply"] = {
        "type": "object",
        "oneOf": [{"required": ["ok"]}, {"required": ["error"]}],
        "properties": {"ok": {}, "error": {"$ref": "#/$defs/ErrorBody"}},
    }
    made["commands.json"]["x-commands"] = {
        name: {"request": spec.request.__name__, "reply": spec.reply.__name__}
        for name, spec in sorted(commands.COMMANDS.items())
    }
    return made


def _same_on_every_python(value: Any) -> Any:
    """Descriptions come from docstrings, which Python 3.13 dedents by itself and older ones not."""
    if isinstance(value, dict):
        return {
            key: inspect.cleandoc(below)
            if key == "description" and isinstance(below, str)
            else _same_on_every_python(below)
            for key, below in value.items()
        }
    if isinstance(value, list):
        return [_same_on_every_python(below) for below in value]
    return value


def render(document: dict[str, Any]) -> str:
    """A document as it stands in its file."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write(folder: Path = FOLDER) -> None:
    """Write every file anew and remove what is no longer made."""
    folder.mkdir(exist_ok=True)
    made = documents()
    for old in folder.glob("*.json"):
        if old.name not in made:
            old.unlink()
    for name, document in made.items():
        (folder / name).write_text(render(document), encoding="utf-8")


def drifted(folder: Path = FOLDER) -> list[str]:
    """Names of the files that differ from what `write` would make, or that it would remove."""
    made = {name: render(document) for name, document in documents().items()}
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(n for n in made.keys() | found.keys() if made.get(n) != found.get(n))


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        write()
    elif names := drifted():
        sys.exit(f"schemas/json is out of date: {', '.join(names)}. Run: just schemas")
