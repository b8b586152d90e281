"""The faces of a coordinator for apps and stakers: puts its gateway together from settings, and who reviews.

A part of the composition root; FastAPI is imported by its functions, so that other roles do without.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

import trio

from node.apps.api_keys import follow_api_keys, read_api_keys
from node.apps.app_service import AppService
from node.apps.content_policy import refusal_of
from node.apps.content_review import PictureReviewer, PromptReviewer, RefusedWords, ReviewedDesk
from node.desk_ports import Desk
from node.journal import StructuredJournal
from node.portal.live_network import LiveView
from node.ports import Clock, Journal, Transport
from node.settings import Settings
from protocol.errors import ConfigError
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


@dataclass(frozen=True, slots=True)
class Reviewers:
    """Who looks at prompts and pictures of a coordinator."""

    prompts: tuple[PromptReviewer, ...]
    pictures: tuple[PictureReviewer, ...]
    open_in: tuple[Callable[[], AbstractAsyncContextManager[None]], ...]
    """What they need while they are asked."""


def takes_sealed(settings: Settings) -> bool:
    """Say whether orders are taken that nobody here can read: not where somebody is to look at what is ordered.

    Raises:
        ConfigError: The settings want both.
    """
    content, chosen = settings.content, settings.submit.sealed
    is_reviewed = bool(content.refused_words) or content.hook is not None or content.safety_checker is not None
    if chosen and is_reviewed:
        raise ConfigError(
            "submit.sealed: nobody can look at what is sealed: set it to false, or leave [content] without "
            "refused_words, hook and safety_checker"
        )
    return not is_reviewed if chosen is None else chosen


def reviewers_of(settings: Settings) -> Reviewers:
    """Find who is to look at prompts and pictures; nobody unless the settings say so.

    Raises:
        ConfigError: The safety checker's files or libraries are not there, or a refused word is none, or sealed orders
            are wanted too.
    """
    takes_sealed(settings)
    section = settings.content
    prompts: list[PromptReviewer] = []
    pictures: list[PictureReviewer] = []
    open_in: list[Callable[[], AbstractAsyncContextManager[None]]] = []
    if section.refused_words:
        prompts.append(RefusedWords(refusal_of(section.refused_words, "content.refused_words")))
    if section.safety_checker is not None:
        from node.adapters.review import SafetyChecker

        checker = SafetyChecker(section.safety_checker)
        pictures.append(checker)
        open_in.append(checker.opened)
    if section.hook is not None:
        from node.adapters.review import HttpHook

        hook = HttpHook(section.hook, section.hook_limit_s)
        prompts.append(hook)
        pictures.append(hook)
        open_in.append(hook.opened)
    return Reviewers(tuple(prompts), tuple(pictures), tuple(open_in))


@asynccontextmanager
async def reviewed(settings: Settings, desk: Desk, journal: Journal) -> AsyncGenerator[Desk]:
    """Put in front of a desk whoever looks at prompts and pictures.

    Raises:
        ConfigError: As ``reviewers_of``.
    """
    found = reviewers_of(settings)
    async with AsyncExitStack() as stack:
        for opened in found.open_in:
            await stack.enter_async_context(opened())
        looked_at = found.prompts or found.pictures
        yield ReviewedDesk(desk, found.prompts, found.pictures, journal) if looked_at else desk


def build_portal(settings: Settings, live: LiveView, nursery: trio.Nursery) -> "Portal":
    """Build what the portal page asks; it lives as long as the nursery."""
    from node.adapters.http import Portal
    from node.network_file import read_network
    from node.portal.stakers_desk import ContractsDesk

    faucet = read_network(settings.network).contracts.faucet if settings.network is not None else None
    stakers = ContractsDesk(settings.chain, settings.portal, faucet)
    nursery.start_soon(stakers.run)
    return Portal(live, stakers)


async def serve_apps(
    settings: Settings,
    desk: Desk,
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
    chosen = HttpSettings(
        host=section.host,
        port=section.port,
        require_key=settings.requires_key,
        cors_origins=section.cors_origins,
        nearest_sizes=section.sizes == "nearest",
        public_url=section.public_url,
        trusted_proxies=tuple(ip_network(network) for network in section.trusted_proxies),
    )
    async with reviewed(settings, desk, journal) as front, trio.open_nursery() as nursery:
        gateway = Gateway(chosen, front, catalog, journal.registry, journal, ring=ring, portal=portal)
        if settings.submit.enabled:
            orders = gateway.app_orders(require_key=settings.requires_key_to_submit, take_sealed=takes_sealed(settings))
            transport.serve_apps(AppService(front, orders.place, clock, journal))
        nursery.start_soon(follow_api_keys, settings.api_keys_file, ring.replace, partial(_complain, journal))
        port = await nursery.start(gateway.run)
        task_status.started((port, gateway.drain))


def _complain(journal: Journal, problem: str) -> None:
    """Note that the file of API keys cannot be read any more; those of before go on."""
    journal.note(NoteName.KEYS_UNREADABLE, reason=problem)
