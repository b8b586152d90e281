"""Any message of the protocol, read off its own field bounds: the largest one, and Hypothesis strategies.

A new field or message needs no line here; a new text pattern needs one, and its absence fails the tests.
"""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from protocol.wire.app_messages import SECOND_VERSION_FIELDS as ORDERS_SECOND_VERSION
from protocol.wire.app_messages import Order
from protocol.wire.fields import Frozen
from protocol.wire.messages import Message, OpenedSteps, Result, TaskSpecification
from protocol.wire.specification import SECOND_VERSION_FIELDS, THIRD_VERSION_FIELDS
from protocol.wire.statements import Statement

MESSAGES: tuple[type[Frozen], ...] = get_args(Message)
STATEMENTS: tuple[type[Statement], ...] = tuple(Statement.__subclasses__())

_LONGEST_TEXT = {
    r"^[a-z0-9][a-z0-9._-]{0,63}$": "m" * 64,
    r"^/[!-~]{1,255}$": "/" + "a" * 255,
    r"^[a-z0-9_]{1,48}$": "r" * 48,
}
_LONGEST_TEXT |= {r"^[A-Za-z0-9]{0,64}$": "S" * 64, r"^[a-z0-9-]{1,32}$": "n" * 32}
_WIDE = "\N{GRINNING FACE}"  # four bytes in UTF-8


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    """Collect ge, le, lengths and pattern of an annotation."""
    bounds: dict[str, Any] = {}
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            bounds |= _bounds(entry.metadata)
        for name in ("ge", "le", "gt", "lt", "min_length", "max_length", "pattern"):
            value = getattr(entry, name, None)
            if value is not None:
                bounds[name] = value
    return bounds


def _plain(annotation: Any) -> Any:
    """Look through NewType."""
    return getattr(annotation, "__supertype__", annotation)


def _split(annotation: Any) -> tuple[Any, list[Any]]:
    """Take an Annotated apart."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return inner, metadata
    return annotation, []


def largest(model: type[Frozen]) -> Frozen:
    """The message of this class whose every field is as large on the wire as it may be."""
    fields = {name: _largest_value(info.annotation, info.metadata) for name, info in model.model_fields.items()}
    # A map of fields that stand only together with another: the largest valid message has all of them.
    together = {
        TaskSpecification: {"work": "inpaint", "version": 2, "output": "webp"},  # sealed ones are smaller
        Result: {"version": 2, "media_type": "image/webp"},
        OpenedSteps: {"reason": None},
        Order: {"version": 2},
    }
    alone = {"sealed"} if model is TaskSpecification else set()
    return model(**{name: value for name, value in (fields | together.get(model, {})).items() if name not in alone})


def _largest_value(annotation: Any, metadata: list[Any]) -> Any:
    annotation, more = _split(_plain(annotation))
    annotation, bounds = _plain(annotation), _bounds([*metadata, *more])
    origin = get_origin(annotation)
    if origin is Literal:
        return max(get_args(annotation), key=lambda choice: len(str(choice)))
    if origin in (Union, types.UnionType):
        return _largest_value(next(part for part in get_args(annotation) if part is not type(None)), metadata)
    if origin is tuple:
        return (_largest_value(get_args(annotation)[0], []),) * bounds["max_length"]
    if annotation is bool:
        return True
    if annotation is int:
        return bounds["le"] if "le" in bounds else bounds["lt"] - 1
    if annotation is float:
        return float(bounds["le"])
    if annotation is bytes:
        return b"\xff" * bounds["max_length"]
    if annotation is str:
        return _LONGEST_TEXT[bounds["pattern"]] if "pattern" in bounds else _WIDE * bounds["max_length"]
    return largest(annotation)


def messages(model: type[Frozen]) -> st.SearchStrategy[Frozen]:
    """Strategy for any valid message of this class."""
    fields = {name: _any_value(info.annotation, info.metadata) for name, info in model.model_fields.items()}
    if model is TaskSpecification:
        return st.fixed_dictionaries(fields).map(_consistent)
    if model is Result:
        return st.fixed_dictionaries(fields).map(_of_its_version)
    if model is Order:
        return st.fixed_dictionaries(fields).map(_of_one_file)
    if model is OpenedSteps:
        return st.fixed_dictionaries(fields).map(_either)
    return st.builds(model, **fields)


def _consistent(fields: dict[str, Any]) -> Frozen:
    """Give a specification just the inputs that its kind of work has."""
    drawn = fields["work"] == "text_to_image"
    inputs = {
        "source": None if drawn else fields["source"] or bytes(32),
        "mask": (fields["mask"] or bytes(32)) if fields["work"] == "inpaint" else None,
        "strength": None if drawn else fields["strength"],
    }
    quality = {"quality": None} if fields["output"] == "png" else {}
    if fields["version"] == 3:
        sealed = {"sealed": fields["sealed"] or bytes(272), "work": "text_to_image", "source": None, "mask": None}
        empty = {"prompt": "", "negative_prompt": "", "seed": 0, "embed_prompt": False, "strength": None}
        return TaskSpecification(**fields | quality | sealed | empty)
    later = THIRD_VERSION_FIELDS | (SECOND_VERSION_FIELDS if fields["version"] == 1 else frozenset())
    kept = {name: value for name, value in (fields | quality).items() if name not in later}
    return TaskSpecification(**kept | inputs | {"prompt": fields["prompt"] or "a"})


def _of_its_version(fields: dict[str, Any]) -> Frozen:
    """Give a result a type that its version knows."""
    return Result(**fields | ({"media_type": "image/png"} if fields["version"] == 1 else {}))


def _of_one_file(fields: dict[str, Any]) -> Frozen:
    """Give an order what its version knows, and one size to a picture that is source and mask."""
    if fields["version"] == 1:
        return Order(**{name: value for name, value in fields.items() if name not in ORDERS_SECOND_VERSION})
    source, mask = fields["source"], fields["mask"]
    return Order(**fields | ({"mask": source} if source and mask and source.digest == mask.digest else {}))


def _either(fields: dict[str, Any]) -> Frozen:
    """Give an answer steps, or a reason for none."""
    reason = None if fields["opened"] else fields["reason"] or "not_kept"
    return OpenedSteps(**fields | {"reason": reason})


def _any_value(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    annotation, more = _split(_plain(annotation))
    annotation, bounds = _plain(annotation), _bounds([*metadata, *more])
    origin = get_origin(annotation)
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if origin in (Union, types.UnionType):
        return st.one_of(
            st.none() if part is type(None) else _any_value(part, metadata) for part in get_args(annotation)
        )
    if origin is tuple:
        return st.lists(
            _any_value(get_args(annotation)[0], []),
            min_size=bounds.get("min_length", 0),
            max_size=min(3, bounds["max_length"]),
        ).map(tuple)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(bounds.get("ge", 0), bounds["le"] if "le" in bounds else bounds["lt"] - 1)
    if annotation is float:
        return st.floats(bounds["ge"], bounds["le"], allow_nan=False)
    if annotation is bytes:
        least = bounds.get("min_length", 0)
        return st.binary(min_size=least, max_size=max(least, min(bounds["max_length"], 65)))
    if annotation is str:
        if "pattern" in bounds:
            return st.from_regex(_ascii(bounds["pattern"]), fullmatch=True)
        text = st.characters(exclude_categories=("Cs",))
        return st.text(text, min_size=bounds.get("min_length", 0), max_size=min(bounds["max_length"], 40))
    return messages(annotation)


def _ascii(pattern: str) -> str:
    """Python's $ also matches before a last newline, the validator's does not."""
    return pattern.removeprefix("^").removesuffix("$")
