"""The lab's pure parts: its plan, its inventory, what is read off Ansible and off the switch."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from bench.chaos_traffic import Accepted, Record
from bench.hosts import cgroups
from bench.hosts.plan import (
    HOSTS_MAX,
    cable_commands,
    cut_commands,
    hosts_file,
    inventory,
    known_hosts,
    make_plan,
    router_commands,
)
from bench.hosts.playbooks import Recap, read_reason, read_recap
from bench.hosts.wheels import broken_on, versions_after, with_version
from bench.roll_gaps import OnlineWatch, longest_gaps, spread
from sandbox.switch.log import Entry, digest
from schemas.api import SessionView
from schemas.errors import BlazzError
from schemas.states import DesiredState, EngineKind, SessionState

SERVICES = ("nats", "control_plane")
NODE = ("swarm_nodes",)


def test_hosts_are_named_and_addressed_by_region() -> None:
    plan = make_plan({"one": [SERVICES, NODE], "two": [NODE]})
    assert [(host.name, host.address) for host in plan.hosts] == [
        ("blazz-lab-one-01", "10.77.1.11"),
        ("blazz-lab-one-02", "10.77.1.12"),
        ("blazz-lab-two-01", "10.77.2.11"),
    ]
    assert [host.name for host in plan.group("swarm_nodes")] == [
        "blazz-lab-one-02",
        "blazz-lab-two-01",
    ]
    assert all(len(host.interface) < 16 for host in plan.hosts)
    assert len({host.interface for host in plan.hosts}) == 3


@pytest.mark.parametrize("count", [0, HOSTS_MAX + 1])
def test_a_lab_is_bounded(count: int) -> None:
    with pytest.raises(BlazzError):
        make_plan({"one": [NODE] * count})


def test_every_region_gets_a_bridge_and_every_host_a_cable_to_it() -> None:
    plan = make_plan({"one": [NODE], "two": [NODE]})
    made = [words for words in router_commands(plan) if words[:2] == ["link", "add"]]
    assert [words[2] for words in made] == ["region1", "region2"]
    cable, plug = cable_commands(plan.hosts[1], 42)
    assert cable[-4:] == ["name", "uplink", "netns", "42"]
    assert plug[-3:] == ["master", "region2", "up"]


def test_a_cut_is_of_both_ways_and_a_healing_takes_the_same_rules_back() -> None:
    one, two = make_plan({"one": [NODE], "two": [NODE]}).regions
    cut, healed = cut_commands(one, two), cut_commands(one, two, heal=True)
    assert [words[1] for words in cut] == ["add", "add"]
    assert [[w for w in words if w != "del"] for words in healed] == [
        [w for w in words if w != "add"] for words in cut
    ]
    ways = {(words[5], words[7]) for words in cut}
    assert ways == {("10.77.1.0/24", "10.77.2.0/24"), ("10.77.2.0/24", "10.77.1.0/24")}


def test_the_inventory_has_the_groups_of_a_plan() -> None:
    plan = make_plan({"one": [SERVICES, NODE], "two-a": [NODE]})
    tree = inventory(plan, {"blazz-lab-one-02": {"blazz_sessions_max": 7}}, {"x": 1})["all"]
    assert set(tree["children"]) == {
        *SERVICES,
        *NODE,
        "provider_lab",
        "region_lab_one",
        "region_lab_two_a",
    }
    assert list(tree["children"]["swarm_nodes"]["hosts"]) == [
        "blazz-lab-one-02",
        "blazz-lab-two-a-01",
    ]
    assert tree["hosts"]["blazz-lab-one-02"] == {
        "ansible_host": "10.77.1.12",
        "blazz_provider": "lab",
        "blazz_region": "one",
        "blazz_sessions_max": 7,
    }
    assert tree["vars"] == {"x": 1}


def test_hosts_know_each_other_and_the_operator_knows_their_key() -> None:
    plan = make_plan({"one": [NODE, NODE]})
    assert "10.77.1.12 blazz-lab-one-02\n" in hosts_file(plan)
    known = known_hosts(plan.hosts, "ssh-ed25519 AAAA lab\n")
    assert known.splitlines() == ["10.77.1.11 ssh-ed25519 AAAA", "10.77.1.12 ssh-ed25519 AAAA"]


def test_the_cgroup_file_system_is_found_where_it_is_mounted() -> None:
    hybrid = (
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    )
    assert str(cgroups.mount_point(hybrid)) == "/sys/fs/cgroup/unified"
    with pytest.raises(BlazzError):
        cgroups.mount_point("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n")


def test_releases_differ_in_their_number_alone() -> None:
    project = '[project]\nname = "blazz"\nversion = "0.1.9"\ndependencies = ["a==1"]\n'
    assert versions_after(project, 3) == ["0.1.9", "0.1.10", "0.1.11"]
    assert with_version(project, "0.1.10") == project.replace("0.1.9", "0.1.10")


async def test_the_broken_release_fails_on_its_host_alone() -> None:
    works = "async def run_node(settings):\n    return settings\n"
    elsewhere: dict[str, Any] = {}
    exec(broken_on(works, "elsewhere"), elsewhere)  # noqa: S102 - our own text
    assert await elsewhere["run_node"](1) == 1
    here: dict[str, Any] = {}
    exec(broken_on(works, socket.gethostname()), here)  # noqa: S102
    with pytest.raises(RuntimeError, match="made to fail"):
        await here["run_node"](1, ready=2)


OUTPUT = """
fatal: [blazz-lab-one-03]: FAILED! => {"changed": false, "msg": "blazz-lab-one-03 did not come to \
0.1.2: Start the node: no. It stays cordoned. Nothing after it was touched."}

