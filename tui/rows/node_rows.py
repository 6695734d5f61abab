"""Node rows: a node's entry and verdict to cells.

Pure. Owns the node table's columns and what they sort by.
"""

from typing import Final

from schemas.states import NodeState
from tui.health import NodeHealth
from tui.model import NodeEntry
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity
from tui.rows.mix import mix_words
from tui.rows.state_words import NODE_WORDS, node_state_cell, urgency

_BAR_WIDTH: Final = 8
_FULL_WARN: Final = 0.9
_CPU_WARN: Final = 1.0
_MEMORY_WARN: Final = 0.9

COLUMNS: Final = (
    Column("node", "NODE", 14, grow=True, width_max=32),
    Column("state", "STATE", 10),
    Column("load", "LOAD", _BAR_WIDTH, rank=2),
    Column("sessions", "SESSIONS", 9, align="right"),
    Column("mix", "STATES", 12, rank=4, grow=True, width_max=24),
    Column("memory", "MEM", 12, rank=3, align="right"),
    Column("cpu", "CPU", 5, rank=1, align="right"),
    Column("age", "AGE", 6, align="right"),
    Column("region", "REGION", 10, rank=5, grow=True, width_max=18),
    Column("provider", "PROVIDER", 10, rank=6, grow=True, width_max=18),
    Column("reserved", "RESERVED", 8, rank=7, align="right"),
    Column("version", "VERSION", 8, rank=8),
    Column("note", "NOTE", 14, rank=9, grow=True, width_max=40),
)


def node_row(node: NodeEntry, health: NodeHealth, *, bus_up: bool) -> Row:
    """One node's line."""
    record = node.record.record if node.record else None
    pulse = node.pulse.heartbeat if node.pulse else None
    sessions = len(pulse.sessions) if pulse else 0
    places = record.sessions_max if record else (pulse.sessions_max if pulse else 0)
    share = sessions / places if places else 0.0
    load = Severity.WARN if share >= _FULL_WARN else Severity.PLAIN
    reserved = str(node.capacity.record.reserved) if node.capacity else words.NONE
    intent = node.intent.record if node.intent else None
    cordoned = bool(intent and (intent.cordoned or intent.draining))
    cells = (
        Cell(node.node_id),
        node_state_cell(health.state, intent),
        Cell(words.bar(share, _BAR_WIDTH), load),
        Cell(f"{sessions if pulse else words.NONE}/{places}", load),
        Cell(mix_words(line.state for line in pulse.sessions) if pulse else words.NONE),
        _memory_cell(node),
        _cpu_cell(node),
        Cell(words.age(health.silent_s)),
        Cell(record.region if record else words.NONE),
        Cell(record.provider if record else words.NONE),
        Cell(reserved),
        Cell(record.version if record else words.NONE),
        Cell(_note(node, health, cordoned=cordoned), Severity.MUTED),
    )
    stale = health.state is not NodeState.ALIVE or not bus_up
    return Row(node.node_id, cells, stale)


def node_sort_key(
    node: NodeEntry, health: NodeHealth, column: str
) -> tuple[float, str] | tuple[str, str]:
    """What a node sorts by under a column; the id breaks ties."""
    record = node.record.record if node.record else None
    pulse = node.pulse.heartbeat if node.pulse else None
    match column:
        case "state":
            return (urgency(NODE_WORDS[health.state].severity), node.node_id)
        case "load" | "sessions":
            places = record.sessions_max if record else 0
            count = len(pulse.sessions) if pulse else 0
            return (-(count / places if places else 0.0), node.node_id)
        case "memory":
            return (-float(pulse.memory_used_bytes if pulse else 0), node.node_id)
        case "cpu":
            return (-(pulse.cpu_load if pulse else 0.0), node.node_id)
        case "age":
            return (-(health.silent_s or 0.0), node.node_id)
        case "region":
            return (record.region if record else "", node.node_id)
        case "provider":
            return (record.provider if record else "", node.node_id)
        case _:
            return (node.node_id, node.node_id)


SORTS: Final = ("node", "state", "load", "memory", "cpu", "age", "region", "provider")


def _memory_cell(node: NodeEntry) -> Cell:
    pulse = node.pulse.heartbeat if node.pulse else None
    if pulse is None:
        return Cell(words.NONE)
    total = pulse.memory_used_bytes + pulse.memory_free_bytes
    tight = total > 0 and pulse.memory_used_bytes / total >= _MEMORY_WARN
    text = f"{words.size(pulse.memory_used_bytes)}/{words.size(total)}"
    return Cell(text, Severity.WARN if tight else Severity.PLAIN)


def _cpu_cell(node: NodeEntry) -> Cell:
    pulse = node.pulse.heartbeat if node.pulse else None
    if pulse is None:
        return Cell(words.NONE)
    severity = Severity.WARN if pulse.cpu_load >= _CPU_WARN else Severity.PLAIN
    return Cell(f"{pulse.cpu_load:.0%}", severity)


def _note(node: NodeEntry, health: NodeHealth, *, cordoned: bool) -> str:
    record = node.record.record if node.record else None
    notes = [health.why]
    if record is None:
        notes.append("not announced")
    elif not record.chromium_sandbox:
        notes.append("no browser sandbox")
    if cordoned and health.state is not NodeState.ALIVE:
        notes.append("cordoned")
    return ", ".join(note for note in notes if note)
