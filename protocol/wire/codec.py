"""Turns messages into bytes and received bytes into messages, or into one of two named errors.

A message is a msgpack map with ``kind`` and ``version``. What is received is measured (size, then shape) before
any object is made, and then strictly validated: no coercion, no unknown key, every length bounded, every amount
as 32 bytes. Signatures are never over what this module encodes, but over the bytes that were received.
Spec: SPEC.md §4.2.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast, final, get_args

import msgpack
from pydantic import ValidationError

from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.params import MAX_MESSAGE_BYTES
from protocol.wire.app_messages import AppMessage, CoordinatorMessage
from protocol.wire.fields import FROM_WIRE, Frozen
from protocol.wire.messages import (
    ArtifactHeader,
    Award,
    Capability,
    GossipMessage,
    Message,
    Receipt,
    Result,
    SealedBody,
    TaskSpecification,
    WorkMessage,
)
from protocol.wire.shape import MAX_ARRAY_ITEMS, MAX_MAP_ENTRIES, MAX_TEXT_BYTES, check_shape

_pack: Final = cast("Callable[..., bytes]", msgpack.packb)
_unpack_objects: Final = cast("Callable[..., object]", msgpack.unpackb)  # type: ignore[attr-defined]  # untyped package


def _kind(message_type: type[Frozen]) -> str:
    """Read the kind of a message class from its default."""
    kind: str = message_type.model_fields["kind"].default
    return kind


def _newest(message_type: type[Frozen]) -> int:
    """Read the highest version of a message class from the type of its version."""
    versions: tuple[int, ...] = get_args(message_type.model_fields["version"].annotation)
    return max(versions)


_VERSIONS: Final[dict[str, int]] = {_kind(message_type): _newest(message_type) for message_type in get_args(Message)}
"""The highest version that we read of each kind that we know."""

MessageT = TypeVar("MessageT", bound=Frozen)


@final
class Place(Generic[MessageT]):
    """Where bytes come from, with the messages that may stand there: these alone are what ``decode`` gives."""

    def __init__(self, *classes: type[MessageT]) -> None:
        """Allow messages of these classes, which are members of ``Message``."""
        self.classes: Final = {_kind(message_type): message_type for message_type in classes}


GOSSIP_PLACE: Final = Place[GossipMessage](*get_args(GossipMessage))
"""What may be gossiped."""
WORK_PLACE: Final = Place[WorkMessage](*get_args(WorkMessage))
"""What may stand on a work stream."""
ARTIFACT_PLACE: Final = Place(ArtifactHeader)
"""What may head an artifact stream."""
APP_PLACE: Final = Place[AppMessage](*get_args(AppMessage))
"""What an app may say on a submit stream."""
COORDINATOR_PLACE: Final = Place[CoordinatorMessage](*get_args(CoordinatorMessage))
"""What a coordinator may answer there."""
CAPABILITY_PLACE: Final = Place(Capability)
"""What may be the body of a capability update."""
SPECIFICATION_PLACE: Final = Place(TaskSpecification)
"""What may be the work inside an award."""
BODY_PLACE: Final = Place(SealedBody)
"""What may be sealed inside that."""
AWARD_PLACE: Final = Place(Award)
"""What a coordinator keeps of an attempt."""
RESULT_PLACE: Final = Place(Result)
"""What a miner keeps until its receipt comes."""
RECEIPT_PLACE: Final = Place(Receipt)
"""What is kept of a task that is done, and shown to its app."""


def encode(message: Frozen) -> bytes:
    """Give the bytes of a message of ours.

    Raises:
        ValueError: It is larger than any peer would read. Bounds of the fields make this impossible for the
            messages of the protocol, so it is a fault of the caller.
    """
    data = _pack(message.model_dump(), use_bin_type=True)
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a {type(message).__name__} of {len(data)} bytes is over {MAX_MESSAGE_BYTES}")
    return data


def decode(data: bytes, place: Place[MessageT]) -> MessageT:
    """Read one received message.

    Args:
        data: The bytes as received, exactly one message.
        place: Where these bytes came from.

    Raises:
        InvalidMessage: ``message.oversize``, ``message.malformed`` or ``message.unexpected_kind``: no honest peer
            sends this here.
        IgnoredMessage: ``message.unknown_kind`` or ``message.newer_version``: a newer peer may send this.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidMessage("message.oversize", f"{len(data)} bytes")
    check_shape(data)
    fields = _unpack(data)
    kind, version = fields.get("kind"), fields.get("version")
    if not isinstance(kind, str) or type(version) is not int or version < 1:
        raise InvalidMessage("message.malformed", "kind or version is missing")
    if kind not in _VERSIONS:
        raise IgnoredMessage("message.unknown_kind", kind[:48])
    message_type = place.classes.get(kind)
    if message_type is None:
        raise InvalidMessage("message.unexpected_kind", kind)
    if version > _VERSIONS[kind]:
        raise IgnoredMessage("message.newer_version", f"{kind} {version}")
    try:
        return message_type.model_validate(fields, context=FROM_WIRE)
    except ValidationError as error:
        raise InvalidMessage("message.malformed", _first_fault(error)) from None


def _unpack(data: bytes) -> dict[str, object]:
    """Build the objects of bytes whose shape is checked; the limits stand here again as a second fence."""
    try:
        fields = _unpack_objects(
            data,
            use_list=False,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_unique_keys,
            max_map_len=MAX_MAP_ENTRIES,
            max_array_len=MAX_ARRAY_ITEMS,
            max_str_len=MAX_TEXT_BYTES,
            max_bin_len=MAX_TEXT_BYTES,
            max_ext_len=0,
        )
    except ValueError as error:  # also msgpack's own errors and text that is not UTF-8
        raise InvalidMessage("message.malformed", type(error).__name__) from None
    return cast("dict[str, object]", fields)


def _unique_keys(pairs: list[tuple[object, object]]) -> dict[object, object]:
    """Make a map; refuse a repeated key, of which two decoders could keep different ones."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key stands twice")
    return entries


def _first_fault(error: ValidationError) -> str:
    """Name the first wrong field, without the remote value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part)[:48] for part in first["loc"])
    return f"{place}: {first['type']}"
