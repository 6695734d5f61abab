"""The `blazz` command's nouns and verbs against the HTTP API on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import sys
from pathlib import Path

import pytest

from cli.exit_codes import Exit
from schemas.commands import QrAnswer
from schemas.states import SessionState
from tests.integration.http_server import ALL_SCOPES, TENANT, Running, running
from tests.waiting import eventually

yaml = pytest.importorskip("yaml")

NODE = "blazz-local-1"


def environment(api: Running | None, config: Path) -> dict[str, str]:
    env = {"PATH": "", "NO_COLOR": "1", "BLAZZ_CONFIG": str(config), "HOME": str(config.parent)}
    if api is not None:
        key = api.memory.access.new_key(TENANT, *ALL_SCOPES)
        env |= {"BLAZZ_API_URL": api.url, "BLAZZ_API_KEY": key}
    return env


async def blazz(
    api: Running | None, config: Path, *words: str, typed: str = ""
) -> tuple[int, str, str]:
    """Run the command; its exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(api, config),
    )
    out, err = await process.communicate(typed.encode())
    return process.returncode or 0, out.decode(), err.decode()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "blazz" / "config.toml"


async def test_contexts_say_which_fleet_and_flags_and_environment_win(
    config: Path, tmp_path: Path
) -> None:
    async with running() as api:
        key_file = tmp_path / "key"
        key_file.write_text(api.memory.access.new_key(TENANT, *ALL_SCOPES) + "\n")
        where = ("--api-url", api.url, "--key-file", str(key_file))
        added = await blazz(None, config, "context", "add", "prod", *where, "--production")
        assert added[0] == Exit.OK, added
        assert mode_of(config) == 0o600
        assert text_of(key_file) not in text_of(config)
        again, safe, bad = await asyncio.gather(
            blazz(None, config, "context", "add", "prod", *where),
            blazz(None, config, "context", "list", "-o", "name"),
            blazz(None, config, "node", "list", "--context", "nowhere"),
        )
        assert again[0] == Exit.CONFLICT
        assert safe[1] == "prod\n"
        assert bad[0] == Exit.NOT_FOUND
        assert "prod" in bad[2]
        await blazz(None, config, "context", "add", "look", *where, "--read-only")
        seen, refused, other = await asyncio.gather(
            blazz(None, config, "node", "list", "-o", "name"),
            blazz(None, config, "node", "cordon", NODE, "--context", "look"),
            blazz(api, config, "node", "list", "-o", "name", "--context", "look"),
        )
        assert seen[:2] == other[:2] == (Exit.OK, f"{NODE}\n")
        assert refused[0] == Exit.DENIED
        assert "look is read-only" in refused[2]
        assert api.memory.operations.asked == []
        renamed = await blazz(None, config, "context", "rename", "prod", "live")
        shown = await blazz(None, config, "context", "show", "-o", "json")
        assert renamed[0] == Exit.OK
        assert json.loads(shown[1])["name"] == "live"
        assert json.loads(shown[1])["context"]["production"] is True
        await blazz(None, config, "context", "remove", "live")
        assert "live" not in text_of(config)


async def test_sessions_are_made_steered_and_deleted_only_on_purpose(config: Path) -> None:
    async with running() as api:
        made = await blazz(api, config, "session", "create", "--name", "shop", "-o", "json")
        session = json.loads(made[1])["session_id"]
        assert f"blazz session qr {session}" in made[2]
        second = await api.session()
        forms = await asyncio.gather(
            *(blazz(api, config, "session", "list", "-o", form) for form in FORMS)
        )
        table, wide, as_json, jsonl, as_yaml, names = (out for _, out, _ in forms)
        assert table.splitlines()[0].split() == [
            "SESSION", "TENANT", "STATE", "NODE", "EPOCH", "REASON",
        ]  # fmt: skip
        assert "shop" in wide
        assert yaml.safe_load(as_yaml) == json.loads(as_json)
        assert [json.loads(line) for line in jsonl.splitlines()] == json.loads(as_json)
        assert set(names.split()) == {session, second}

        tried, asked, empty = await asyncio.gather(
            blazz(api, config, "session", "delete", session, second, "--dry-run"),
            blazz(api, config, "session", "delete", session, second),
            blazz(api, config, "session", "delete", session, "--no-input"),
        )
        assert tried[0] == Exit.OK
        assert tried[1].splitlines()[0] == f"would DELETE /v1/sessions/{session}"
        assert asked[0] == empty[0] == Exit.USAGE
        assert "(2: " in asked[2]
        assert "--yes" in asked[2]
        assert len(api.memory.sessions.all) == 2
        stopped = await blazz(api, config, "session", "stop", session, "-o", "json")
        assert json.loads(stopped[1])[0]["desired"] == "stopped"
        linked = await blazz(api, config, "session", "link", session)
        assert linked[1].startswith(f"{api.url}/link/")
        gone = await blazz(api, config, "session", "delete", session, second, "--yes")
        assert gone[0] == Exit.OK
        missing = await blazz(api, config, "session", "show", "ses_" + "0" * 26)
        assert missing[0] == Exit.NOT_FOUND


