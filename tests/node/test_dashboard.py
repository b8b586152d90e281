"""The dashboard and the alerts name only metrics and labels that nodes have, in expressions that Prometheus takes."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from node.adapters.device.nvidia import Card
from node.gauges import CardGauges
from node.metrics import DomainMetrics
from node.settings import MetricsSection, Settings
from protocol.notes import NoteName
from tests.node.test_gauges import after_a_task
from tests.support.promql import faults, labels_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:hypercorn")

DEPLOY = Path(__file__).parents[2] / "configs" / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "cuckoo.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
Known = Mapping[str, frozenset[str]]
FOR_LOOKING_UP = {
    "cuckoo_api_keys_unreadable_total",
    "cuckoo_chain_rebuilds_total",
    "cuckoo_coordinators_refused_total",
    "cuckoo_engine_up",
    "cuckoo_escrow_warnings_total",
    "cuckoo_gas_warnings_total",
    "cuckoo_payments_total",
    "cuckoo_receipts_total",
    "cuckoo_record_stops_total",
    "cuckoo_redemptions_failed_total",
    "cuckoo_results_total",
    "cuckoo_tasks_open",
    "cuckoo_transaction_repairs_total",
}
"""What may do without a panel: said by another metric too, or looked up by whoever has the trouble."""


@pytest.fixture
async def known(tmp_path: Path) -> Known:
    """Labels of every sample: of a coordinator and a miner that did a task, of every note, of a card."""
    registry = CollectorRegistry()
    metrics = DomainMetrics(registry)
    for name in NoteName:
        metrics.count(name, None, {"reason": "busy", "rule": "offer.expired", "peer": "a", "standing": "miner"})
    CardGauges(registry).show(Card("a card", "1", 2, 1, 60, 90))
    coordinator, miner = await after_a_task(tmp_path, MetricsSection(port=0))
    found: dict[str, set[str]] = {}
    for family in (*registry.collect(), *coordinator, *miner):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return {name: frozenset(labels) for name, labels in found.items()}


def queries() -> Iterator[tuple[str, str]]:
    """Each (expression, legend) of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"], target["legendFormat"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["expr"], annotation["textFormat"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


async def test_dashboard__each_query__names_what_nodes_have(known: Known):
    found = [fault for expression, _ in queries() for fault in faults(expression, known)]
    assert found == []
    assert len(list(queries())) > 60
    for expression, legend in queries():
        wanted = set(re.findall(r"{{(\w+)}}", legend))
        assert wanted <= labels_of(expression, known), (expression, legend)


async def test_dashboard__variables__are_defined_and_of_metrics_that_are(known: Known):
    defined = {one["name"] for one in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(DASHBOARD["panels"])))
    assert used <= defined
    (query,) = [one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    assert query == "label_values(cuckoo_node_info, instance)"
    assert "cuckoo_node_info" in known


def test_dashboard__panels__have_ids_of_their_own_and_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


async def test_alerts__each_rule__names_what_nodes_have_and_says_what_to_do(known: Known):
    assert [fault for rule in rules() for fault in faults(rule["expr"], known)] == []
    assert len({rule["alert"] for rule in rules()}) == len(rules()) > 10
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "action"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        labels = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert labels <= labels_of(rule["expr"], known), rule["alert"]


def test_alerts__what_to_do__names_notes_and_keys_that_there_are():
    keys = {f"{name}.{leaf}" for name, field in Settings.model_fields.items() for leaf in leaves(field.annotation)}
    for rule in rules():
        for word in re.findall(r"\b[a-z]+\.[a-z_]+\b", rule["annotations"]["action"]):
            assert word in keys | {name.value for name in NoteName}, rule["alert"]


def leaves(section: Any) -> set[str]:
    return set(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else set()


async def test_metrics__of_operators_interest__are_all_on_the_dashboard(known: Known):
    shown = " ".join(expression for expression, _ in queries()) + " ".join(rule["expr"] for rule in rules())
    ours = {name for name in known if name.startswith("cuckoo_") and not name.endswith(("_created", "_count", "_sum"))}
    assert {name for name in ours if name not in shown} <= FOR_LOOKING_UP
    assert ours >= FOR_LOOKING_UP


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("cuckoo_no_such_thing", "there is no metric 'cuckoo_no_such_thing'"),
        ('up{colour="red"}', "'colour' is no label of up"),
        ("sum by (colour) (up)", "'colour' is no label of what is below"),
        ("rate(up[5m])", "up is a gauge: it has no rate"),
        ("process_cpu_seconds_total > 1", "process_cpu_seconds_total is a counter: take its rate"),
        ("sum(rate(process_cpu_seconds_total[5m])", "unclosed left parenthesis"),
        ("up / (1 + nosuch)", "there is no metric 'nosuch'"),
    ],
)
def test_faults__wrong_expression__is_found(expression: str, fault: str):
    assert [one.endswith(fault) for one in faults(expression, {"process_cpu_seconds_total": frozenset()})] == [True]
