"""`blazz plan` as it is typed: what it prints, writes and refuses, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.exit_codes import Exit
from cli.main import app


def plan(capsys: pytest.CaptureFixture[str], *words: str, code: int = Exit.OK) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        app(["plan", *words], exit_on_error=True)
    printed = capsys.readouterr()
    assert ended.value.code == code, printed.err
    return printed.out, printed.err


THREE_HUNDRED = ("--sessions", "9000", "--sessions-per-node", "30")


def test_json_and_yaml_are_the_same_plan(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = plan(capsys, *THREE_HUNDRED, "-o", "json")
    made: dict[str, Any] = json.loads(out)
    assert not err
    assert (made["nodes"], made["spare_nodes"], len(made["spread"])) == (300, 1, 11)
    assert made["costs"]["needed"]["fixed_usd"] == 200
    assert yaml.safe_load(plan(capsys, *THREE_HUNDRED, "-o", "yaml")[0]) == made
    assert json.loads(plan(capsys, *THREE_HUNDRED, "-o", "jsonl")[0]) == made


def test_people_get_tables_and_remarks_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = plan(capsys, *THREE_HUNDRED)
    assert "9,000 sessions of 3,000 customers: 300 nodes, and 1 to lose a node." in out
    assert [line.split()[2] for line in out.splitlines() if line.startswith("vultr ")] == ["25"] * 4
    assert "By measured memory it takes" in err
    assert "VCPUS" not in out
    assert "VCPUS" in plan(capsys, *THREE_HUNDRED, "-o", "wide")[0]


def test_names_and_the_inventory_are_the_same_hosts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = plan(capsys, *THREE_HUNDRED, "-o", "name")[0].split()
    assert len(set(names)) == len(names) == 301
    file = tmp_path / "hosts.yml"
    plan(capsys, *THREE_HUNDRED, "--inventory", str(file))
    children = yaml.safe_load(file.read_text())["all"]["children"]
    assert list(children["swarm_nodes"]["hosts"]) == names
    assert set(children) >= {"nats", "control_plane", "proxy", "observability"}
    assert len(children["nats"]["hosts"]) == 3
    by_region = [
        host
        for group, below in children.items()
        if group.startswith("provider_")
        for region in below["children"].values()
        for host in region["hosts"]
    ]
    assert sorted(by_region) == sorted(names)
    one = children["swarm_nodes"]["hosts"]["blazz-digitalocean-san-francisco-1"]
    assert one["blazz_provider"] == "digitalocean"
    assert one["blazz_region"] == "san-francisco"
    assert one["blazz_sessions_max"] == 30
    assert "region_digitalocean_san_francisco" in children["provider_digitalocean"]["children"]
    assert plan(capsys, *THREE_HUNDRED, "--inventory", "-")[0] == file.read_text()


def test_a_file_that_is_there_is_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("mine")
    words = ("--sessions", "9", "--inventory", str(file))
    assert "--replace" in plan(capsys, *words, code=Exit.CONFLICT)[1]
    assert file.read_text() == "mine"
    plan(capsys, *words, "--replace")
    assert "swarm_nodes" in file.read_text()


def test_the_catalogue_can_be_taken_and_changed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    plan(capsys, "--write-catalogue", str(file))
    words = ("--sessions", "30", "--sessions-per-node", "30", "--providers", "vultr,hetzner")
    shipped = plan(capsys, *words, "-o", "json")[0]
    assert plan(capsys, *words, "-o", "json", "--catalogue", str(file))[0] == shipped
    file.write_text(
        file.read_text().replace("vcpus = 1, price = 6, note", "vcpus = 1, price = 10, note")
    )
    mine = json.loads(plan(capsys, *words, "-o", "json", "--catalogue", str(file))[0])
    assert mine["spread"][0]["node_usd"] == 10
    file.write_text("[memory\n")
    _, err = plan(capsys, *words, "--catalogue", str(file), code=Exit.USAGE)
    assert str(file) in err
    assert "line 1" in err


def test_sessions_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "how many sessions?" in plan(capsys, code=Exit.USAGE)[1]
