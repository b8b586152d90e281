"""The faces of a coordinator for apps and stakers: puts its HTTP gateway together from settings, and lets it be used.

A part of the composition root; FastAPI is imported by its functions, so that other roles do without.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

import trio

from node.api_keys import follow_api_keys, read_api_keys
from node.app_service import AppService
from node.desk import TaskDesk
from node.journal import StructuredJournal
from node.live_network import LiveView
from node.ports import Clock, Journal, Transport
from node.settings import Settings
from protocol.notes import NoteName
from protocol.task.catalog import Catalog

if TYPE_CHECKING:
    from node.adapters.http import Portal

Drain = Callable[[], Awaitable[None]]
"""Lets a gateway take no more tasks, and returns once no app waits for an answer."""


def access_of(settings: Settings) -> str:
    """Say whom a coordinator's API serves, and what to do where that is nobody."""
    if not settings.requires_key:
        return "anybody who reaches it, with an API key or without"
    known = len(read_api_keys(settings.api_keys_file))
    if not known:
        return f"nobody yet: make a key with cuckoo apikey create --keys-file {settings.api_keys_file}"
    return f"whoever has {'the' if known == 1 else f'one of {known}'} API key{'s'[: known - 1]}"


def build_portal(settings: Settings, live: LiveView, nursery: trio.Nursery) -> "Portal":
    """Build what the portal page asks; it lives as long as the nursery."""
    from node.adapters.http import Portal
    from node.network_file import read_network
    from node.stakers_desk import ContractsDesk

    faucet = read_network(settings.network).contracts.faucet if settings.network is not None else None
    stakers = ContractsDesk(settings.chain, settings.portal, faucet)
    nursery.start_soon(stakers.run)
    return Portal(live, stakers)


async def serve_http(
    settings: Settings,
    desk: TaskDesk,
    portal: "Portal | None",
    catalog: Catalog,
    clock: Clock,
    journal: StructuredJournal,
    transport: Transport,
    *,
    task_status: "trio.TaskStatus[tuple[int, Drain]]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the apps of a coordinator; reports started with the port of HTTP, and with what drains it."""
    from node.adapters.http import Gateway, HttpSettings, KeyRing

    section = settings.http
    ring = KeyRing(read_api_keys(settings.api_keys_file), clock.now)
    gateway = Gateway(
        HttpSettings(
            host=section.host,
            port=section.port,
            require_key=settings.requires_key,
            cors_origins=section.cors_origins,
            nearest_sizes=section.sizes == "nearest",
            public_url=section.public_url,
            trusted_proxies=tuple(ip_network(network) for network in section.trusted_proxies),
        ),
        desk,
        catalog,
        journal.registry,
        journal,
        ring=ring,
        portal=portal,
    )
    if settings.submit.enabled:
        orders = gateway.app_orders(require_key=settings.requires_key_to_submit)
        transport.serve_apps(AppService(desk, orders.place, clock, journal))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_api_keys, settings.api_keys_file, ring.replace, partial(_complain, journal))
        port = await nursery.start(gateway.run)
        task_status.started((port, gateway.drain))


def _complain(journal: Journal, problem: str) -> None:
    """Note that the file of API keys cannot be read any more; those of before go on."""
    journal.note(NoteName.KEYS_UNREADABLE, reason=problem)
