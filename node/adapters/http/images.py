"""The part of the API that OpenAI clients make pictures with."""

import base64
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import trio
from fastapi import APIRouter, Header, Request, Response

from node.adapters.http.accounts import Account
from node.adapters.http.beginnings import beginning_of
from node.adapters.http.errors import ApiError
from node.adapters.http.forms import read_form
from node.adapters.http.image_stream import ImageStream
from node.adapters.http.orders import Order, Orders, Picture
from node.adapters.http.requests import FORM, ImagesRequest, check_stream, read_fields
from node.adapters.http.settings import HttpSettings
from node.adapters.http.views import Json, answer, picture_view
from node.adapters.http.waits import ClientGone
from node.desk_ports import Desk

GENERATIONS: Final = "/v1/images/generations"
CLIENT_CLOSED_REQUEST: Final = 499
"""Status, for our own count, of an answer that nobody reads."""


def image_routes(
    orders: Orders, desk: Desk, settings: HttpSettings, stopping: trio.Event
) -> tuple[APIRouter, Callable[[ImagesRequest, Request, str | None], Awaitable[Response]]]:
    """Give the routes that make pictures, and the handler of ``GENERATIONS`` by itself."""
    router = APIRouter()

    @router.post(GENERATIONS, tags=["openai"], summary="Make pictures and wait for them")
    async def generate(
        body: ImagesRequest, request: Request, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Response:
        account: Account = request.state.account
        check_stream(body)
        order = await orders.place(body, account, count=body.n or 1, key=idempotency_key, detached=False)
        return await deliver(order, body, request, "image_generation")

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
        check_stream(body)
        beginning = await beginning_of(form.file("image", needed=True), form.file("mask"), body.strength, "image")
        del form
        order = await orders.place(
            body, account, count=body.n or 1, key=idempotency_key, detached=False, beginning=beginning
        )
        del beginning
        request.state.body_is_done()
        return await deliver(order, body, request, "image_edit")

    async def deliver(order: Order, body: ImagesRequest, request: Request, kind: str) -> Response:
        """Wait for the pictures and answer with them, or follow the one that is streamed."""
        if body.stream:
            return ImageStream(
                orders,
                desk,
                order,
                kind=kind,
                partial_images=body.partial_images or 0,
                stopping=stopping,
                limit_s=settings.task_timeout_s,
            )
        try:
            pictures = await orders.collect(order, request)
        except ClientGone:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        if body.response_format == "url":
            base = (settings.public_url or str(request.base_url)).rstrip("/")
            found: list[Json] = [{"url": f"{base}/v1/artifacts/{picture.artifact.hex()}"} for picture in pictures]
        else:
            found = [{"b64_json": await base64_of(desk, picture)} for picture in pictures]
        return answer({"created": int(time.time()), "data": _described(found, pictures, order)})

    return router, generate


async def base64_of(desk: Desk, picture: Picture) -> str:
    """Give a picture as text.

    Raises:
        ApiError: 410: it is no longer kept.
    """
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
