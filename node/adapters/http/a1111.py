"""The part of the API that clients of AUTOMATIC1111's web UI speak.

There one program serves one person: it has one model, chosen by an option, and one progress. Here each API key, or
address without one, has its own.
"""

import base64
from collections import OrderedDict
from typing import Final, final

from fastapi import APIRouter, Request, Response

from node.adapters.http.a1111_requests import OptionsRequest, PictureFields, SourceFields
from node.adapters.http.a1111_views import info_text, options_view, progress_view
from node.adapters.http.accounts import Account
from node.adapters.http.beginnings import NOTHING, Beginning
from node.adapters.http.errors import ApiError
from node.adapters.http.images import CLIENT_CLOSED_REQUEST, base64_of
from node.adapters.http.orders import Orders
from node.adapters.http.runs import Runs
from node.adapters.http.views import answer
from node.adapters.http.waits import ClientGone
from node.desk_ports import Desk
from protocol.task.catalog import Catalog, CatalogModel

MAX_CHOICES: Final = 4096
"""Callers whose choice of a model is remembered; the longest unused is forgotten first."""


def a1111_routes(orders: Orders, desk: Desk, catalog: Catalog) -> APIRouter:
    """Give the routes under ``/sdapi/v1``."""
    router = APIRouter(prefix="/sdapi/v1", tags=["automatic1111"])
    choices = _Choices(desk, catalog)
    runs = Runs(desk)

    @router.post("/txt2img", summary="Make pictures and wait for them")
    async def txt2img(body: PictureFields, request: Request) -> Response:
        return await draw(body, NOTHING, request)

    @router.post("/img2img", summary="Make pictures from a picture and wait for them")
    async def img2img(body: SourceFields, request: Request) -> Response:
        return await draw(body, await body.beginning(), request)

    async def draw(body: PictureFields, beginning: Beginning, request: Request) -> Response:
        """Hand in what is asked for, and answer with the pictures."""
        account: Account = request.state.account
        task = body.task_request(catalog, choices.of(account).name)
        sent = body.model_dump(mode="json", exclude_unset=True, exclude={"init_images", "mask"})
        order = await orders.place(task, account, count=body.count, key=None, detached=False, beginning=beginning)
        try:
            with runs.following(account, order):
                pictures = await orders.collect(order, request)
        except ClientGone:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        found = [] if body.send_images is False else [await base64_of(desk, picture) for picture in pictures]
        model = catalog.resolve(order.specifications[0].model)
        return answer({"images": found, "parameters": sent, "info": info_text(order, pictures, model)})

    @router.get("/progress", summary="Say how far the request that is under way is")
    async def progress(request: Request, *, skip_current_image: bool = False) -> Response:
        standing = runs.standing(request.state.account)
        preview = None
        if standing.preview is not None and not skip_current_image:
            preview = base64.b64encode(standing.preview).decode()
        return answer(
            progress_view(
                standing.done,
                standing.count,
                standing.finished,
                standing.step,
                standing.steps,
                standing.eta_s,
                preview,
            )
        )

    @router.post("/interrupt", summary="Stop what is under way")
    @router.post("/skip", summary="Stop what is under way", operation_id="skip")
    async def interrupt(request: Request) -> Response:
        await runs.interrupt(request.state.account)
        return answer({})

    @router.get("/options", summary="Say which model is chosen")
    async def options(request: Request) -> Response:
        return answer(options_view(choices.of(request.state.account)))

    @router.post("/options", summary="Choose a model; other options are without effect")
    async def choose(body: OptionsRequest, request: Request) -> Response:
        if body.sd_model_checkpoint is not None:
            choices.choose(request.state.account, body.sd_model_checkpoint)
        return answer({})

    return router


@final
class _Choices:
    """The model of each caller."""

    def __init__(self, desk: Desk, catalog: Catalog) -> None:
        self._desk = desk
        self._catalog = catalog
        self._chosen: OrderedDict[str, str] = OrderedDict()

    def of(self, account: Account) -> CatalogModel:
        """Give the model that the caller has chosen, or the catalog's own choice."""
        name = self._chosen.get(account.scope, self._catalog.default)
        return self._catalog.models[name]

    def choose(self, account: Account, name: str) -> None:
        """Remember a choice.

        Raises:
            ApiError: 404: nobody offers such a model now.
        """
        model = self._catalog.resolve(name)
        offered = [offer.model for offer in self._desk.models()]
        if model is None or model.name not in offered:
            problem = f"nobody offers this model now; there are: {', '.join(offered)}"
            raise ApiError(404, "unknown_model", problem, "sd_model_checkpoint")
        self._chosen.pop(account.scope, None)
        self._chosen[account.scope] = model.name
        if len(self._chosen) > MAX_CHOICES:
            self._chosen.popitem(last=False)
