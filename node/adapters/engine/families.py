"""Which classes of diffusers draw with a model, in the engine's child process.

diffusers would say it of any model, but for that it imports all families that it knows: a second of a child's start.
"""

import inspect
import json
from pathlib import Path
from typing import Any, Final

import diffusers

from node.adapters.engine.weights import INDEX
from protocol.wire.specification import Work

USUAL: Final[dict[str, dict[Work, str]]] = {
    "StableDiffusionPipeline": {
        "image_to_image": "StableDiffusionImg2ImgPipeline",
        "inpaint": "StableDiffusionInpaintPipeline",
    },
    "StableDiffusionXLPipeline": {
        "image_to_image": "StableDiffusionXLImg2ImgPipeline",
        "inpaint": "StableDiffusionXLInpaintPipeline",
    },
    "StableDiffusion3Pipeline": {
        "image_to_image": "StableDiffusion3Img2ImgPipeline",
        "inpaint": "StableDiffusion3InpaintPipeline",
    },
    "LatentConsistencyModelPipeline": {"image_to_image": "LatentConsistencyModelImg2ImgPipeline"},
    "FluxPipeline": {"image_to_image": "FluxImg2ImgPipeline", "inpaint": "FluxInpaintPipeline"},
}
"""Classes that draw from text, as models name them, and those that diffusers' automatic ones choose for other work."""


def folder_class(folder: Path) -> Any:  # noqa: ANN401  diffusers types none of its pipelines
    """Find what loads a folder in diffusers layout, by its index, as a pipeline that draws pictures from text.

    Raises:
        OSError, ValueError, KeyError, TypeError: Its index cannot be read, or names no class.
    """
    name = _named(folder)
    if name in USUAL:
        return getattr(diffusers, name)
    from diffusers.pipelines.auto_pipeline import AutoPipelineForText2Image  # as the head of this file says

    return AutoPipelineForText2Image


def single_file_class(folder: Path) -> Any:  # noqa: ANN401  as above
    """Find what loads a checkpoint in one file whose configuration is this folder.

    Raises:
        OSError, ValueError, KeyError, TypeError: The index cannot be read, or names no class that draws from text.
    """
    name = _named(folder)
    if name in USUAL:
        return getattr(diffusers, name)
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    classes = {known.__name__: known for known in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()}
    if name not in classes:
        raise ValueError(f"{name} draws no pictures from text, as far as diffusers knows")
    return classes[name]


def made_for(pipeline: Any, work: Work) -> Any:  # noqa: ANN401  as above
    """Make the pipeline for other work of the parts of one that draws pictures from text.

    Raises:
        ValueError: There is none for this work.
    """
    usual = USUAL.get(type(pipeline).__name__)
    if usual is None:
        from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image, AutoPipelineForInpainting

        automatic: Any = AutoPipelineForImage2Image if work == "image_to_image" else AutoPipelineForInpainting
        return automatic.from_pipe(pipeline)
    if work not in usual:
        raise ValueError(f"diffusers has no {work} for {type(pipeline).__name__}")
    kind: Any = getattr(diffusers, usual[work])
    # As the automatic classes do. A pipeline's own from_pipe would also change what numbers the parts are made of.
    given = {**pipeline.config, **pipeline.components}
    return kind(**{name: given[name] for name in inspect.signature(kind.__init__).parameters if name in given})


def _named(folder: Path) -> str:
    """Give the class that the index of a folder names."""
    name: str = json.loads((folder / INDEX).read_bytes())["_class_name"]
    return name
