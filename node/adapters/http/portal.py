"""What the portal's page asks: the network as it lives, the staking contracts, transactions to sign.

All of it is public and asks for no key, so each visitor has a measure of it. It lies outside ``/v1/``: it is for the
page of the same package, and may change with it.
"""

from dataclasses import dataclass
from typing import Annotated, Final

import trio
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from node.adapters.http.errors import ApiError
from node.adapters.http.portal_stream import NetworkStream, Snapshot
from node.adapters.http.portal_views import (
    Scene,
    chain_view,
    happening_view,
    holdings_view,
    listed_view,
    prepared_view,
)
from node.adapters.http.settings import HttpSettings
from node.adapters.http.views import answer
from node.adapters.http.visitors import Visitors
from node.desk_ports import Desk
from node.portal.ports import Action, LiveNetwork, StakersDesk, Wish
from protocol.errors import ConfigError, Unavailable
from protocol.task.catalog import Catalog

LOOK_POINTS: Final = 1.0
SHARED_POINTS: Final = 2.0
"""What all visitors ask is read from the chain once for all of them."""
ACCOUNT_POINTS: Final = 5.0
NODES_PER_POINT: Final = 100
"""An account is looked up on each node, a hundred of them in one request to the chain node."""
PLAN_POINTS: Final = 10.0
"""A plan costs about ten requests to a chain node."""
MAX_CHAIN_TASKS: Final = 4
"""Visitors for whom the chain is asked at once; the others wait for their turn."""
_ACCOUNT_CHARACTERS: Final = 42

ShortText = Annotated[str, Field(max_length=512)]


class WishRequest(BaseModel):
    """What somebody wants to do with his wallet."""

    model_config = ConfigDict(strict=True, extra="forbid")

    action: Action
    account: Annotated[str, Field(max_length=_ACCOUNT_CHARACTERS)]
    node: Annotated[str, Field(max_length=_ACCOUNT_CHARACTERS)] = ""
    amount: Annotated[str, Field(max_length=64)] = ""
    proof: Annotated[str, Field(max_length=4096)] = ""
    profile: Annotated[dict[str, ShortText], Field(max_length=8)] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Portal:
    """Whom the page asks."""

    live: LiveNetwork
    stakers: StakersDesk


def portal_routes(
    portal: Portal, desk: Desk, catalog: Catalog, settings: HttpSettings, stopping: trio.Event
) -> APIRouter:
    """Give the routes that the page asks."""
    router = APIRouter(include_in_schema=False, prefix="/portal")
    scene = Scene(portal.live, desk, catalog, settings.require_key)
    snapshot = Snapshot(scene)
    visitors = Visitors(settings.trusted_proxies, trio.current_time)
    turns = trio.CapacityLimiter(MAX_CHAIN_TASKS)

    def points_of_account() -> float:
        return ACCOUNT_POINTS + portal.live.here().registered / NODES_PER_POINT

    fresh = {"Cache-Control": "no-store"}

    @router.get("/network")
    async def network(request: Request) -> Response:
        visitors.charge(request, LOOK_POINTS)
        return Response(snapshot.text(), headers=fresh, media_type="application/json")

    @router.get("/recent")
    async def recent(request: Request) -> Response:
        visitors.charge(request, LOOK_POINTS)
        return answer({"happenings": [happening_view(one) for one in portal.live.recent()]}, headers=fresh)

    @router.get("/events")
    async def events(request: Request) -> Response:
        visitors.charge(request, LOOK_POINTS)
        return NetworkStream(scene, snapshot, stopping, visitors.take_place(request))

    @router.get("/chain")
    async def chain(request: Request) -> Response:
        visitors.charge(request, SHARED_POINTS)
        async with turns:
            with _ChainFaults():
                return answer(chain_view(await portal.stakers.chain()), headers=fresh)

    @router.get("/nodes")
    async def nodes(request: Request) -> Response:
        visitors.charge(request, SHARED_POINTS)
        async with turns:
            with _ChainFaults():
                found = await portal.stakers.nodes()
        return answer({"nodes": [listed_view(node) for node in found]}, headers=fresh)

    @router.get("/accounts/{account}")
    async def account(account: str, request: Request) -> Response:
        visitors.charge_chain(request, points_of_account())
        async with turns:
            with _ChainFaults():
                return answer(holdings_view(await portal.stakers.holdings(account)), headers=fresh)

    @router.post("/plans")
    async def plan(body: WishRequest, request: Request) -> Response:
        looks_everywhere = body.action == "claim"
        visitors.charge_chain(request, PLAN_POINTS + (points_of_account() if looks_everywhere else 0))
        wish = Wish(body.action, body.account, body.node, body.amount, body.proof, body.profile)
        async with turns:
            with _ChainFaults():
                return answer(prepared_view(await portal.stakers.prepare(wish)), headers=fresh)

    return router


class _ChainFaults:
    """Turns what goes wrong with the chain into answers. Which chain node it was is nobody's business."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigError):
            raise ApiError(409, "not_possible", str(error)) from error
        if isinstance(error, Unavailable):
            raise ApiError(503, "chain_unavailable", "the chain does not answer now: try again soon") from error
