"""Every refusal of the API, with the status and an example of the words, for the description of the API.

``tests/adapters/http/test_openapi.py`` provokes refusals over all operations, and finds each of them here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.adapters.http.errors import ApiError


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way in which a request ends without what it asked for."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after_s: int | None = None

    @property
    def error(self) -> ApiError:
        """The refusal as the gateway answers it."""
        return ApiError(self.status, self.code, self.message, self.param, self.retry_after_s)


_SCHEDULERS: Final = (
    "pocket-emoji draws with DDIMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, "
    "DPMSolverMultistepScheduler, UniPCMultistepScheduler, not x"
)
_NOT_PINNED: Final = (
    "nobody draws with sd-1.5 here: this network's catalog has no digest of it; there are: pocket-emoji"
)
_FIELDS: Final = (
    Refusal(400, "invalid_request", "size is WIDTHxHEIGHT in pixels, such as 512x512, or auto", "size"),
    Refusal(400, "prompt_empty", "a prompt needs at least one word", "prompt"),
    Refusal(400, "prompt_too_long", "a prompt has at most 2000 characters, this one has 2001", "prompt"),
    Refusal(400, "size_not_offered", "pocket-emoji does not draw 512x512; it offers 128x128", "size"),
    Refusal(400, "steps_out_of_range", "pocket-emoji takes 1 to 50 steps, not 0", "steps"),
    Refusal(400, "too_many_steps", "pocket-emoji takes at most 50 steps, not 51", "steps"),
    Refusal(400, "guidance_out_of_range", "pocket-emoji takes a guidance of 0 to 15, not -1", "guidance"),
    Refusal(400, "guidance_too_high", "pocket-emoji takes a guidance of at most 15, not 16", "guidance"),
    Refusal(400, "scheduler_not_offered", _SCHEDULERS, "scheduler"),
    Refusal(400, "work_not_offered", "pocket-emoji does text_to_image, not inpaint", "model"),
    Refusal(400, "seed_out_of_range", "a seed is at least 0 and less than 2^63", "seed"),
    Refusal(400, "quality_unused", "a PNG keeps every pixel: quality is for webp", "output_quality"),
    Refusal(400, "quality_out_of_range", "quality is 1 to 100", "output_quality"),
    Refusal(404, "unknown_model", "there is no model 'dall-e-4'; there are: pocket-emoji", "model"),
    Refusal(404, "model_not_pinned", _NOT_PINNED, "model"),
)
_SOURCE: Final = (
    Refusal(400, "input_format", "image: not a still picture in PNG, JPEG or WebP", "image"),
    Refusal(400, "input_oversize", "image: 9000000 bytes, at most 8388608 are taken", "image"),
    Refusal(400, "input_pixels", "image: 5000x16 pixels, each edge must have 16 to 4096", "image"),
    Refusal(400, "input_mask", "the mask has 64x64 pixels, its source 128x128", "mask"),
    Refusal(400, "source_missing", "a mask needs the picture that it is for", "source"),
    Refusal(400, "strength_out_of_range", "strength is more than 0 and at most 1, not 0", "strength"),
    Refusal(400, "strength_too_low", "of 15 steps a strength of 0.01 takes none; at least 0.0667 does", "strength"),
    Refusal(400, "strength_unused", "strength says how far a picture is left behind, and none is given", "strength"),
    Refusal(429, "busy", "too many pictures are being sent here now", None, 10),
)
_KEY: Final = (
    Refusal(401, "invalid_api_key", "this API key is not known here: it is mistyped, was revoked, or is another's"),
)
_ORIGIN: Final = (
    Refusal(
        403,
        "foreign_origin",
        "a page of this origin may not call without an API key: see http.cors_origins and http.public_url",
    ),
)
_BODY: Final = (
    Refusal(408, "timeout", "the body did not arrive within 15 s"),
    Refusal(413, "body_too_large", "a request body has at most 65536 bytes"),
)
_RATE: Final = (Refusal(429, "rate_limited", "at most 60 submissions a minute", None, 12),)
_DESK: Final = (Refusal(503, "unavailable", "try again soon: the store does not answer", None, 5),)
_INTERNAL: Final = (Refusal(500, "internal", "this node made a mistake; its log says which"),)
_SPENT: Final = "this costs 0.02 CAI, and this API key may order for 0 CAI more of its 10 CAI of today (UTC)"
_ESCROW: Final = (
    "this coordinator's escrow covers 0.000000 CAI more, and this task costs 0.024576: its owner has to make a "
    "deposit; try another coordinator"
)
_TAKEN: Final = (
    Refusal(402, "spend_limit", _SPENT, None, 3600),
    Refusal(429, "busy", "20000 tasks are waiting here; try another coordinator", None, 5),
    Refusal(503, "no_miner", "no connected miner serves sd-1.5; served now: pocket-emoji", None, 10),
    Refusal(503, "not_registered", "this coordinator is not in the stake table of the current epoch", None, 10),
    Refusal(503, "escrow_short", _ESCROW, None, 60),
    Refusal(503, "stopping", "this node is stopping", None, 5),
    Refusal(507, "disk_full", "the disk of this coordinator is full", None, 30),
    Refusal(400, "content_policy_violation", "content policy: the prompt asks for what is not drawn here", "prompt"),
)
_TWICE: Final = (
    Refusal(409, "idempotency_conflict", "this Idempotency-Key was used with another request", "Idempotency-Key"),
)
_EVERY_MINER_REFUSES: Final = (
    "content policy: every miner that serves this model refuses the prompt by its owner's rules"
)
_DRAWN: Final = (
    Refusal(400, "content_policy", _EVERY_MINER_REFUSES, "prompt"),
    Refusal(410, "artifact_expired", "the picture of task 6ded95a1… is no longer kept"),
    Refusal(502, "task_failed", "the task failed: attempts_exhausted"),
    Refusal(504, "timeout", "no picture within 600 s"),
)
_TASK: Final = (Refusal(404, "not_found", "there is no such task"),)
_SUBMISSION: Final = (*_FIELDS, *_KEY, *_BODY, *_RATE, *_TAKEN, *_DESK)
_A1111_FIELDS: Final = (
    Refusal(400, "invalid_request", "batch_size times n_iter is at most 16, not 24", "batch_size"),
    Refusal(400, "not_offered", "enable_hr is not offered here: leave it out", "enable_hr"),
)

REFUSALS: Final[Mapping[tuple[str, str], tuple[Refusal, ...]]] = {
    ("post", "/v1/images/generations"): (*_SUBMISSION, *_TWICE, *_DRAWN),
    ("post", "/v1/images/edits"): (
        *_SUBMISSION,
        *_SOURCE,
        Refusal(415, "invalid_request", "send a form, with Content-Type: multipart/form-data"),
        *_TWICE,
        *_DRAWN,
    ),
    ("post", "/v1/tasks"): (*_SUBMISSION, *_SOURCE, *_TWICE),
    ("get", "/v1/tasks/{task}"): (*_KEY, *_TASK, *_DESK),
    ("delete", "/v1/tasks/{task}"): (*_KEY, *_TASK, *_DESK),
    ("get", "/v1/tasks/{task}/events"): (
        *_KEY,
        *_TASK,
        Refusal(429, "busy", "you have 32 event streams open, which is all that one caller may have", None, 5),
        *_DESK,
    ),
    ("get", "/v1/receipts/{task}"): (
        *_KEY,
        Refusal(404, "not_found", "there is no such receipt: the task has not ended with a picture"),
        *_DESK,
    ),
    ("get", "/v1/models"): _KEY,
    ("get", "/v1/models/{model}"): (
        *_KEY,
        Refusal(404, "unknown_model", "nobody offers this model now; there are: pocket-emoji", "model"),
    ),
    ("get", "/v1/artifacts/{digest}"): (
        Refusal(404, "not_found", "there is no such artifact, or it has expired"),
        Refusal(416, "range_not_satisfiable", "the file has 2511 bytes"),
        *_DESK,
    ),
    ("post", "/sdapi/v1/txt2img"): (*_SUBMISSION, *_A1111_FIELDS, *_DRAWN),
    ("post", "/sdapi/v1/img2img"): (*_SUBMISSION, *_A1111_FIELDS, *_SOURCE, *_DRAWN),
    ("post", "/sdapi/v1/options"): (
        *_KEY,
        *_BODY,
        Refusal(400, "invalid_request", "the body is not valid JSON"),
        Refusal(404, "unknown_model", "nobody offers this model now; there are: pocket-emoji"),
    ),
    ("get", "/sdapi/v1/progress"): (
        Refusal(400, "invalid_request", "skip_current_image: Input should be a valid boolean"),
        *_KEY,
    ),
}
"""(method, path) -> what it may answer beside success. Other operations under ``/sdapi`` refuse wrong keys only."""


def refusals_of(method: str, path: str) -> tuple[Refusal, ...]:
    """Give what an operation may answer beside success."""
    known = REFUSALS.get((method, path))
    if known is None:
        known = _KEY if path.startswith("/sdapi/") else ()
        if known and method == "post":
            known = (*known, *_BODY)
    if known and method not in {"get", "head"}:
        known = (*known, *_ORIGIN)
    return (*known, *_INTERNAL)
