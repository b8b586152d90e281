"""An example of every request and answer, for the description of the API; a test makes these requests."""

import json
from collections.abc import Mapping
from typing import Final

from node.adapters.http.a1111_lists import ABSENT

TASK: Final = "6ded95a172e1fc5ada9b5709d88623107ec4e5d505babe50dea51d7313f16c4f"
DIGEST: Final = "985a160903fac17d97cf7e30aa929e4a435ac44775792ba7c86c8e8aaaba4e86"
_MODEL: Final = "pocket-emoji"
_PICTURE: Final = "iVBORw0KGgo…"
SMALL_PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAHUlEQVR4AWPgtC8lCTGQpBqoeFQDMSE2GkqDI5QAD/+9AUTydC8A"
    "AAAASUVORK5CYII="
)
"""The smallest PNG that is taken, in base64: 16 by 16 pixels."""
_SIGNATURE: Final = "3c5f…1b"
_PARAMETERS: Final = {"model": _MODEL, "size": "128x128", "steps": 15, "guidance": 4.0, "seed": 7} | {
    "scheduler": None,
    "output_format": "png",
    "work": "text_to_image",
}
_MADE: Final = {"task": TASK, "miner": "7", "attempt": 1, "artifact": DIGEST, "receipt": f"/v1/receipts/{TASK}"}
_OFFERED: Final = {
    "id": _MODEL,
    "object": "model",
    "created": 0,
    "owned_by": "cuckoo",
    "cuckoo": {
        "sizes": ["128x128"],
        "max_steps": 50,
        "max_prompt_tokens": 30,
        "works": ["text_to_image", "image_to_image", "inpaint"],
        "schedulers": ["DDIMScheduler", "EulerDiscreteScheduler"],
        "miners": 3,
        "warm_miners": 2,
    },
}
_CHECKPOINT: Final = {
    "title": _MODEL,
    "model_name": _MODEL,
    "hash": DIGEST[:10],
    "sha256": DIGEST,
    "filename": _MODEL,
    "config": None,
}
_RECEIPT: Final = {
    "kind": "receipt",
    "version": 1,
    "task": TASK,
    "statement": {
        "struct": "Receipt(bytes32 commitment,bytes32 task,uint32 attempt,…)",
        "commitment": "dd8613d4dc36725e463b3b996fab944f5604055db44402b0aca0e84d18e5ff70",
        "task": TASK,
        "attempt": "1",
        "coordinator": "1",
        "miner": "7",
        "artifact": DIGEST,
        "price": "24576000000000000",
        "accepted": "1800000000000",
    },
    "signature": _SIGNATURE,
    "voucher": {
        "struct": "Voucher(uint64 coordinator,uint64 miner,uint256 cumulative,…)",
        "coordinator": "1",
        "miner": "7",
        "cumulative": "24576000000000000",
        "boot": "1800000000",
        "sequence": "5",
        "issued_total": "49152000000000000",
    },
    "voucher_signature": _SIGNATURE,
    "encoded": "hqRraW5kp3JlY2VpcHSn…",
}
_EVENTS: Final = "\n".join(
    (
        "id: 0",
        "event: queued",
        f'data: {{"task":"{TASK}","stage":"queued","at":1800000000000}}',
        "",
        "id: 1",
        "event: progress",
        f'data: {{"task":"{TASK}","stage":"progress","at":1800000000412,"miner":"7","attempt":1,"step":2,"steps":15}}',
        "",
        "",
    )
)
_INFO: Final = json.dumps(
    {"prompt": "a red heart", "all_seeds": [7], "seed": 7, "width": 128, "height": 128, "sd_model_name": _MODEL}
)

REQUESTS: Final[Mapping[tuple[str, str], object]] = {
    ("post", "/v1/images/generations"): {"prompt": "a red heart", "seed": 7, "response_format": "b64_json"},
    ("post", "/v1/tasks"): {"prompt": "a red heart", "seed": 7, "priority": "high"},
    ("post", "/sdapi/v1/txt2img"): {"prompt": "a red heart", "seed": 7, "batch_size": 1},
    ("post", "/v1/images/edits"): {"image": _PICTURE, "prompt": "a blue heart", "strength": 0.6, "seed": 7},
    ("post", "/sdapi/v1/img2img"): {
        "prompt": "a blue heart",
        "init_images": [f"data:image/png;base64,{SMALL_PICTURE}"],
        "denoising_strength": 0.6,
        "seed": 7,
    },
    ("post", "/sdapi/v1/options"): {"sd_model_checkpoint": _MODEL},
}
"""(method, path) -> a body."""

