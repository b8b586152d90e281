"""What an app asks for: the one message that no peer but the winner of a task sees. Spec: SPEC.md §4, §7.5."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from protocol.params import MAX_PROMPT_CHARACTERS
from protocol.units import Digest
from protocol.wire.fields import ANY_NUMERICS, DigestField, Frozen, ModelName, Numerics

Pixels = Annotated[int, Field(ge=16, le=4096)]
Work = Literal["text_to_image", "image_to_image", "inpaint"]
"""Kinds of work that the wire format can name; the catalog says which a network offers."""
Output = Literal["png", "webp"]
"""File formats of pictures."""
MediaType = Literal["image/png", "image/webp"]
"""The same, as HTTP names them."""


SealedField = Annotated[bytes, Field(min_length=272, max_length=16_400)]
"""A body as ``protocol.crypto.sealing.seal_body`` seals it, in blocks of 256 bytes; two of the longest prompts fit."""
SECOND_VERSION_FIELDS: Final = frozenset({"output", "quality", "embed_prompt"})
"""What version 1 of a specification does not have."""
THIRD_VERSION_FIELDS: Final = frozenset({"sealed"})
"""What version 2 does not have either."""


class TaskSpecification(Frozen):
    """What an app asks for. It travels only inside an award, to the winner alone."""

    kind: Literal["specification"] = "specification"
    version: Literal[1, 2, 3] = 1
    """3 where it is sealed, 2 where a field of version 2 is other than its default; its writer sees to that."""
    work: Work = "text_to_image"
    model: ModelName
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
    """At least a character; none where it is sealed."""
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)] = ""
    width: Pixels
    height: Pixels
    steps: Annotated[int, Field(ge=1, le=200)]
    guidance: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)]
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    source: DigestField | None = None
    """SHA-256 of the picture to begin from; needed by all work but text_to_image."""
    mask: DigestField | None = None
    """SHA-256 of the mask; needed by inpaint."""
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """How far the source may be left behind; None leaves it to the model."""
    scheduler: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{0,64}$")] = ""
    """Class name of a diffusers scheduler; empty is the model's own."""
    numerics: Numerics = ANY_NUMERICS
    output: Output = "png"
    """File format of the picture. From version 2 on."""
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """How well a WebP keeps the picture, 100 the best; None loses nothing. From version 2 on."""
    embed_prompt: bool = False
    """Whether the file tells the prompts, beside the other parameters. From version 2 on."""
    sealed: SealedField | None = None
    """A sealed ``SealedBody`` with what is left out here: prompts, seed, and whether the file tells them. Version 3."""

    @model_validator(mode="after")
    def _check_version(self) -> Self:
        """Refuse fields that the version does not have."""
        if self.version == 1 and self.model_fields_set & SECOND_VERSION_FIELDS:
            raise ValueError("version 1 has no output, quality or embed_prompt")
        if self.version < 3 and self.model_fields_set & THIRD_VERSION_FIELDS:
            raise ValueError("sealed belongs to version 3")
        if self.quality is not None and self.output != "webp":
            raise ValueError("quality belongs to webp")
        return self

    @model_serializer(mode="wrap")
    def _leave_out(self, whole: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Write the fields of the version only."""
        fields: dict[str, object] = whole(self)
        left_out = {1: SECOND_VERSION_FIELDS | THIRD_VERSION_FIELDS, 2: THIRD_VERSION_FIELDS}.get(self.version)
        return {name: value for name, value in fields.items() if name not in left_out} if left_out else fields

    @model_validator(mode="after")
    def _check_sealed(self) -> Self:
        """Refuse a body that stands in the open beside a sealed one, and the lack of both."""
        is_sealed = self.sealed is not None
        if (self.version == 3) != is_sealed or bool(self.prompt) == is_sealed:
            raise ValueError("a specification has a prompt, or in version 3 a sealed body")
        if is_sealed and (self.negative_prompt or self.seed or self.embed_prompt or self.work != "text_to_image"):
            raise ValueError("what is sealed, of text_to_image alone, stands nowhere else")
        return self

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        """Refuse inputs that the kind of work does not have, and the lack of those that it needs."""
        if (self.source is not None) != (self.work != "text_to_image"):
            raise ValueError("source belongs to image_to_image and inpaint")
        if (self.mask is not None) != (self.work == "inpaint"):
            raise ValueError("mask belongs to inpaint")
        if self.strength is not None and self.work == "text_to_image":
            raise ValueError("strength belongs to image_to_image and inpaint")
        return self

    @property
    def pixels(self) -> int:
        """Size of the picture: width × height."""
        return self.width * self.height

    @property
    def drawn_steps(self) -> int:
        """Steps that are really taken: of a source that is left behind in part, only the last ones."""
        return self.steps if self.strength is None else max(1, int(self.steps * self.strength))

    @property
    def pixel_steps(self) -> int:
        """Size of the work: pixels × steps that are taken."""
        return self.pixels * self.drawn_steps

    @property
    def inputs(self) -> tuple[Digest, ...]:
        """Digests of the pictures that it begins from, each once: source, mask."""
        return tuple(dict.fromkeys(digest for digest in (self.source, self.mask) if digest is not None))

    @property
    def media_type(self) -> MediaType:
        """What its artifact must be."""
        return "image/png" if self.output == "png" else "image/webp"
