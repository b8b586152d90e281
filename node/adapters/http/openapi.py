"""Makes FastAPI's description of the API whole: every answer with its shape and an example, every refusal, the keys."""

from collections import defaultdict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from node.adapters.http.errors import A1111_PREFIX
from node.adapters.http.openapi_errors import Refusal, refusals_of
from node.adapters.http.openapi_examples import ANSWERS, MEDIA_TYPES, PARAMETERS, REQUESTS

Document = dict[str, Any]  # JSON, as FastAPI makes and types it

_PUBLIC: Final = "/v1/artifacts/"
_JSON: Final = "application/json"
_TEXT: Final = {"type": "string"}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {**_TEXT, "description": "For people; never repeats a prompt."},
                "type": _TEXT,
                "param": {"type": ["string", "null"], "description": "Which field."},
                "code": {**_TEXT, "description": "Stable: what went wrong."},
            },
        }
    },
}
_A1111_ERROR: Final = {
    "type": "object",
    "required": ["error", "detail", "body", "errors"],
    "properties": {
        "error": {**_TEXT, "description": "Stable code: what went wrong."},
        "detail": {**_TEXT, "description": "For people."},
        "body": _TEXT,
        "errors": {**_TEXT, "description": "The same again, where some clients look for it."},
    },
}
_SCHEMES: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, where this coordinator asks for one."},
    "password": {"type": "http", "scheme": "basic", "description": "The API key as the password of any user."},
}


def describe_fully(app: FastAPI) -> None:
    """Have ``/openapi.json`` tell all that this file knows, once ``app`` has all its routes."""
    plain: Callable[[], Document] = app.openapi

    def whole() -> Document:
        if app.openapi_schema is None:
            document = plain()
            components = document.setdefault("components", {})
            components["securitySchemes"] = _SCHEMES
            schemas = components.setdefault("schemas", {})
            schemas |= {"Error": _ERROR, "A1111Error": _A1111_ERROR}
            for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own refusals, in whose place are ours
                schemas.pop(name, None)
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, method, path)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # how FastAPI's documentation says that it is extended


def _complete(operation: Document, method: str, path: str) -> None:
    """Describe one operation."""
    responses: Document = operation["responses"]
    responses.pop("422", None)
    for status, response in responses.items():
        if status.startswith("2"):
            response["content"] = {MEDIA_TYPES.get((method, path), _JSON): _success(method, path)}
    if path == "/readyz":
        not_ready = {"status": "not_ready", "reason": "no miner is connected yet"}
        responses["503"] = {"description": "Not ready", "content": {_JSON: _shaped(not_ready)}}
    if path.startswith(_PUBLIC):
        responses |= {
            "206": {"description": "The part that Range asks for", "content": responses["200"]["content"]},
            "304": {"description": "The app has it already, as If-None-Match says"},
        }
    responses |= _refused(refusals_of(method, path), path)
    if path.startswith(("/v1/", A1111_PREFIX)) and not path.startswith(_PUBLIC):
        operation["security"] = [{"key": []}, {"password": []}, {}]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]
    if (method, path) in REQUESTS:
        (content,) = operation["requestBody"]["content"].values()
        content["example"] = REQUESTS[method, path]


def _success(method: str, path: str) -> Document:
    """Show what success looks like."""
    example = ANSWERS.get((method, path))
    if example is None:
        return {"schema": {"type": "string", "format": "binary"}}
    if MEDIA_TYPES.get((method, path)) == "text/event-stream":
        return {"schema": {}, "example": example}  # one text here, to programs an object for each event
    return _shaped(example)


def _refused(refusals: tuple[Refusal, ...], path: str) -> Document:
    """Describe refusals by their status."""
    by_status: defaultdict[int, list[Refusal]] = defaultdict(list)
    for refusal in refusals:
        by_status[refusal.status].append(refusal)
    name = "A1111Error" if path.startswith(A1111_PREFIX) else "Error"
    described: Document = {}
    for status, here in by_status.items():
        examples = {one.code: {"summary": one.message, "value": one.error.body(path)} for one in here}
        content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}, "examples": examples}}
        described[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
        if any(one.retry_after_s is not None for one in here):
            header = {"description": "Seconds after which to try again", "schema": {"type": "integer"}}
            described[str(status)]["headers"] = {"Retry-After": header}
    return described


def _shaped(example: object) -> Document:
    """Give an example with the shape that follows from it."""
    return {"schema": _shape(example), "example": example}


def _shape(example: object) -> Document:
    """Give the JSON schema of what an example is one of; where the example is null or empty, anything may be."""
    match example:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array", "items": _shape(example[0]) if example else {}}
        case dict():
            return {"type": "object", "properties": {str(name): _shape(value) for name, value in example.items()}}
        case _:
            return {}
