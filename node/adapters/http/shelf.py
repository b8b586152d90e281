"""What apps look up: the models that are served now, and pictures by their digests."""

from typing import Final

from fastapi import APIRouter, Request, Response

from node.adapters.http.errors import ApiError, not_found
from node.adapters.http.ranges import file_answer
from node.adapters.http.views import Json, answer
from node.desk_ports import Desk, OfferedModel
from protocol.task.catalog import Catalog
from protocol.task.webp import is_webp
from protocol.units import Digest

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DIGEST_BYTES: Final = 32


def shelf_routes(desk: Desk, catalog: Catalog) -> APIRouter:
    """Give the routes of models and artifacts."""
    router = APIRouter()

    @router.get("/v1/models", tags=["openai"], summary="List what the network offers now")
    async def models() -> Response:
        offered = {model.model: model for model in desk.models()}
        aliases = [_alias_view(name, offered[to]) for name, to in catalog.aliases.items() if to in offered]
        return answer({"object": "list", "data": [*map(_model_view, offered.values()), *aliases]})

    @router.get("/v1/models/{model}", tags=["openai"], summary="Describe one model")
    async def model(model: str) -> Response:
        entry = catalog.resolve(model)
        offered = {offer.model: offer for offer in desk.models()}
        if entry is None or entry.name not in offered:
            raise ApiError(
                404, "unknown_model", f"nobody offers this model now; there are: {', '.join(offered)}", "model"
            )
        return answer(_model_view(offered[entry.name]))

    @router.head("/v1/artifacts/{digest}", include_in_schema=False)
    @router.get("/v1/artifacts/{digest}", tags=["native"], summary="Fetch a picture")
    async def artifact(digest: str, request: Request) -> Response:
        name = parse_hex(digest, "artifact")
        data = await desk.artifact(Digest(name))
        if data is None:
            raise not_found("artifact, or it has expired")
        return file_answer(request, data, f'"{name.hex()}"', _media_type(data))

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


def _alias_view(name: str, model: OfferedModel) -> Json:
    """Describe a name that apps have written into them: a model for those that look for it, and which one in truth."""
    return {**_model_view(model), "id": name, "cuckoo": {**_details(model), "alias_of": model.model}}


def _details(model: OfferedModel) -> Json:
    """Say what OpenAI's list of models has no fields for."""
    return {
        "sizes": [f"{width}x{height}" for width, height in model.sizes],
        "max_steps": model.max_steps,
        **({} if model.max_prompt_tokens is None else {"max_prompt_tokens": model.max_prompt_tokens}),
        "works": list(model.works),
        "schedulers": list(model.schedulers),
        "miners": model.miners,
        "warm_miners": model.warm_miners,
    }


def _model_view(model: OfferedModel) -> Json:
    return {"id": model.model, "object": "model", "created": 0, "owned_by": "cuckoo", "cuckoo": _details(model)}
