"""What clients of AUTOMATIC1111's web API send, and what of it this network can do.

Such clients send every field that they know, most of them with the values that change nothing. These are taken, fields
that we do not know are ignored as there, and what would make another picture is refused by its name.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from node.adapters.http.a1111_samplers import scheduler_of
from node.adapters.http.beginnings import Beginning, beginning_of
from node.adapters.http.errors import ApiError
from node.adapters.http.requests import Guidance, Picture, PictureRequest, Seed, ShortText, Steps, Text, decode_picture
from protocol.task.catalog import Catalog

MAX_PICTURES: Final = 16
"""Pictures of one request, ``n_iter`` times ``batch_size``; each is a task of its own."""
_MAX_SCRIPTS: Final = 64
_MAX_MODEL: Final = 256


def _drawn(value: object) -> object:
    """Read -1 as no seed."""
    return None if value == -1 else value


Side = Annotated[int, Field(ge=1, le=99_999)]
Count = Annotated[int, Field(ge=1, le=MAX_PICTURES)]
AnySeed = Annotated[Seed | None, BeforeValidator(_drawn)]


class PictureFields(BaseModel):
    """What a request for pictures says, whatever they begin from."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    prompt: Text | None = None
    """What the picture shows."""
    negative_prompt: Text | None = None
    """What it should not show."""
    seed: AnySeed = None
    """Same seed, same picture; -1 or nothing draws one. Each further picture has the next seed."""
    steps: Steps | None = None
    """Denoising steps; the model's default when left out."""
    cfg_scale: Guidance | None = None
    """Weight of the prompt; the model's default when left out."""
    width: Side | None = None
    """Pixels; the model's default when both sides are left out."""
    height: Side | None = None
    """Pixels."""
    batch_size: Count | None = None
    """Pictures of one round: tasks of this network all the same."""
    n_iter: Count | None = None
    """Rounds."""
    sampler_name: ShortText | None = None
    """As ``/sdapi/v1/samplers`` lists them. A model without this one draws with its own, and ``info`` says so."""
    sampler_index: ShortText | None = None
    """An older name of ``sampler_name``, which wins."""
    override_settings: Annotated[Mapping[str, object], Field(max_length=256)] | None = None
    """``sd_model_checkpoint`` names the model of this request; the rest is without effect."""
    send_images: bool | None = None
    """False: answer without the pictures."""
    restore_faces: bool | None = None
    """Not offered."""
    tiling: bool | None = None
    """Not offered."""
    enable_hr: bool | None = None
    """Not offered."""
    subseed_strength: Guidance | None = None
    """Not offered, unless 0."""
    styles: Annotated[tuple[ShortText, ...], Field(max_length=64)] | None = None
    """Not offered."""
    script_name: ShortText | None = None
    """Not offered."""
    alwayson_scripts: Annotated[Mapping[str, object], Field(max_length=_MAX_SCRIPTS)] | None = None
    """Not offered, unless without arguments or switched off."""

    @property
    def count(self) -> int:
        """How many pictures are asked for.

        Raises:
            ApiError: 400, when they are too many.
        """
        count = (self.batch_size or 1) * (self.n_iter or 1)
        if count > MAX_PICTURES:
            problem = f"batch_size times n_iter is at most {MAX_PICTURES}, not {count}"
            raise ApiError(400, "invalid_request", problem, "batch_size")
        return count

    @property
    def size(self) -> str | None:
        """The size as other requests have it.

        Raises:
            ApiError: 400, when only one side is given.
        """
        if self.width is None and self.height is None:
            return None
        if self.width is None or self.height is None:
            name = "width" if self.width is None else "height"
            raise ApiError(400, "invalid_request", f"{name} is missing: give both sides, or neither", name)
        return f"{self.width}x{self.height}"

    def task_request(self, catalog: Catalog, chosen: str) -> PictureRequest:
        """Give the same request natively, for the model that was chosen elsewhere unless it names one itself.

        Raises:
            ApiError: 400, by name, when it asks for what is not offered.
        """
        self._check_offered()
        named = (self.override_settings or {}).get("sd_model_checkpoint")
        if named and not (isinstance(named, str) and len(named) <= _MAX_MODEL and named.isprintable()):
            problem = "override_settings: sd_model_checkpoint is the name of a model, as /sdapi/v1/sd-models lists them"
            raise ApiError(400, "invalid_request", problem, "override_settings")
        model = str(named) if named else chosen
        return PictureRequest(
            prompt=self.prompt or "",
            negative_prompt=self.negative_prompt,
            model=model,
            size=self.size,
            steps=self.steps,
            guidance=self.cfg_scale,
            seed=self.seed,
            scheduler=scheduler_of(self.sampler_name or self.sampler_index, catalog.resolve(model)),
        )

    def _check_offered(self) -> None:
        """Refuse what would make another picture than this network can."""
        for name in ("restore_faces", "tiling", "enable_hr", "subseed_strength", "styles", "script_name"):
            if getattr(self, name):
                raise ApiError(400, "not_offered", f"{name} is not offered here: leave it out", name)
        for script, how in (self.alwayson_scripts or {}).items():
            arguments = how.get("args") if isinstance(how, Mapping) else how
            if isinstance(arguments, list | tuple) and not (arguments and arguments[0]):
                continue  # such as [False], by which clients say that an extension is off
            if arguments:
                problem = f"alwayson_scripts: {script[:64]} is not offered here: leave it out"
                raise ApiError(400, "not_offered", problem, "alwayson_scripts")


class SourceFields(PictureFields):
    """What a request for pictures from a picture says."""

    init_images: Annotated[tuple[Picture, ...], Field(min_length=1, max_length=64)]
    """One picture to begin from (PNG, JPEG or WebP), in base64 or as a data URL."""
    mask: Picture | None = None
    """Picture of the same size: where it is light the source is drawn anew."""
    denoising_strength: Guidance | None = None
    """How far the source is left behind, more than 0 and at most 1; the model's default when left out."""
    inpainting_mask_invert: int | None = None
    """Not offered, unless 0: invert the mask before you send it."""

    async def beginning(self) -> Beginning:
        """Look at the picture and the mask.

        Raises:
            ApiError: 400: one of them is no picture that is taken, there are several, or what is asked is not offered.
        """
        first, *others = self.init_images
        if others:
            problem = f"init_images: one picture is taken, not {len(self.init_images)}"
            raise ApiError(400, "invalid_request", problem, "init_images")
        if self.inpainting_mask_invert:
            problem = "inpainting_mask_invert is not offered here: invert the mask before you send it"
            raise ApiError(400, "not_offered", problem, "inpainting_mask_invert")
        source = decode_picture(first, "init_images")
        return await beginning_of(source, decode_picture(self.mask, "mask"), self.denoising_strength, "init_images")


class OptionsRequest(BaseModel):
    """``POST /sdapi/v1/options``: of all options only the model has an effect."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    sd_model_checkpoint: ShortText | None = None
    """The model of requests to come from the same API key or address, until this node restarts."""
