"""What apps send, as strictly validated types."""

import math
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from node.adapters.http.errors import invalid
from protocol.task.catalog import CatalogModel

MAX_PICTURES: Final = 4
"""Pictures of one request; each is a task of its own."""
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
Steps = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Guidance = Annotated[float, Field(allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class TaskRequest(_Request):
    """One picture, natively."""

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
    priority: Literal["low", "normal", "high"] | None = None
    """Of two tasks that wait the more urgent is offered first, unless the other has waited for a minute longer;
    ``normal`` when left out. The more urgent, the sooner it fails if nobody gets to it."""


class ImagesRequest(TaskRequest):
    """``POST /v1/images/generations`` as OpenAI clients send it, with our extra fields beside theirs."""

    n: Annotated[int, Field(ge=1, le=MAX_PICTURES)] | None = None
    """Pictures, with consecutive seeds."""
    response_format: Literal["b64_json", "url"] | None = None
    """How pictures come: in the answer (default), or as an address to fetch them from."""
    output_format: Literal["png"] | None = None
    """Pictures are PNG."""
    background: Literal["auto", "opaque"] | None = None
    """Pictures are opaque."""
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """Accepted and without effect: PNG loses nothing."""
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
    stream: Literal[False] | None = None
    """Not offered; ``GET /v1/tasks/{id}/events`` tells progress."""
    partial_images: Literal[0] | None = None
    """Not offered."""


def nearest_size(model: CatalogModel, wanted: tuple[int, int]) -> tuple[int, int]:
    """Give the size in which a model draws of the nearest proportions, of several the one nearest in pixels."""
    width, height = (max(edge, 1) for edge in wanted)

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        return (
            round(abs(math.log(size[0] * height / (size[1] * width))), 3),
            abs(math.log(size[0] * size[1] / (width * height))),
        )

    return min(model.sizes, key=distance)


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
