"""The Ansible collection: what its roles render is what Blazz and nats-server read, its roles say
which variables they take, and its playbooks name what is there.

Whether the playbooks work is shown on real hosts: see docs/rollout-lab.md. Rendering and linting
need `.venv-ansible`, which `./justw ansible` makes.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import settings_file
from cli.identity.authority import Authority
from cli.parts import ControlPlaneFile
from control_plane.core.bus_jwt import JetStreamLimits
from control_plane.ledger.settings import LedgerStoreKind
from schemas.states import EngineKind
from swarm_node.config import NodeSettings
from tests.mongo_server import MongoServer, why_not

yaml: Any = importlib.import_module("yaml")

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "ansible"
ROLES = sorted(path.parent.parent for path in COLLECTION.glob("roles/*/meta/main.yml"))
PLAYBOOKS = sorted(COLLECTION.glob("playbooks/*.yml"))
TASK_FILES = sorted(COLLECTION.glob("**/tasks/**/*.yml"))
ANSIBLE = ROOT / ".venv-ansible/bin"
needs_ansible = pytest.mark.skipif(
    not (ANSIBLE / "ansible-playbook").exists(), reason="no .venv-ansible: run `./justw ansible`"
)


def name_of(path: Path) -> str:
    return path.name


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a YAML tree."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def tasks_in(value: Any) -> Iterator[dict[str, Any]]:
    """Everything that is a task: it has a name and does something built in."""
    for each in walk(value):
        if any(key.startswith("ansible.builtin.") for key in each):
            yield each


# What roles say of themselves -------------------------------------------------------------------


def spec(role: Path) -> set[str]:
    points = read(role / "meta/argument_specs.yml")["argument_specs"]
    return {option for point in points.values() for option in point["options"]}


def made_inside(role: Path) -> set[str]:
    """Names that the role makes itself: results, facts, and what `vars/` holds."""
    found = set(read(role / "vars/main.yml") or {}) if (role / "vars/main.yml").exists() else set()
    for path in role.glob("tasks/*.yml"):
        for task in walk(read(path)):
            found.update([task["register"]] if "register" in task else [])
            found.update(task.get("ansible.builtin.set_fact", {}))
            found.update(task.get("vars", {}))
    return found


def used(role: Path) -> set[str]:
    texts = [
        path.read_text()
        for part in ("tasks", "handlers", "vars")
        for path in role.glob(f"{part}/*")
    ]
    texts += [str(value) for value in read(role / "defaults/main.yml").values()]
    for path in role.glob("templates/*"):
        # The rest may be another program's words, such as nginx's `proxy_pass`.
        texts += re.findall(r"\{[{%].*?[%}]\}", path.read_text(), re.DOTALL)
    return set(re.findall(rf"\b{role.name}_[a-z0-9_]+\b", "\n".join(texts)))


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_a_role_declares_every_variable_that_it_uses(role: Path) -> None:
    assert not used(role) - spec(role) - made_inside(role)


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_a_role_uses_every_variable_that_it_declares_and_has_no_default_undeclared(
    role: Path,
) -> None:
    assert not spec(role) - used(role)
    assert not set(read(role / "defaults/main.yml")) - spec(role)


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_a_role_checks_first_and_tells_how_to_mend(role: Path) -> None:
    first = read(role / "tasks/main.yml")[0]
    assert first["ansible.builtin.import_tasks"] == "preflight.yml"
    asserts = [
        task
        for path in [*role.glob("tasks/*.yml")]
        for task in tasks_in(read(path))
        if "ansible.builtin.assert" in task
    ]
    assert asserts
    for task in asserts:
        assert len(task["ansible.builtin.assert"]["fail_msg"]) > 40, task["name"]


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_a_secret_that_a_role_puts_is_never_logged(role: Path) -> None:
    for path in role.glob("tasks/*.yml"):
        for task in tasks_in(read(path)):
            if "/etc/blazz/credentials/" in str(task.get("ansible.builtin.copy", "")):
                assert task.get("no_log") is True, f"{path.name}: {task['name']}"


# Playbooks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=name_of)
def test_a_playbook_names_only_roles_and_files_that_are_there(playbook: Path) -> None:
    plays = read(playbook)
    for play in plays:
        for role in play.get("roles", []):
            assert (COLLECTION / "roles" / role["role"]).is_dir(), role
    for task in tasks_in(plays):
        for verb in ("import_tasks", "include_tasks"):
            if named := task.get(f"ansible.builtin.{verb}"):
                assert (playbook.parent / named).is_file(), named


@pytest.mark.parametrize(
    "path", TASK_FILES, ids=lambda path: f"{path.parent.parent.name}/{path.name}"
)
def test_tasks_include_what_is_there_and_use_nothing_but_builtin_modules(path: Path) -> None:
    for task in walk(read(path)):
        for key, value in task.items():
            if "." in key:
                assert key.startswith("ansible.builtin."), key
            if key in ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks"):
                assert (path.parent / value).is_file(), value
            if key == "ansible.builtin.include_role":
                role = COLLECTION / "roles" / value["name"]
                assert (role / "tasks" / f"{value.get('tasks_from', 'main')}.yml").is_file(), value


def test_links_to_what_others_ship_lead_somewhere() -> None:
    links = [path for path in COLLECTION.rglob("*") if path.is_symlink()]
    assert links
    assert not [str(path) for path in links if not path.exists()]


@pytest.mark.parametrize("playbook", ["upgrade.yml", "rollback.yml"])
def test_a_roll_stops_at_the_first_failure_but_lets_its_rescue_end(playbook: str) -> None:
    """`any_errors_fatal` cuts off a `rescue` half-way, and the other nodes of the batch with it
    (seen with ansible-core 2.19): those would stay cordoned with nobody told why."""
    rolls = [play for play in read(COLLECTION / "playbooks" / playbook)
             if "roll_node" in json.dumps(play)]  # fmt: skip
    assert rolls
    for play in rolls:
        assert play["max_fail_percentage"] == 0
        assert "any_errors_fatal" not in play
        assert play["serial"] == "{{ blazz_upgrade_serial | default([1, '10%', '25%']) }}"
    assert "any_errors_fatal" not in (COLLECTION / "ansible.cfg").read_text()


# What is rendered --------------------------------------------------------------------------------

RENDER = """
- hosts: all
  gather_facts: false
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  vars_files: [VARS]
  tasks:
    - ansible.builtin.template:
        src: ROLES/{{ item.0 }}/templates/{{ item.1 }}.j2
        dest: OUT/{{ inventory_hostname }}.{{ item.2 }}
        mode: "0600"
      when: item.0 in group_names or item.0 ~ 's' in group_names
      loop:
        - [nats, nats.conf, nats.conf]
        - [nats, credentials.conf, nats-credentials.conf]
        - [control_plane, control-plane.toml, control-plane.toml]
        - [control_plane, credentials.conf, control-plane-credentials.conf]
        - [swarm_node, node.toml, node.toml]
