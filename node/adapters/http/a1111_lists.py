"""The lists that clients of AUTOMATIC1111's web UI fill their menus with."""

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Response

from node.adapters.http.a1111_samplers import sampler_views
from node.adapters.http.a1111_views import model_view
from node.adapters.http.views import answer
from node.desk_ports import Desk
from protocol.task.catalog import Catalog, CatalogModel

ABSENT: Final[Mapping[str, object]] = {
    "cmd-flags": {},
    "embeddings": {"loaded": {}, "skipped": {}},
    "face-restorers": [],
    "hypernetworks": [],
    "latent-upscale-modes": [],
    "loras": [],
    "prompt-styles": [],
    "realesrgan-models": [],
    "scripts": {"txt2img": [], "img2img": []},
    "sd-modules": [],
    "sd-vae": [],
    "upscalers": [],
}
"""What clients ask for and this network does not have: path -> the answer that says so."""


def a1111_lists(desk: Desk, catalog: Catalog) -> APIRouter:
    """Give the routes of lists under ``/sdapi/v1``."""
    router = APIRouter(prefix="/sdapi/v1", tags=["automatic1111"])

    def offered() -> list[CatalogModel]:
        return [catalog.models[model.model] for model in desk.models()]

    @router.get("/sd-models", summary="List the models that the network offers now")
    async def models() -> Response:
        return answer([model_view(model) for model in offered()])

    @router.get("/samplers", summary="List the samplers")
    async def samplers() -> Response:
        return answer(sampler_views(offered()))

    @router.get("/schedulers", summary="List the noise schedules: each model has its own")
    async def schedulers() -> Response:
        return answer([{"name": "automatic", "label": "Automatic", "aliases": None, "default_rho": -1.0}])

    @router.post("/refresh-checkpoints", summary="Accepted and without effect: lists are always fresh")
    async def refresh() -> Response:
        return answer({})

    for name, value in ABSENT.items():
        _add_absent(router, name, value)
    return router


def _add_absent(router: APIRouter, name: str, value: object) -> None:
    async def absent() -> Response:
        return answer(value)

    router.add_api_route(f"/{name}", absent, summary="Not offered: always empty", operation_id=f"absent_{name}")
