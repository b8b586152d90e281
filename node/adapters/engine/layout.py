"""Lays a loaded pipeline out on its device, as it was chosen. In the engine's child process."""

from typing import Any, Final

import torch

from node.adapters.engine.choices import Choices

CONVOLUTIONS: Final = ("unet", "vae")
"""Parts made of convolutions, to which the order of channels matters."""
DENOISERS: Final = ("unet", "transformer")
"""The part that runs at every step: what compiling is for."""


def lay_out(pipeline: Any, choices: Choices, device: str) -> Any:  # noqa: ANN401  what diffusers loads
    """Bring a pipeline to its device and adapt it; gives it back."""
    for name in CONVOLUTIONS if choices.channels_last else ():
        part = getattr(pipeline, name, None)
        if isinstance(part, torch.nn.Module):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    if choices.attention == "sliced" and hasattr(pipeline, "enable_attention_slicing"):
        pipeline.enable_attention_slicing()
    if choices.tiling and hasattr(pipeline.vae, "enable_tiling"):
        pipeline.vae.enable_tiling()
    if choices.offload == "none":
        pipeline = pipeline.to(device)
    elif choices.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
    for name in DENOISERS if choices.compile else ():
        part = getattr(pipeline, name, None)
        if isinstance(part, torch.nn.Module):
            part.compile()
    return pipeline
