"""Dashboard, alerts and runbooks against what the code exports, read from its own registries."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prometheus_client import CollectorRegistry

from control_plane.core.lanes import LaneBook
from control_plane.core.webhook_delivery import Verdict
from control_plane.metrics import REGISTRY
from schemas.states import NodeState, SessionState
from schemas.webhooks import DeliveryState
from swarm_node.metrics import NodeMetrics
from swarm_node.vault.metrics import VaultMetrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
SCRAPE = ROOT / "deploy/prometheus/scrape.yml"
DASHBOARD = ROOT / "deploy/grafana/blazz.json"
RUNBOOKS = ROOT / "docs/operations/runbooks.md"

NODE, CONTROL_PLANE = "blazz-node", "blazz-control-plane"
GIVEN_BY_PROMETHEUS = frozenset({"job", "instance"})
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}
VALUES: dict[tuple[str, str], set[str]] = {
    ("blazz_sessions", "state"): set(SessionState),
    ("blazz_nodes", "state"): set(NodeState),
    ("blazz_session_transitions_total", "to"): set(SessionState),
    ("blazz_outbox_lanes", "doing"): set(LaneBook().counts()),
    ("blazz_webhook_deliveries_total", "result"): {*Verdict, DeliveryState.DEAD},
    ("blazz_messages_total", "direction"): {"inbound", "outbound"},
}
WANTED: dict[str, frozenset[str]] = {
    "blazz_sessions": frozenset({"node", "state"}),
    "blazz_session_transitions_total": frozenset({"from", "to", "reason"}),
    "blazz_session_restore_seconds_bucket": frozenset({"le"}),
    "blazz_link_seconds_bucket": frozenset({"le"}),
    "blazz_messages_total": frozenset({"direction", "kind", "result"}),
    "blazz_event_lag_seconds_bucket": frozenset({"le"}),
    "blazz_webhook_deliveries_total": frozenset({"result"}),
    "blazz_webhook_backlog": frozenset({"shard", "state"}),
    "blazz_node_capacity_sessions": frozenset({"node"}),
    "blazz_fence_conflicts_total": frozenset(),
    "blazz_build_info": frozenset({"version"}),
}
"""The project's list of metrics that must be there."""


class Selector(msgspec.Struct, frozen=True):
    """`name{label=~"value"}` in an expression."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    @property
    def jobs(self) -> set[str]:
        named = {value for label, _, value in self.matchers if label == "job"}
        return named or {NODE, CONTROL_PLANE}


def series_of(registry: CollectorRegistry) -> dict[str, frozenset[str]]:
    """Every series' name and labels."""
    found = {}
    for collector in registry._collector_to_names:
        metric: Any = collector
        labels = frozenset(metric._labelnames)
        for suffix in SUFFIXES[metric._type]:
            found[metric._name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def exported() -> dict[str, dict[str, frozenset[str]]]:
    """By job: series' names and labels."""
    node = NodeMetrics("blazz-test-1", "0")
    VaultMetrics(node.registry)
    return {NODE: series_of(node.registry), CONTROL_PLANE: series_of(REGISTRY)}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [p for p in json.loads(DASHBOARD.read_text())["panels"] if p["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def selectors(expr: str) -> list[Selector]:
    found = re.findall(r"\b(blazz_\w+|up)\b(?:\{([^}]*)\})?", expr)
    return [
        Selector(name, tuple(re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers)))
        for name, matchers in found
    ]


def test_every_metric_on_the_list_is_exported_with_its_labels() -> None:
    jobs = exported()
    for name, labels in WANTED.items():
        assert any(series.get(name) == labels for series in jobs.values()), name


def test_no_label_holds_a_session_tenant_or_message() -> None:
    for series in exported().values():
        for name, labels in series.items():
            assert not labels & {"session", "session_id", "tenant", "tenant_id", "message_id"}, name


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
def test_what_alerts_and_panels_name_is_exported(where: str, expr: str) -> None:
    jobs = exported()
    named = selectors(expr)
    assert named, f"{where}: names no metric"
    usable = set(GIVEN_BY_PROMETHEUS)
    for selector in named:
        assert selector.jobs <= jobs.keys(), where
        for job in selector.jobs:
            if selector.name == "up":
                continue
            assert selector.name in jobs[job], f"{where}: {job} exports no {selector.name}"
            labels = jobs[job][selector.name]
            usable |= labels
            wanted = {label for label, _, _ in selector.matchers} - GIVEN_BY_PROMETHEUS
            assert wanted <= labels, f"{where}: {selector.name} has {sorted(labels)}"
        for label, operator, value in selector.matchers:
            legal = VALUES.get((selector.name, label))
            if legal is not None and operator in ("=", "=~"):
                assert set(value.split("|")) <= legal, f"{where}: {value}"
    for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expr):
        assert {label.strip() for label in group.split(",")} <= usable, f"{where}: by ({group})"


def test_what_is_shown_of_a_label_is_a_label_that_is_left() -> None:
    for panel in panels():
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = re.match(r"\w+ by \(([^)]*)\)", target["expr"])
            left = {label.strip() for label in kept[1].split(",")} if kept else set()
            assert shown <= left, panel["title"]
    for rule in alerts():
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        kept = re.match(r"\w+ by \(([^)]*)\)", rule["expr"])
        left = {label.strip() for label in kept[1].split(",")} if kept else {"instance"}
        assert shown <= left, rule["alert"]


def test_every_alert_has_a_severity_and_a_runbook() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) > 15
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / page) == RUNBOOKS, rule["alert"]
        assert anchor == re.sub(r"(?<!^)(?=[A-Z])", "-", rule["alert"]).lower()


def test_every_runbook_an_alert_names_is_written() -> None:
    headings = set(re.findall(r"^#+ +`?([\w-]+)`?\s*$", RUNBOOKS.read_text(), re.MULTILINE))
    wanted = {rule["annotations"]["runbook_url"].partition("#")[2] for rule in alerts()}
    assert wanted <= headings


def test_prometheus_scrapes_both_jobs_by_these_rules() -> None:
    config = yaml.safe_load(SCRAPE.read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert jobs.keys() == {NODE, CONTROL_PLANE}
    assert config["rule_files"] == [RULES.name]
    # The control plane answers /metrics to an operator's key alone; it is never in this file.
    assert set(jobs[CONTROL_PLANE]["authorization"]) == {"credentials_file"}


def test_panels_lie_beside_each_other_and_have_ids_of_their_own() -> None:
    everything = json.loads(DASHBOARD.read_text())["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
