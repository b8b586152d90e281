"""What AUTOMATIC1111's web API answers, as its clients parse it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from node.adapters.http.a1111_samplers import sampler_name
from node.adapters.http.orders import Order, Picture
from node.adapters.http.views import Json, picture_view
from protocol.task.catalog import CatalogModel
from protocol.wire.messages import TaskSpecification

_HASH_DIGITS: Final = 10


def model_view(model: CatalogModel) -> Json:
    """Describe a model as a checkpoint; its title is its name."""
    digest = model.digest.hex() if model.digest is not None else None
    return {
        "title": model.name,
        "model_name": model.name,
        "hash": digest and digest[:_HASH_DIGITS],
        "sha256": digest,
        "filename": model.name,
        "config": None,
    }


def options_view(model: CatalogModel) -> Json:
    """Give the options that clients read."""
    return {
        "sd_model_checkpoint": model.name,
        "sd_checkpoint_hash": model.digest.hex() if model.digest is not None else "",
        "samples_format": "png",
        "CLIP_stop_at_last_layers": 1,
    }


def info_text(order: Order, pictures: Sequence[Picture], model: CatalogModel | None) -> str:
    """Say what was drawn: JSON within JSON, as clients expect it; ``cuckoo`` says who drew each picture."""
    first = order.specifications[0]
    seeds = [one.seed for one in order.specifications]
    count = len(seeds)
    digest = model.digest.hex() if model is not None and model.digest is not None else ""
    return json.dumps(
        {
            "prompt": first.prompt,
            "all_prompts": [first.prompt] * count,
            "negative_prompt": first.negative_prompt,
            "all_negative_prompts": [first.negative_prompt] * count,
            "seed": seeds[0],
            "all_seeds": seeds,
            "subseed": seeds[0],
            "all_subseeds": seeds,
            "subseed_strength": 0,
            "width": first.width,
            "height": first.height,
            "sampler_name": sampler_name(first.scheduler, model),
            "cfg_scale": first.guidance,
            "steps": first.steps,
            "batch_size": count,
            "restore_faces": False,
            "face_restoration_model": None,
            "sd_model_name": first.model,
            "sd_model_hash": digest[:_HASH_DIGITS],
            "sd_vae_name": None,
            "sd_vae_hash": None,
            "seed_resize_from_w": -1,
            "seed_resize_from_h": -1,
            "denoising_strength": first.strength,
            "extra_generation_params": {},
            "index_of_first_image": 0,
            "infotexts": [_infotext(one, model) for one in order.specifications],
            "styles": [],
            "job_timestamp": _timestamp(),
            "clip_skip": 1,
            "is_using_inpainting_conditioning": False,
            "version": "cuckoo",
            "cuckoo": [
                picture_view(picture, specification)
                for picture, specification in zip(pictures, order.specifications, strict=True)
            ],
        }
    )


def progress_view(
    done: float, count: int, finished: int, step: int, steps: int, eta_s: float, preview: str | None
) -> Json:
    """Say how far a request is; with a ``count`` of 0 that there is none."""
    return {
        "progress": round(done, 4),
        "eta_relative": round(eta_s, 1),
        "state": {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": "cuckoo" if count else "",
            "job_count": count,
            "job_timestamp": _timestamp(),
            "job_no": finished,
            "sampling_step": step,
            "sampling_steps": steps,
        },
        "current_image": preview,
        "textinfo": None,
    }


def _infotext(one: TaskSpecification, model: CatalogModel | None) -> str:
    """Say what a picture was made of, as people paste it into such programs."""
    negative = f"\nNegative prompt: {one.negative_prompt}" if one.negative_prompt else ""
    strength = "" if one.strength is None else f", Denoising strength: {one.strength:g}"
    return (
        f"{one.prompt}{negative}\nSteps: {one.steps}, Sampler: {sampler_name(one.scheduler, model)}, "
        f"CFG scale: {one.guidance:g}, Seed: {one.seed}, Size: {one.width}x{one.height}, Model: {one.model}{strength}"
    )


def _timestamp() -> str:
    return f"{datetime.now(UTC):%Y%m%d%H%M%S}"
