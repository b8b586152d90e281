"""The part of the API that OpenAI clients speak."""

import base64
import time
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response

from node.adapters.http.accounts import Account
from node.adapters.http.beginnings import beginning_of
from node.adapters.http.errors import ApiError, not_found
from node.adapters.http.forms import read_form
from node.adapters.http.orders import ClientGone, Order, Orders, Picture
from node.adapters.http.requests import FORM, ImagesRequest, read_fields
from node.adapters.http.settings import HttpSettings
from node.adapters.http.views import Json, answer, picture_view
from node.ports import Desk, OfferedModel
from protocol.task.catalog import Catalog
from protocol.task.webp import is_webp
from protocol.units import Digest

CLIENT_CLOSED_REQUEST: Final = 499
"""Status, for our own count, of an answer that nobody reads."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DIGEST_BYTES: Final = 32


def image_routes(orders: Orders, desk: Desk, catalog: Catalog, settings: HttpSettings) -> APIRouter:
    """Give the routes of images, models and artifacts."""
    router = APIRouter()

    @router.post("/v1/images/generations", tags=["openai"], summary="Make pictures and wait for them")
    async def generate(
        body: ImagesRequest, request: Request, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Response:
        account: Account = request.state.account
        order = await orders.place(body, account, count=body.n or 1, key=idempotency_key, detached=False)
        return await deliver(order, body, request)

    @router.post(
        "/v1/images/edits",
        tags=["openai"],
        summary="Make pictures from a picture and wait for them",
        openapi_extra=FORM,
    )
    async def edit(request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> Response:
        account: Account = request.state.account
        form = await read_form(request)
        body = read_fields(form.fields)
        beginning = await beginning_of(form.file("image", needed=True), form.file("mask"), body.strength, "image")
        del form
        order = await orders.place(
            body, account, count=body.n or 1, key=idempotency_key, detached=False, beginning=beginning
        )
        del beginning
        request.state.body_is_done()
        return await deliver(order, body, request)

    async def deliver(order: Order, body: ImagesRequest, request: Request) -> Response:
        """Wait for the pictures and answer with them."""
        try:
            pictures = await orders.collect(order, request)
        except ClientGone:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        if body.response_format == "url":
            base = (settings.public_url or str(request.base_url)).rstrip("/")
            found: list[Json] = [{"url": f"{base}/v1/artifacts/{picture.artifact.hex()}"} for picture in pictures]
        else:
            found = [{"b64_json": await _base64(desk, picture)} for picture in pictures]
        return answer({"created": int(time.time()), "data": _described(found, pictures, order)})

    @router.get("/v1/models", tags=["openai"], summary="List what the network offers now")
    async def models() -> Response:
        return answer({"object": "list", "data": [_model_view(model) for model in desk.models()]})

    @router.get("/v1/models/{model}", tags=["openai"], summary="Describe one model")
    async def model(model: str) -> Response:
        entry = catalog.resolve(model)
        offered = {offer.model: offer for offer in desk.models()}
        if entry is None or entry.name not in offered:
            raise ApiError(
                404, "unknown_model", f"nobody offers this model now; there are: {', '.join(offered)}", "model"
            )
        return answer(_model_view(offered[entry.name]))

    @router.get("/v1/artifacts/{digest}", tags=["native"], summary="Fetch a picture")
    async def artifact(digest: str, request: Request) -> Response:
        name = parse_hex(digest, "artifact")
        data = await desk.artifact(Digest(name))
        if data is None:
            raise not_found("artifact, or it has expired")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "ETag": f'"{name.hex()}"',
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=_media_type(data))

    return router


def _media_type(data: bytes) -> str:
    """Say what a file is."""
    if data.startswith(_PNG):
        return "image/png"
    return "image/webp" if is_webp(data) else "application/octet-stream"


def parse_hex(text: str, what: str) -> bytes:
    """Read the name of a task or artifact: 64 hexadecimal digits.

    Raises:
        ApiError: 404, since no such thing can exist.
    """
    try:
        name = bytes.fromhex(text)
    except ValueError:
        raise not_found(what) from None
    if len(name) != _DIGEST_BYTES or name.hex() != text.lower():
        raise not_found(what)
    return name


async def _base64(desk: Desk, picture: Picture) -> str:
    data = await desk.artifact(picture.artifact)
    if data is None:
        raise ApiError(410, "artifact_expired", f"the picture of task {picture.task.hex()} is no longer kept")
    return base64.b64encode(data).decode()


def _described(found: list[Json], pictures: tuple[Picture, ...], order: Order) -> list[Json]:
    """Put beside each picture who made it."""
    return [
        {**image, "cuckoo": picture_view(picture, specification)}
        for image, picture, specification in zip(found, pictures, order.specifications, strict=True)
    ]


def _model_view(model: OfferedModel) -> Json:
    return {
        "id": model.model,
        "object": "model",
        "created": 0,
        "owned_by": "cuckoo",
        "cuckoo": {
            "sizes": [f"{width}x{height}" for width, height in model.sizes],
            "max_steps": model.max_steps,
            "works": list(model.works),
            "schedulers": list(model.schedulers),
            "miners": model.miners,
            "warm_miners": model.warm_miners,
        },
    }
