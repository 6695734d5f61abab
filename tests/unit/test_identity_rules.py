"""Credentials' form, the doctor's word on them, and MongoDB's roles, without a server."""

import base64
import runpy
from pathlib import Path

import pytest

from cli.doctor_bus import check_credential
from cli.findings import Verdict
from cli.identity.key_files import ACCOUNT, USER, issuer_of, new_seed, public_key
from control_plane.core import bus_jwt
from control_plane.core.mongo_roles import MongoRole, mongo_roles
from schemas.bus_credentials import Credentials, claims_of, parse_credentials
from schemas.errors import BlazzError, ErrorCode
from schemas.events import SessionQrIdle
from schemas.permissions import may_be_answered
from schemas.records import Heartbeat, SessionObserved
from schemas.speakers import speaks_for_itself
from schemas.states import SessionState

ROOT = Path(__file__).parents[2]


def credential(now: int, ttl_s: int) -> Credentials:
    signer, seed = issuer_of(new_seed(ACCOUNT)), new_seed(USER)
    jwt = bus_jwt.scoped_user(
        signer, "ACCOUNT", public_key(seed), "n1", now=now, expires_at=now + ttl_s
    )
    return Credentials(jwt, seed)


def test_a_credential_comes_back_as_it_was_written_and_shows_no_seed() -> None:
    made = credential(1_000, 100)
    assert parse_credentials(made.text()) == made
    claims = made.claims
    assert (claims.name, claims.account, claims.iat, claims.exp) == ("n1", "ACCOUNT", 1_000, 1_100)
    assert made.seed not in repr(made)
    assert [claims.life_left(now) for now in (1_000, 1_075, 1_100, 9_999)] == [1.0, 0.25, 0.0, 0.0]


def test_a_scoped_user_has_no_permissions_of_its_own() -> None:
    """The server refuses one that has."""
    body = credential(1_000, 100).jwt.split(".")[1]
    said = base64.urlsafe_b64decode(body + "==")
    assert not any(word in said for word in (b'"pub"', b'"sub":{', b'"subs"', b'"resp"'))


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "....", "e30.e30.e30"])
def test_what_is_no_jwt_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(BlazzError) as refused:
        claims_of(text)
    assert refused.value.code is ErrorCode.CONFIG_INVALID
    with pytest.raises(BlazzError):
        parse_credentials(text)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(1_000, Verdict.OK), (1_079, Verdict.OK), (1_081, Verdict.WARN), (1_100, Verdict.FAIL)],
)
def test_the_doctor_tells_of_a_credential_that_ends_soon(
    tmp_path: Path, now: int, verdict: Verdict
) -> None:
    path = tmp_path / "control-plane.creds"
    path.write_text(credential(1_000, 100).text())
    found = check_credential(path, now)
    assert found.verdict is verdict
    assert bool(found.fix) is (verdict is not Verdict.OK)


def test_a_missing_credential_is_a_finding(tmp_path: Path) -> None:
    assert check_credential(tmp_path / "none").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("subject", "reply", "may"),
    [
        ("blazz.node.n1.told", "_INBOX_n1.a.b", True),
        ("blazz.node.n1.told", "_R_.a.b", True),
        ("blazz.node.n1.told", "_INBOX_n2.a.b", False),
        ("blazz.node.n1.told", "_INBOX_n1", False),
        ("blazz.node.n1.vault.get", "$KV.blazz_fleet.snapshot.s", False),
        ("blazz.node.n1.vault.get", "$JS.API.STREAM.PURGE.VAULT", False),
        ("blazz.node.n1.renew", "", False),
        ("blazz.node.n1.cmd.start", "_INBOX_control-plane.c.a.b", True),
        ("blazz.dispatcher.1.lane", "_INBOX_control-plane.c.a.b", True),
    ],
)
def test_a_node_is_answered_in_its_own_inbox_alone(subject: str, reply: str, may: bool) -> None:
    assert may_be_answered(subject, reply) is may


def test_what_a_node_says_counts_under_its_own_name_only() -> None:
    pulse = Heartbeat("n1", "i", 1, 30, ())
    assert speaks_for_itself("blazz.node.n1.heartbeat", pulse)
    assert not speaks_for_itself("blazz.node.n2.heartbeat", pulse)
    observed = SessionObserved("s1", "acme", "n1", "i", 1, SessionState.ONLINE, 1.0)
    assert speaks_for_itself("observed.n1.s1", observed)
    assert not speaks_for_itself("observed.n2.s1", observed)
    assert not speaks_for_itself("observed.n1.s2", observed)
    assert speaks_for_itself("anything", SessionQrIdle())


def test_nobody_may_change_a_stored_snapshot_and_backups_write_nothing() -> None:
    control_plane, backup = mongo_roles()
    for collection, actions in control_plane.actions.items():
        assert ("update" in actions) is (collection == "messages")
    assert {action for actions in backup.actions.values() for action in actions} == {
        "find",
        "listIndexes",
        "collStats",
    }


def test_the_ansible_role_makes_the_same_role() -> None:
    script = runpy.run_path(str(ROOT / "ansible/roles/mongo/files/prepare_mongo.py"))
    told: list[tuple[str, str, object]] = []

    class Base:
        def command(self, name: str, role: str, **more: object) -> dict[str, list[object]]:
            told.append((name, role, more.get("privileges")))
            return {"roles": []}

    assert script["make_role"](Base(), "blazz", look=False) == ["role"]
    wanted: MongoRole = mongo_roles()[0]
    _asked, (_command, name, privileges) = told
    assert name == wanted.name
    shape = script["shape"]
    assert shape(privileges) == shape(wanted.command("blazz")["privileges"])
