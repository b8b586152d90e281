"""Each role shows how it stands, at an address of its own."""

import math
from pathlib import Path

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

from node.adapters.device.nvidia import Card
from node.gauges import CardGauges
from node.settings import MetricsSection, NodeRole
from tests.node.test_network_in_memory import Network, serving

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:hypercorn")


async def scraped(url: str) -> list[Metric]:
    async with httpx.AsyncClient() as client:
        return list(text_string_to_metric_families((await client.get(url)).text))


async def after_a_task(folder: Path, metrics: MetricsSection) -> tuple[list[Metric], list[Metric]]:
    """What a coordinator and its miner tell at their addresses, after one picture."""
    network = Network(folder)
    network.metrics = metrics
    async with trio.open_nursery() as nursery:
        miner = await network.start(nursery, "alice", NodeRole.MINER)
        info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
        assert info.http_url is not None
        assert info.metrics_url is not None
        assert miner.metrics_url is not None
        async with httpx.AsyncClient(base_url=info.http_url) as client:
            await serving(client)
            assert (await client.post("/v1/images/generations", json={"prompt": "a heart"})).status_code == 200
        told = await scraped(info.metrics_url), await scraped(miner.metrics_url)
        nursery.cancel_scope.cancel()
    return told


def values(told: list[Metric]) -> dict[str, float]:
    samples = [sample for family in told for sample in family.samples]
    return {f"{one.name}{sorted(one.labels.items()) or ''}": one.value for one in samples}


async def test_metrics__after_a_task__tell_how_each_role_stands(tmp_path: Path) -> None:
    of_coordinator, of_miner = map(values, await after_a_task(tmp_path, MetricsSection(port=0)))
    assert of_coordinator["cuckoo_tasks_total[('outcome', 'done')]"] == 1
    assert of_coordinator["cuckoo_miners_connected"] == 1
    assert of_coordinator["cuckoo_tasks_waiting"] == 0
    assert of_coordinator["cuckoo_places"] == 1
    for shown in (of_coordinator, of_miner):
        assert shown["cuckoo_node_active"] == 1
        assert shown["cuckoo_stake_table_age_epochs"] == 0
        assert shown["cuckoo_stake_table_nodes"] == 3
        assert shown["cuckoo_events_waiting"] == 0
        assert sum(key.startswith("cuckoo_node_info") for key in shown) == 1
    assert of_miner["cuckoo_miner_open"] == 1
    assert of_miner["cuckoo_engine_state[('state', 'up')]"] == 1
    assert of_miner["cuckoo_engine_state[('state', 'resting')]"] == 0
    assert of_miner["cuckoo_miner_held[('by', 'heat')]"] == 0
    assert of_miner["cuckoo_engine_models"] == 1
    assert of_miner["cuckoo_jobs_total[('outcome', 'finished')]"] == 1


def test_show__card_that_is_gone__says_nothing_instead_of_what_was() -> None:
    registry = CollectorRegistry()
    gauges = CardGauges(registry)
    gauges.show(Card("a card", "1", total_bytes=100, free_bytes=30, celsius=60, limit_celsius=None))
    shown = values(list(registry.collect()))
    assert shown["cuckoo_card_celsius"] == 60
    assert math.isnan(shown["cuckoo_card_limit_celsius"])
    assert shown["cuckoo_card_memory_bytes[('use', 'taken')]"] == 70
    gauges.show(None)
    assert all(math.isnan(value) for value in values(list(registry.collect())).values())
