"""How a running node stands, as gauges that are read when Prometheus asks.

What happens is counted by ``node.metrics`` as it is noted; what is true at a moment is asked here of whoever knows it.
All of it is asked in the node's own thread, so that nothing changes while it is read.
"""

import importlib.metadata
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, final

import trio
from prometheus_client import CollectorRegistry, Gauge

from node.availability import HOLDS, Doorkeeper
from node.engine_report import EngineReport
from node.ports import Clock, Engine
from node.settings import NodeRole, Settings
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.core import Core
from protocol.stake.epoch import epoch_at

if TYPE_CHECKING:
    from node.adapters.device.nvidia import Card

CARD_S: Final = 10.0
"""How often (s) a card is looked at: Prometheus asks every 15 s by default."""
ENGINE_STATES: Final = ("up", "starting", "resting")
_MILLIS_PER_S: Final = 1000

Read = Callable[[], float]


def watch_node(
    registry: CollectorRegistry, core: Core, role: NodeRole, clock: Clock, events_waiting: Callable[[], int]
) -> None:
    """Show what every node has: who it is, its queue, its chain and stake table; of a coordinator its miners."""
    about = Gauge("cuckoo_node_info", "1, with what this node is", ["role", "network", "version"], registry=registry)
    about.labels(role.value, core.identity.network, importlib.metadata.version("cuckoo-overlay")).set(1)
    book = core.book

    def head_age_s() -> float:
        return math.nan if book.head is None else (clock.now() - book.head) / _MILLIS_PER_S

    def table_age() -> float:
        view = book.current(clock.now())
        return math.nan if view is None else epoch_at(clock.now(), core.params) - view.epoch

    def table_nodes() -> float:
        view = book.current(clock.now())
        return 0 if view is None else len(view.table.rows)

    shown: dict[str, tuple[str, Read]] = {
        "cuckoo_events_waiting": ("Events that wait for this node's core", events_waiting),
        "cuckoo_chain_head_age_seconds": ("Age of the chain's newest block that this node has seen", head_age_s),
        "cuckoo_stake_table_age_epochs": ("Epochs by which the newest stake table lags behind the clock", table_age),
        "cuckoo_stake_table_nodes": ("Nodes in the stake table of this moment", table_nodes),
    }
    if role is not NodeRole.BOOTSTRAP:
        shown["cuckoo_node_active"] = (
            "1 while the stake table lists this node as active",
            lambda: core.own_id() is not None,
        )
    if isinstance(core, CoordinatorCore):
        roster = core.roster
        shown |= {
            "cuckoo_tasks_waiting": ("Unfinished tasks of this coordinator, of earlier runs too", core.waiting),
            "cuckoo_miners_connected": ("Miners with an open work stream", lambda: len(roster)),
            "cuckoo_places": ("Places of all connected miners", lambda: sum(miner.places for miner in roster)),
            "cuckoo_places_taken": (
                "Places of connected miners that this coordinator's tasks take",
                lambda: sum(len(miner.working_on) for miner in roster),
            ),
        }
    _show(registry, shown)


def watch_miner(registry: CollectorRegistry, doorkeeper: Doorkeeper, engine: Engine) -> None:
    """Show what a miner has: whether it is open, what it has in hand, how its engine stands."""
    look = doorkeeper.look
    _show(
        registry,
        {
            "cuckoo_miner_open": ("1 while this miner takes work", lambda: look().is_open),
            "cuckoo_miner_claims": ("Claims of this miner that may still be awarded", lambda: look().load.claims),
            "cuckoo_miner_jobs": ("Awarded tasks at the engine", lambda: look().load.jobs),
            "cuckoo_miner_results": ("Results not yet acknowledged by coordinators", lambda: look().load.results),
            "cuckoo_engine_models": ("Models in the memory of the device", lambda: _in_memory(engine.report())),
            "cuckoo_engine_model_faults": ("Models that could not be loaded", lambda: len(engine.report().faults)),
        },
    )
    held = Gauge("cuckoo_miner_held", "1 while this holds the miner back, by what does", ["by"], registry=registry)
    for name in HOLDS:
        held.labels(name).set_function(partial(lambda name: name in look().holds, name))
    state = Gauge("cuckoo_engine_state", "1 for the state of the engine", ["state"], registry=registry)
    for name in ENGINE_STATES:
        state.labels(name).set_function(partial(lambda name: engine.report().state == name, name))


async def watch_card(registry: CollectorRegistry, settings: Settings) -> None:
    """Show heat and memory of a miner's NVIDIA card for ever; returns at once where there is none."""
    device = settings.engine.device
    if settings.engine.kind != "diffusion" or device == "cpu":
        return
    from node.adapters.device.nvidia import CardUnknown, card_of, read_card

    which = card_of(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    try:
        await trio.to_thread.run_sync(read_card, which)
    except CardUnknown:
        return
    gauges = CardGauges(registry)
    while True:
        try:
            gauges.show(await trio.to_thread.run_sync(read_card, which))
        except CardUnknown:  # while a driver is replaced
            gauges.show(None)
        await trio.sleep(CARD_S)


@final
class CardGauges:
    """Heat and memory of one card."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the gauges."""
        self._heat = Gauge("cuckoo_card_celsius", "Temperature of the card (degrees Celsius)", registry=registry)
        self._limit = Gauge(
            "cuckoo_card_limit_celsius", "Temperature at which the card slows itself down", registry=registry
        )
        self._memory = Gauge("cuckoo_card_memory_bytes", "Memory of the card, by use", ["use"], registry=registry)

    def show(self, card: "Card | None") -> None:
        """Show a card; None where nobody can say anything now, and what was true before must not look like news."""
        if card is None:
            for gauge in (self._heat, self._limit, self._memory.labels("free"), self._memory.labels("taken")):
                gauge.set(math.nan)
            return
        self._heat.set(card.celsius)
        self._limit.set(math.nan if card.limit_celsius is None else card.limit_celsius)
        self._memory.labels("free").set(card.free_bytes)
        self._memory.labels("taken").set(card.total_bytes - card.free_bytes)


def _show(registry: CollectorRegistry, shown: Mapping[str, tuple[str, Read]]) -> None:
    for name, (text, read) in shown.items():
        Gauge(name, text, registry=registry).set_function(read)


def _in_memory(report: EngineReport) -> int:
    return sum(model.in_memory for model in report.models)
