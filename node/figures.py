"""What a running node counts, as plain numbers for its owner: the metrics of Prometheus without Prometheus."""

import math
from typing import Final

from prometheus_client import CollectorRegistry

PREFIX: Final = "cuckoo_"
MAX_FIGURES: Final = 500
"""Most numbers that are given: labels have few values, and an answer has its limit."""


def figures(registry: CollectorRegistry) -> dict[str, float]:
    """Give counters and gauges of a node by name, with labels as ``cuckoo_tasks_total{outcome=done}``.

    Histograms, which say nothing by themselves, and what is not known now are left out.
    """
    found: dict[str, float] = {}
    for family in registry.collect():
        if family.type not in {"counter", "gauge"} or not family.name.startswith(PREFIX):
            continue
        for sample in family.samples:
            if sample.name.endswith("_created") or not math.isfinite(sample.value):
                continue
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
            if len(found) == MAX_FIGURES:
                return found
    return found
