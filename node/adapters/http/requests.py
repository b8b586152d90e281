"""What apps send, as strictly validated types."""

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from node.adapters.http.errors import invalid
from protocol.params import MAX_INPUT_BYTES

MAX_PICTURES: Final = 10
"""Pictures of one request, as OpenAI has it; each is a task of its own."""
MAX_ENCODED_PICTURE: Final = MAX_INPUT_BYTES * 4 // 3 + 64
"""Longest picture (characters) in base64, with the head of a data URL."""
MAX_TEXT: Final = 32_000
"""Longest text (characters) read at all; the catalog says what is too long for a prompt, by name."""
_SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


def _whole_text(text: str) -> str:
    """Refuse half of a surrogate pair, which JSON can carry and nothing else can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode text") from None
    return text


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_whole_text)]
ShortText = Annotated[str, Field(max_length=256), AfterValidator(_whole_text)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Picture = Annotated[str, Field(max_length=MAX_ENCODED_PICTURE)]
Steps = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Guidance = Annotated[float, Field(allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class PictureRequest(_Request):
    """What may be said of any picture."""

    prompt: Text
    """What the picture shows."""
    negative_prompt: Text | None = None
    """What it should not show."""
    model: ShortText | None = None
    """A model of ``/v1/models`` or an alias; the default model when left out."""
    size: ShortText | None = None
    """``WIDTHxHEIGHT`` in pixels; ``auto`` or nothing is the model's default."""
    steps: Steps | None = None
    """Denoising steps; the model's default when left out."""
    guidance: Guidance | None = None
    """Weight of the prompt; the model's default when left out."""
    seed: Seed | None = None
    """Same seed, same picture; drawn when left out."""
    scheduler: ShortText | None = None
    """Class name in diffusers, or a short one such as ``euler a``; those of ``/v1/models``, the model's own when left
    out."""
    output_format: Literal["png", "webp"] | None = None
    """Kind of file; PNG when left out."""
    output_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """Of a WebP: how well it keeps the picture, 100 the best; nothing is lost when left out."""
    embed_prompt: bool | None = None
    """Whether the file tells the prompts, beside the other parameters; it does not when left out."""
    priority: Literal["low", "normal", "high"] | None = None
    """Of two tasks that wait the more urgent is offered first, unless the other has waited for a minute longer;
    ``normal`` when left out. The more urgent, the sooner it fails if nobody gets to it."""


class TaskRequest(PictureRequest):
    """One picture, natively."""

    source: Picture | None = None
    """Picture to begin from (PNG, JPEG or WebP), in base64 or as a data URL."""
    mask: Picture | None = None
    """Picture of the same size: where it is transparent, or without transparency where it is light, the source is drawn
    anew."""
    strength: Guidance | None = None
    """How far the source is left behind, more than 0 and at most 1; the model's default when left out."""
    may_be_disputed: bool | None = None
    """Whether the coordinator may show prompt and picture to jurors, other miners, should the picture turn out to be
    wrong; without it nobody can be slashed for it. Not of pictures that begin from others."""


class ImagesRequest(PictureRequest):
    """``POST /v1/images/generations`` as OpenAI clients send it, with our extra fields beside theirs."""

    n: Annotated[int, Field(ge=1, le=MAX_PICTURES)] | None = None
    """Pictures, with consecutive seeds."""
    response_format: Literal["b64_json", "url"] | None = None
    """How pictures come: in the answer (default), or as an address to fetch them from."""
    background: Literal["auto", "opaque"] | None = None
    """Pictures are opaque."""
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """The same as ``output_quality`` for a WebP; a PNG loses nothing."""
    quality: ShortText | None = None
    """Accepted and without effect: ``steps`` says how much work goes into a picture."""
    style: ShortText | None = None
    """Accepted and without effect."""
    moderation: ShortText | None = None
    """Accepted and without effect: this network does not read prompts."""
    user: ShortText | None = None
    """Accepted and not kept."""
    safety_identifier: ShortText | None = None
    """Accepted and not kept."""
    stream: bool | None = None
    """Answer with server-sent events, of one picture: partial ones, then the whole."""
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    """Most partial pictures of a stream; a quick picture has none."""


class EditsRequest(ImagesRequest):
    """``POST /v1/images/edits`` as OpenAI clients send it: the fields of a form, which are text, beside its files."""

    model_config = ConfigDict(strict=False, extra="forbid")

    strength: Guidance | None = None
    """How far the source is left behind, more than 0 and at most 1; the model's default when left out."""
    input_fidelity: ShortText | None = None
    """Accepted and without effect: ``strength`` says how much of the source is kept."""


def check_stream(request: ImagesRequest) -> None:
    """Refuse what a stream cannot tell.

    Raises:
        ApiError: 400: partial pictures of no stream, or a stream of several pictures, which would mix their events.
    """
    if request.stream and (request.n or 1) > 1:
        raise invalid("n: a stream is of one picture", "n")
    if request.partial_images and not request.stream:
        raise invalid("partial_images: needs stream", "partial_images")
    if request.stream and request.response_format == "url":
        raise invalid("response_format: events of a stream hold their pictures, as b64_json", "response_format")


FORM: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image", "prompt"],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP."},
                        "mask": {
                            "type": "string",
                            "format": "binary",
                            "description": "Of the same size: what is transparent is drawn anew.",
                        },
                        **EditsRequest.model_json_schema()["properties"],
                    },
                }
            }
        },
    }
}
"""The form of ``/v1/images/edits`` in the OpenAPI description: its body is read by hand."""


def read_fields(fields: Mapping[str, str]) -> EditsRequest:
    """Read the fields of a form.

    Raises:
        RequestValidationError: As of any other request; its first fault is named in the answer.
    """
    try:
        return EditsRequest.model_validate(fields)
    except ValidationError as problem:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in problem.errors(include_url=False)]
        raise RequestValidationError(faults) from None


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Give (width, height) in pixels, or None for the model's default.

    Raises:
        ApiError: 400, when the text is no size.
    """
    if text is None or text == "auto":
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise invalid("size is WIDTHxHEIGHT in pixels, such as 512x512, or auto", "size")
    return int(match[1]), int(match[2])


def decode_picture(text: str | None, name: str) -> bytes | None:
    """Read a picture in base64, plain or as a data URL; ``name`` is its field.

    Raises:
        ApiError: 400, when the text is no base64.
    """
    if text is None:
        return None
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise invalid(f"{name}: not base64", name) from None