PARAMETERS: Final[Mapping[str, object]] = {
    "task": TASK,
    "digest": DIGEST,
    "model": _MODEL,
    "idempotency-key": "order-66",
    "skip_current_image": False,
}
"""Name of a parameter -> a value."""

ANSWERS: Final[Mapping[tuple[str, str], object]] = {
    ("post", "/v1/images/generations"): {
        "created": 1800000000,
        "data": [{"b64_json": _PICTURE, "cuckoo": {**_MADE, **_PARAMETERS}}],
    },
    ("post", "/v1/images/edits"): {
        "created": 1800000000,
        "data": [{"b64_json": _PICTURE, "cuckoo": {**_MADE, **_PARAMETERS, "work": "image_to_image", "strength": 0.6}}],
    },
    ("post", "/sdapi/v1/img2img"): {
        "images": [_PICTURE],
        "parameters": {"prompt": "a blue heart", "denoising_strength": 0.6, "seed": 7},
        "info": _INFO,
    },
    ("post", "/v1/tasks"): {
        "task": TASK,
        "status": "open",
        "url": f"/v1/tasks/{TASK}",
        "events": f"/v1/tasks/{TASK}/events",
        **_PARAMETERS,
    },
    ("get", "/v1/tasks/{task}"): {
        "task": TASK,
        "status": "open",
        "accepted_at": 1800000000000,
        "deadline": 1800000600000,
        "priority": "normal",
        "price_wei": "24576000000000000",
        "events": f"/v1/tasks/{TASK}/events",
        **_PARAMETERS,
        "waiting": {"state": "offered", "offers": 2, "reasons": {"unclaimed": 1}},
    },
    ("delete", "/v1/tasks/{task}"): {"task": TASK, "cancelled": True},
    ("get", "/v1/tasks/{task}/events"): _EVENTS,
    ("get", "/v1/receipts/{task}"): _RECEIPT,
    ("get", "/v1/models"): {"object": "list", "data": [_OFFERED]},
    ("get", "/v1/models/{model}"): _OFFERED,
    ("get", "/v1/artifacts/{digest}"): None,
    ("post", "/sdapi/v1/txt2img"): {
        "images": [_PICTURE],
        "parameters": {"prompt": "a red heart", "seed": 7, "batch_size": 1},
        "info": _INFO,
    },
    ("get", "/sdapi/v1/progress"): {
        "progress": 0.4,
        "eta_relative": 0.6,
        "state": {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": "cuckoo",
            "job_count": 1,
            "job_timestamp": "20270115080000",
            "job_no": 0,
            "sampling_step": 6,
            "sampling_steps": 15,
        },
        "current_image": None,
        "textinfo": None,
    },
    ("post", "/sdapi/v1/interrupt"): {},
    ("post", "/sdapi/v1/skip"): {},
    ("post", "/sdapi/v1/refresh-checkpoints"): {},
    ("get", "/sdapi/v1/options"): {
        "sd_model_checkpoint": _MODEL,
        "sd_checkpoint_hash": DIGEST,
        "samples_format": "png",
        "CLIP_stop_at_last_layers": 1,
    },
    ("post", "/sdapi/v1/options"): {},
    ("get", "/sdapi/v1/sd-models"): [_CHECKPOINT],
    ("get", "/sdapi/v1/samplers"): [
        {"name": "Default", "aliases": [], "options": {}},
        {"name": "Euler a", "aliases": ["EulerAncestralDiscreteScheduler"], "options": {}},
    ],
    ("get", "/sdapi/v1/schedulers"): [
        {"name": "automatic", "label": "Automatic", "aliases": None, "default_rho": -1.0},
    ],
    **{("get", f"/sdapi/v1/{name}"): value for name, value in ABSENT.items()},
    ("get", "/healthz"): {"status": "ok"},
    ("get", "/readyz"): {"status": "ready"},
    ("get", "/metrics"): "cuckoo_http_requests_total 66.0\n",
}
"""(method, path) -> what success looks like; None is a file."""

MEDIA_TYPES: Final[Mapping[tuple[str, str], str]] = {
    ("get", "/v1/tasks/{task}/events"): "text/event-stream",
    ("get", "/v1/artifacts/{digest}"): "image/png",
    ("get", "/metrics"): "text/plain",
}
"""(method, path) -> what success comes as, where that is not JSON."""
