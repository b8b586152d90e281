"""What a load balancer and Prometheus ask."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from node.adapters.http.orders import Orders
from node.adapters.http.views import answer
from node.desk_ports import Desk


def health_routes(desk: Desk, orders: Orders, registry: CollectorRegistry) -> APIRouter:
    """Give the routes of health and metrics."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", summary="Say that the process answers")
    async def healthz() -> Response:
        return answer({"status": "ok"})

    @router.get("/readyz", summary="Say whether tasks can be served now")
    async def readyz() -> Response:
        ready, reason = (False, "this node is stopping") if orders.is_closed else desk.ready()
        return answer({"status": "ready"}) if ready else answer({"status": "not_ready", "reason": reason}, 503)

    @router.get("/metrics", summary="Metrics for Prometheus")
    async def metrics() -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
