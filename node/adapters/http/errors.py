"""Every answer that is not a success, in the shape that OpenAI clients read.

``{"error": {"message", "type", "param", "code"}}``; ``code`` is stable and says what went wrong, ``param`` which
field. A message never repeats a prompt.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from node.adapters.http.missing_page import is_for_a_person, missing_page
from protocol.effects import Refused
from protocol.errors import Unavailable
from protocol.task.catalog import Impossible

MAX_MESSAGE_CHARACTERS: Final = 600
"""Longest message: a list of models fits, an echo of the request does not."""
A1111_PREFIX: Final = "/sdapi/"
"""Where the shape of errors is that of AUTOMATIC1111: ``error`` is our ``code``."""
RETRY_AFTER_S: Final = 5
"""When to try again (s) where nothing better is known: a miner joins and claims within it."""
_INSTEAD: Final = (
    (("/v1/v1/", "/images/", "/models", "/tasks"), "an OpenAI client's base_url ends in /v1, once; /docs lists all"),
    (("/v1/images/variations",), "send the picture to /v1/images/edits with a prompt; /docs lists all"),
    (
        ("/v1/chat/", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/audio/"),
        "this network draws pictures, at /v1/images/generations; /docs lists all",
    ),
)
"""How paths begin that clients ask for by mistake, and what they might mean."""

_STATUS: Final = {
    "unknown_model": 404,
    "model_not_pinned": 404,
    "not_found": 404,
    "busy": 429,
    "rate_limited": 429,
    "no_miner": 503,
    "escrow_short": 503,
    "unavailable": 503,
    "stopping": 503,
    "not_ready": 503,
    "not_registered": 503,
    "disk_full": 507,
}
"""Code -> status; what stands here in no other place is a bad request, 400."""
_PARAMETERS: Final = {
    "unknown_model": "model",
    "model_not_pinned": "model",
    "size_not_offered": "size",
    "prompt_empty": "prompt",
    "prompt_too_long": "prompt",
    "content_policy_violation": "prompt",
    "steps_out_of_range": "steps",
    "too_many_steps": "steps",
    "guidance_out_of_range": "guidance",
    "guidance_too_high": "guidance",
    "seed_out_of_range": "seed",
    "scheduler_not_offered": "scheduler",
    "strength_out_of_range": "strength",
    "strength_too_low": "strength",
    "strength_unused": "strength",
    "source_missing": "source",
    "work_not_offered": "model",
    "quality_unused": "output_quality",
    "quality_out_of_range": "output_quality",
    "input_mask": "mask",
}


@dataclass
class ApiError(Exception):
    """The request ends with this answer."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after_s: int | None = None

    def body(self, path: str = "") -> Mapping[str, object]:
        """Give what is answered to a request for ``path``, in the shape of the API that it belongs to."""
        message = self.message[:MAX_MESSAGE_CHARACTERS]
        if path.startswith(A1111_PREFIX):
            return {"error": self.code, "detail": message, "body": "", "errors": message}
        return {"error": {"message": message, "type": _kind(self.status), "param": self.param, "code": self.code}}

    def response(self, path: str = "") -> Response:
        """Give the answer to a request for ``path`` as it goes out."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Basic" if path.startswith(A1111_PREFIX) else "Bearer"
        if self.retry_after_s is None:
            headers["x-should-retry"] = "false"  # OpenAI clients otherwise repeat 409 and 5xx by themselves
        # ASCII escapes: a message may hold half a surrogate pair that a request brought in.
        return Response(json.dumps(self.body(path)), self.status, headers, media_type="application/json")


def invalid(message: str, param: str | None = None) -> ApiError:
    """Give the answer to a request that can never work."""
    return ApiError(400, "invalid_request", message, param)


def impossible(reason: Impossible) -> ApiError:
    """Give the answer to a task that no miner can do."""
    return ApiError(_STATUS.get(reason.code, 400), reason.code, reason.detail, _PARAMETERS.get(reason.code))


def refused(answer: Refused) -> ApiError:
    """Give the answer to a task that the coordinator did not take."""
    status = _STATUS.get(answer.code, 400)
    retry = answer.retry_after_s
    if retry is None and status in {429, 503}:
        retry = RETRY_AFTER_S
    return ApiError(status, answer.code, answer.detail, _PARAMETERS.get(answer.code), retry)


def not_found(what: str) -> ApiError:
    """Give the answer to a name that leads nowhere, or to what belongs to another key."""
    return ApiError(404, "not_found", f"there is no such {what}")


def unavailable(error: Unavailable) -> ApiError:
    """Give the answer while something inside the node does not answer."""
    return ApiError(503, "unavailable", f"try again soon: {error}", retry_after_s=RETRY_AFTER_S)


INTERNAL: Final = ApiError(500, "internal", "this node made a mistake; its log says which")
"""The answer to a request over which a handler failed."""


def answered(error: Exception) -> ApiError:
    """Give the answer to a request whose handler raised this; ``INTERNAL`` where it says nothing to an app."""
    if isinstance(error, ApiError):
        return error
    return unavailable(error) if isinstance(error, Unavailable) else INTERNAL


def install(app: FastAPI, *, has_portal: bool = False) -> None:
    """Make every failure of ``app`` an answer in the one shape; a browser at no page gets one that says where to go."""

    @app.exception_handler(ApiError)
    @app.exception_handler(Unavailable)
    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> Response:
        # What is no answer Starlette raises again after this one, so that the server logs the traceback.
        return answered(error).response(request.url.path)

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return _first_fault(error).response(request.url.path)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            if is_for_a_person(request):
                return missing_page(request.url.path, _hint(request.url.path), has_portal=has_portal)
            return not_found(f"page; {_instead_of(request.url.path)}").response(request.url.path)
        if error.status_code == 405:
            headers = error.headers or {}
            offered = f": send {headers['Allow'].replace(', ', ' or ')}" if "Allow" in headers else ""
            problem = ApiError(405, "method_not_allowed", f"{request.method} is not offered here{offered}")
            answer = problem.response(request.url.path)
            answer.headers.update(headers)
            return answer
        return ApiError(error.status_code, "invalid_request", str(error.detail)).response(request.url.path)


def _first_fault(error: RequestValidationError) -> ApiError:
    """Name the first wrong field. What the request held there is not repeated."""
    fault = error.errors()[0]
    place = [str(part) for part in fault["loc"]]
    if fault["type"] == "json_invalid":
        return invalid("the body is not valid JSON")
    if place == ["body"]:
        return invalid("the body must be a JSON object, sent with Content-Type: application/json")
    name = ".".join(place[1:]) or place[0]
    if fault["type"] == "extra_forbidden":
        return invalid(f"{name} is not a field of this request", name)
    if fault["type"] == "missing":
        return invalid(f"{name} is required", name)
    return invalid(f"{name}: {fault['msg']}", name)


def _instead_of(path: str) -> str:
    """Say where to look instead of a page that there is not."""
    return _hint(path) or "/docs lists all"


def _hint(path: str) -> str:
    """Say what was perhaps meant by a path at which nothing is; empty where nobody knows."""
    return next((hint for starts, hint in _INSTEAD if path.startswith(starts)), "")


def _kind(status: int) -> str:
    """Give the error type that OpenAI uses for a status."""
    if status == 401:
        return "authentication_error"
    if status == 402:
        return "insufficient_quota"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
