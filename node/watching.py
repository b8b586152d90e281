"""What lets people watch a node from elsewhere, put together from settings: its metrics and the traces of its tasks.

A part of the composition root. OpenTelemetry is imported where tracing is switched on, and nowhere else.
"""

import importlib.metadata

import trio

from node.adapters.telemetry import MetricsServer
from node.availability import Doorkeeper
from node.driver import Driver
from node.gauges import watch_card, watch_miner, watch_node
from node.journal import StructuredJournal
from node.ports import Ports
from node.settings import Settings
from protocol.roles.core import Core


def start_tracing(settings: Settings, core: Core, journal: StructuredJournal, nursery: trio.Nursery) -> None:
    """Trace what is noted from now on, where the settings say whereto."""
    section = settings.tracing
    if section.endpoint is None:
        return
    from node.adapters.telemetry.tracing import TaskTracer

    about = {
        "service.name": f"cuckoo-{settings.role}",
        "service.namespace": core.identity.network,
        "service.instance.id": core.identity.key.peer_id,
        "service.version": importlib.metadata.version("cuckoo-overlay"),
    }
    tracer = TaskTracer(section.endpoint, about, section.share)
    journal.observe(tracer.note)
    nursery.start_soon(tracer.run)


async def start_metrics(
    settings: Settings,
    core: Core,
    driver: Driver,
    doorkeeper: Doorkeeper | None,
    ports: Ports,
    journal: StructuredJournal,
    nursery: trio.Nursery,
) -> str | None:
    """Add to a node's metrics how it stands, and serve them where the settings say; give the address, if there is one.

    Raises:
        ConfigError: It cannot listen there.
    """
    registry = journal.registry
    watch_node(registry, core, settings.role, ports.clock, driver.events_waiting)
    if doorkeeper is not None and ports.engine is not None:
        watch_miner(registry, doorkeeper, ports.engine)
        nursery.start_soon(watch_card, registry, settings)
    section = settings.metrics
    if section.port is None:
        return None
    port = await nursery.start(MetricsServer(section.host, section.port, registry).run)
    return f"http://{section.host}:{port}/metrics"
