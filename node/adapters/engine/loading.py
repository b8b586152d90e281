"""Makes a pipeline of a model's files, in the engine's child process.

Rules for editors: only safetensors are read, no code from a model's folder runs, and no network is asked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

import node.adapters.engine.lean  # noqa: F401  before diffusers makes a pipeline
from node.adapters.engine.choices import Wanted, choose, memory_share
from node.adapters.engine.describing import describe
from node.adapters.engine.families import folder_class, single_file_class
from node.adapters.engine.layout import lay_out
from node.adapters.engine.precision import Precision
from node.adapters.engine.styles import StyleFile
from node.adapters.engine.weights import ModelFault, count_weights

ADAPTER: Final = "style"
"""What a LoRA is called while it is put in."""
NUMBERS: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""Torch's names of numbers."""
NO_PIPELINE: Final = ("SafetensorError", "SingleFileComponentError")
"""Names of what the libraries raise for wrong files, of classes that they do not export."""


def load_pipeline(
    folder: Path,
    checkpoint: Path | None,
    device: str,
    precision: Precision,
    wanted: Wanted,
    styles: Sequence[StyleFile] = (),
) -> Any:  # noqa: ANN401  what diffusers loads
    """Load a text-to-image pipeline whose digest is checked already.

    Args:
        folder: In diffusers layout.
        checkpoint: A ``.safetensors`` file with all weights, where the folder's parts hold none.
        device: A torch device name.
        precision: Numbers of all its parts.
        wanted: How its owner wants it laid out.
        styles: LoRAs that are put into its weights, in this order; their digests are checked.

    Raises:
        ModelFault: ``model_corrupt``: the files are no pipeline that draws pictures from text.
    """
    description = describe(device)
    choices = choose(description, precision, count_weights(folder, checkpoint), wanted)
    share = memory_share(wanted.memory_limit_bytes, description.total_bytes)
    if share is not None and description.is_gpu:
        torch.cuda.set_per_process_memory_fraction(share, device)
    numbers = NUMBERS[choices.numbers]
    try:
        pipeline: Any  # what it is depends on the files
        if checkpoint is None:
            pipeline = folder_class(folder).from_pretrained(
                str(folder), dtype=numbers, use_safetensors=True, local_files_only=True
            )
        else:
            pipeline = single_file_class(folder).from_single_file(
                str(checkpoint), config=str(folder), dtype=numbers, local_files_only=True
            )
        for style in styles:
            _put_in(pipeline, style)
        return lay_out(pipeline, choices, device)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        # The last is torch's where a tensor is missing: it cannot move what has no numbers.
        raise ModelFault("model_corrupt", f"{checkpoint or folder}: {error}") from error
    except Exception as error:
        if type(error).__name__ not in NO_PIPELINE:
            raise
        raise ModelFault("model_corrupt", f"{checkpoint or folder}: {error}") from error


def _put_in(pipeline: Any, style: StyleFile) -> None:  # noqa: ANN401  as above
    """Add a LoRA to the weights for good: nothing of it is left beside them, so that it costs no step any time.

    Raises:
        ValueError: It has nothing for this model.
    """
    pipeline.load_lora_weights(
        str(style.path.parent),
        weight_name=style.path.name,
        adapter_name=ADAPTER,
        use_safetensors=True,
        local_files_only=True,
    )
    if not pipeline.get_list_adapters():
        raise ValueError(f"{style.path} has nothing for this model")
    pipeline.fuse_lora(lora_scale=style.weight, safe_fusing=True, adapter_names=[ADAPTER])
    pipeline.unload_lora_weights()