FORMS = ("table", "wide", "json", "jsonl", "yaml", "name")


async def test_a_person_is_asked_for_the_count(config: Path) -> None:
    """On a real terminal: another word than the count does nothing."""
    async with running() as api:
        sessions = [await api.session() for _ in range(2)]
        for word, left in (("yes", 2), ("2", 0)):
            ours, theirs = pty.openpty()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli", "session", "delete", *sessions,
                stdin=theirs, stderr=asyncio.subprocess.PIPE, env=environment(api, config),
            )  # fmt: skip
            os.close(theirs)
            os.write(ours, f"{word}\n".encode())
            _, err = await process.communicate()
            os.close(ours)
            assert b"Type 2 to go on" in err
            wanted = [v for v in api.memory.sessions.all.values() if v.desired != "deleted"]
            assert len(wanted) == left, err


async def test_keys_go_into_files_and_the_audit_log_knows(config: Path, tmp_path: Path) -> None:
    async with running() as api:
        key_file = tmp_path / "ann"
        words = ("--name", "ann", "--scope", "operator", "--scope", "keys", "--to-file")
        made = await blazz(api, config, "key", "create", *words, str(key_file), "-o", "json")
        key_id = json.loads(made[1])["key_id"]
        assert mode_of(key_file) == 0o600
        assert text_of(key_file) in api.memory.access.keys
        assert text_of(key_file) not in made[1] + made[2]
        again, kept = await asyncio.gather(
            blazz(api, config, "key", "create", *words, str(key_file)),
            blazz(api, config, "key", "list", "-o", "name"),
        )
        assert again[0] == Exit.USAGE
        assert key_id in kept[1].split()
        as_ann = ("--api-url", api.url, "--key-file", str(key_file))
        drained, _ = await asyncio.gather(
            blazz(api, config, "node", "drain", NODE, "--no-wait", *as_ann),
            blazz(api, config, "key", "revoke", "nobody", "--yes"),
        )
        assert drained[0] == Exit.OK, drained
        acts = await blazz(api, config, "audit", "list", "--about", NODE, "-o", "json")
        assert {act["key_name"] for act in json.loads(acts[1])} == {"ann"}
        table = await blazz(api, config, "audit", "list", "--operation", "drainNode")
        assert "ann" in table[1]
        assert "202" in table[1]


async def test_events_are_followed_and_resumed(config: Path) -> None:
    async with running() as api:
        session = await api.session(SessionState.ONLINE)
        await api.memory.sessions.put(TENANT, session, SessionState.DEGRADED)
        tail = ("event", "tail", "-o", "jsonl", "--count", "1")
        first = await blazz(api, config, *tail, "--session", session, "--after", "0")
        row = json.loads(first[1])
        assert row["data"]["type"] == "session.state"
        second = await blazz(api, config, *tail, "--after", str(row["sequence"]))
        assert json.loads(second[1])["sequence"] > row["sequence"]


async def test_a_code_is_taken_off_the_screen_when_the_phone_is_linked(config: Path) -> None:
    async with running() as api:
        session = await api.session(SessionState.PAIRING)
        api.memory.sessions.qrs[session] = QrAnswer("2@code", 1, 6, 20.0)
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", "session", "qr", session,
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment(api, config),
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(ours, False)
        seen = bytearray()

        def has(text: str) -> bool:
            with contextlib.suppress(OSError):
                seen.extend(os.read(ours, 65_536))
            return text.encode() in seen

        await eventually(lambda: has("s left"), timeout_s=20, what="a code is on the screen")
        await api.memory.sessions.put(TENANT, session, SessionState.ONLINE)
        await eventually(lambda: has("is online."), timeout_s=20, what="it says it is linked")
        assert await process.wait() == Exit.OK
        assert seen.index(b"\x1b[?1049l") < seen.index(b"is online.")
        os.close(ours)


async def test_what_fails_has_its_exit_code(config: Path) -> None:
    async with running() as api:
        usage, unreachable = await asyncio.gather(
            blazz(api, config, "node", "list", "-o", "xml"),
            blazz(None, config, "node", "list", "--api-url", "http://127.0.0.1:9", "--key-file",
                  str(_key(config))),
        )  # fmt: skip
        assert usage[0] == Exit.USAGE
        assert unreachable[0] == Exit.UNREACHABLE


def _key(config: Path) -> Path:
    config.parent.mkdir(parents=True, exist_ok=True)
    path = config.with_name("some-key")
    path.write_text("blz_test_x")
    return path


def test_nothing_secret_is_a_flag() -> None:
    from cli.options import Target

    assert not {"key", "api_key", "token", "password"} & set(Target.__dataclass_fields__)