PLAY RECAP *********************************************************************
blazz-lab-one-01           : ok=46   changed=2    unreachable=0    failed=1    skipped=13
blazz-lab-one-02           : ok=27   changed=10   unreachable=0    failed=0    skipped=3
"""


def test_a_recap_is_read() -> None:
    hosts = read_recap(OUTPUT)
    assert hosts["blazz-lab-one-01"]["failed"] == 1
    assert Recap("site", 2, 1.0, hosts).total("changed") == 12
    assert read_recap("nothing of the kind") == {}


def test_the_words_of_a_stopped_roll_are_found() -> None:
    assert read_reason(OUTPUT).startswith("blazz-lab-one-03 did not come to 0.1.2: Start")
    assert read_reason("PLAY RECAP") == ""


def entry(at_s: float, *, body: str = "", id_: str = "") -> Entry:
    kind = "message.accepted" if body else "message.stored"
    return Entry(n=1, at_ms=round(at_s * 1000), kind=kind, body_digest=digest(body), id=id_)  # type: ignore[arg-type]


def test_the_longest_gap_counts_both_ways_and_the_ends() -> None:
    sent = Accepted("ses_1", "1", "c", "OUT0", digest("out 0"), 0.0, 1)
    record = Record(accepted=[sent], inbound={"IN0": "ses_1", "IN1": "ses_2"})
    log = [entry(12, body="out 0"), entry(13, id_="IN0"), entry(14, id_="IN1"), entry(15, body="?")]
    assert longest_gaps(record, log, 10.0, 20.0) == {"ses_1": 7.0, "ses_2": 6.0}
    assert longest_gaps(record, log, 12.5, 14.0) == {"ses_1": 1.0, "ses_2": 1.5}


def view(session_id: str, state: SessionState) -> SessionView:
    return SessionView(
        session_id=session_id,
        tenant_id="default",
        name=None,
        engine=EngineKind.LOOPBACK,
        desired=DesiredState.RUNNING,
        state=state,
        state_since=None,
        reason=None,
        node_id=None,
        epoch=None,
        phone=None,
        push_name=None,
        created_at=1.0,
    )


def test_the_watch_keeps_each_sessions_longest_absence() -> None:
    watch = OnlineWatch()
    looks = [
        (0.0, SessionState.ONLINE),
        (1.0, SessionState.MOVING),
        (2.0, SessionState.SYNCING),
        (4.0, SessionState.ONLINE),
        (5.0, SessionState.STARTING),
        (6.0, SessionState.ONLINE),
    ]
    for at_s, state in looks:
        watch.look([view("ses_1", state), view("ses_2", SessionState.ONLINE)], at_s)
    assert watch.longest == {"ses_1": 3.0}
    assert watch.times == {"ses_1": 2}
    assert OnlineWatch().longest == {}, "one watch knows nothing of another's"


def test_the_spread_of_nothing_is_nothing() -> None:
    assert spread({}) == {"p50": 0.0, "max": 0.0}
    assert spread({"a": 1.0, "b": 3.0, "c": 2.0}) == {"p50": 2.0, "max": 3.0}