"""

INVENTORY = {
    "all": {
        "vars": {"blazz_version": "1.2.3", "blazz_mongo": True, "blazz_fleet": "lab"},
        "children": {
            "nats": {"hosts": {"n1": {"ansible_host": "192.0.2.1"}, "n2": {}, "n3": {}}},
            "control_plane": {
                "hosts": {"n1": {"blazz_control_plane_settings": {"services": {"webhooks": {}}}}}
            },
            "swarm_nodes": {
                "hosts": {
                    "s1": {
                        "blazz_region": 'a "b"\\ü',
                        "blazz_node_settings": {
                            "engines": ["loopback"],
                            "heartbeat_s": 0.5,
                            "loopback": {
                                "ca_pem": "-----BEGIN\nX=\n",
                                "faults": {"replies_lost": 2},
                            },
                            "chromium": {"extra_args": ["--a=b, c", "--d"], "executable": None},
                        },
                    }
                }
            },
        },
    }
}


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The templates of every role for a small fleet, as ansible renders them."""
    out = tmp_path_factory.mktemp("ansible")
    authority = Authority(out / "secrets/identities")
    authority.init("lab", resolver_dir=str(out / "accounts"), jetstream=JetStreamLimits())
    (out / "hosts.json").write_text(json.dumps(INVENTORY))
    names = [role.name for role in ROLES]
    files = [
        str(COLLECTION / "roles" / name / part / "main.yml")
        for name in names
        for part in ("defaults", "vars")
        if (COLLECTION / "roles" / name / part / "main.yml").exists()
    ]
    play = RENDER.replace("VARS", ", ".join(files))
    play = play.replace("ROLES", str(COLLECTION / "roles")).replace("OUT", str(out))
    (out / "render.yml").write_text(play)
    run([ANSIBLE / "ansible-playbook", "-i", out / "hosts.json", out / "render.yml"], out)
    return out


