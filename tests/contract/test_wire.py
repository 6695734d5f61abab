"""The wire: golden bytes decode for ever, the registry is whole, the bus tolerates the new."""

import importlib
import json

import msgspec
import pytest

from schemas import commands, envelope, errors, events, records, subjects
from schemas.json_schema import drifted
from schemas.states import SessionState
from tests.contract.golden_samples import FORMERLY, SAMPLES, line, recorded


def _type(name: str) -> type[msgspec.Struct]:
    module, _, struct = name.rpartition(".")
    places = [module, *(now for now, then in FORMERLY.items() if then == module)]
    found = (getattr(importlib.import_module(place), struct, None) for place in places)
    kind = next(each for each in found if each is not None)
    assert isinstance(kind, type)
    assert issubclass(kind, msgspec.Struct)
    return kind


def _holds(now: object, then: object) -> bool:
    """Fields are only added: whatever was sent then is still there, with the same value."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(
            key in now and _holds(now[key], value) for key, value in then.items()
        )
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(_holds, now, then))
    return now == then


@pytest.mark.parametrize("text", recorded(), ids=lambda t: json.loads(t)["type"])
def test_every_earlier_golden_byte_string_still_decodes(text: str) -> None:
    row = json.loads(text)
    kind = _type(row["type"])
    value = msgspec.json.decode(row["wire"], type=kind)
    again = msgspec.json.decode(msgspec.json.encode(value))
    assert _holds(again, json.loads(row["wire"]))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: type(s).__name__)
def test_todays_bytes_are_recorded(sample: msgspec.Struct) -> None:
    assert line(sample) in recorded(), "run: python -m tests.contract.golden_samples"


def test_every_struct_of_the_bus_has_a_sample() -> None:
    sampled = {type(s) for s in SAMPLES}
    sampled |= {type(s.data) for s in SAMPLES if isinstance(s, events.Event)}
    wanted = set(events.EVENT_TYPES)
    wanted |= {spec.request for spec in commands.COMMANDS.values()}
    wanted |= {spec.reply for spec in commands.COMMANDS.values()}
    wanted |= {
        v
        for v in vars(records).values()
        if isinstance(v, type)
        and issubclass(v, msgspec.Struct)
        and v.__module__ == records.__name__
        and v is not records.SessionLoad
    }
    assert wanted - sampled == set()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: type(s).__name__)
def test_the_bus_tolerates_unknown_fields(sample: msgspec.Struct) -> None:
    wire = json.loads(msgspec.json.encode(sample)) | {"added_next_year": {"x": [1]}}
    decoded = msgspec.json.decode(json.dumps(wire).encode(), type=type(sample))
    assert json.loads(msgspec.json.encode(decoded)) == json.loads(msgspec.json.encode(sample))


def test_generated_schemas_have_not_drifted() -> None:
    assert drifted() == [], "run: just schemas"


def test_every_error_code_has_one_row() -> None:
    assert set(errors.ERRORS) == set(errors.ErrorCode)
    for code, spec in errors.ERRORS.items():
        assert 400 <= spec.http < 600, code
        assert spec.title, code
        assert not spec.title.endswith("."), code


def test_an_unknown_code_from_a_newer_peer_is_internal() -> None:
    error = envelope.ErrorBody(code="invented_in_2031", detail="d").to_error()
    assert error.code is errors.ErrorCode.INTERNAL
    assert "invented_in_2031" in error.detail


def test_errors_survive_the_bus() -> None:
    sent = errors.BlazzError(errors.ErrorCode.NODE_AT_CAPACITY, "full", sessions_max=30)
    back = msgspec.json.decode(
        msgspec.json.encode(envelope.ErrorBody.of(sent)), type=envelope.ErrorBody
    ).to_error()
    assert (back.code, back.detail, back.fields) == (sent.code, sent.detail, sent.fields)


def test_subjects_hold_no_wildcard_and_read_back() -> None:
    lane = subjects.outbox_lane(3, "acme", "ses_x")
    assert subjects.lane_of_subject(lane) == ("acme", "ses_x")
    data = events.SessionStateChanged(SessionState.ONLINE, SessionState.SYNCING)
    subject = subjects.event("n", "acme", "ses_x", data)
    assert subject.endswith(".session.state")
    assert "*" not in subject
    assert subject.startswith(subjects.events_of_node("n")[:-1])