def run(command: list[str | Path], cwd: Path = COLLECTION) -> str:
    environ = {**os.environ, "PATH": f"{ANSIBLE}:{os.environ['PATH']}", "NO_COLOR": "1"}
    environ = {name: value for name, value in environ.items() if not name.startswith("BLAZZ_")}
    environ["ANSIBLE_HOME"] = str(ROOT / ".venv-ansible/home")
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@needs_ansible
@pytest.mark.timeout(180)
def test_a_node_reads_its_file(rendered: Path) -> None:
    node = settings_file.load(NodeSettings, rendered / "s1.node.toml", {})
    assert (node.node_id, node.region, node.timing) == ("s1", 'a "b"\\ü', "cluster")
    assert node.bus.servers == ("tls://192.0.2.1:4222", "tls://n2:4222", "tls://n3:4222")
    assert node.bus.tls is not None
    assert node.bus.creds_file == "/run/credentials/blazz-node.service/node.creds"
    assert (node.http_host, node.http_port, node.sessions_max) == ("127.0.0.1", 9464, 30)
    # What is laid over it goes down into tables, replaces lists, and null takes a default.
    assert node.engines == (EngineKind.LOOPBACK,)
    assert node.heartbeat_s == 0.5
    assert node.loopback.ca_pem == "-----BEGIN\nX=\n"
    assert node.loopback.faults.replies_lost == 2
    assert node.chromium.extra_args == ("--a=b, c", "--d")
    assert node.chromium.executable is None


@needs_ansible
@pytest.mark.timeout(180)
def test_a_control_plane_reads_its_file(rendered: Path) -> None:
    read = settings_file.load(ControlPlaneFile, rendered / "n1.control-plane.toml", {})
    assert (read.timing, read.replicas, read.bus.identity) == ("cluster", 3, "n1")
    assert read.bootstrap_key_file == Path("/var/lib/blazz/control-plane/operator.key")
    assert (read.http.host, read.http.port, read.services.replica) == ("127.0.0.1", 8080, "n1")
    assert read.services.vault is not None
    assert read.services.vault.master_key_file is None  # systemd's credential
    assert read.services.ledger.store is LedgerStoreKind.MONGO
    loaded = (rendered / "n1.control-plane-credentials.conf").read_text()
    for named in (read.services.ledger.mongo_uri_file, read.bus.creds_file):
        assert f"LoadCredential={Path(str(named)).name}:" in loaded


@needs_ansible
@pytest.mark.timeout(180)
@pytest.mark.parametrize("host", ["n1", "n2", "n3"])
def test_nats_server_reads_its_file(rendered: Path, host: str) -> None:
    text = (rendered / f"{host}.nats.conf").read_text()
    assert "sync_interval: always" in text
    assert "resolver_preload" in text
    loaded = (rendered / f"{host}.nats-credentials.conf").read_text()
    for name in set(re.findall(r"/run/credentials/blazz-nats.service/(\S+)\"", text)):
        assert f"LoadCredential={name}:/etc/blazz/credentials/{name}" in loaded
    # Certificates that are really there, in the place of those that the unit is handed.
    for name in ("nats.pem", "nats.key"):
        make_certificate(rendered)
        text = text.replace(f"/run/credentials/blazz-nats.service/{name}", str(rendered / name))
    text = text.replace("/etc/blazz/bus-ca.pem", str(rendered / "nats.pem"))
    text = text.replace("/var/lib/blazz/nats", str(rendered / "store"))
    checked = rendered / f"{host}.checked.conf"
    checked.write_text(text)
    run([Path(sys.executable).with_name("nats-server"), "-t", "-c", checked], rendered)


def make_certificate(directory: Path) -> None:
    if (directory / "nats.pem").exists():
        return
    how = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=n1"]
    files = ["-keyout", str(directory / "nats.key"), "-out", str(directory / "nats.pem")]
    run(["openssl", "req", "-x509", *how, *files], directory)


# MongoDB -----------------------------------------------------------------------------------------


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_mongo_gets_a_user_once_and_a_new_password_when_the_uri_has_one() -> None:
    def prepare(uri: str, admin: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, COLLECTION / "roles/mongo/files/prepare_mongo.py", "blazz"],
            input=json.dumps({"uri": uri, "admin_uri": admin}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == ("error" in found)
        return found

    with MongoServer() as server:
        host = server.uri.removeprefix("mongodb://").split("/")[0]
        first, second = (f"mongodb://blazz:{word}@{host}/?authSource=blazz" for word in "ab")
        assert prepare(first, server.uri) == {"changed": ["role", "user"]}
        assert prepare(first, server.uri) == {"changed": []}
        assert prepare(second, server.uri) == {"changed": ["password"]}
        assert prepare(second, "") == {"changed": []}
        assert prepare(first, "") == {"error": "refused: 18 AuthenticationFailed"}


# With everything that ansible itself knows --------------------------------------------------------


@needs_ansible
@pytest.mark.timeout(300)
def test_every_playbook_is_one() -> None:
    said = run([ANSIBLE / "ansible-playbook", "--syntax-check", *PLAYBOOKS])
    assert said.count("playbook: ") == len(PLAYBOOKS)
