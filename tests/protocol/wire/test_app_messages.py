"""What an order of either version may say."""

import msgpack
import pytest

from protocol.errors import InvalidMessage
from protocol.wire.app_messages import NamedInput, Order
from protocol.wire.codec import APP_PLACE, decode, encode
from protocol.wire.fields import Frozen

PLAIN = {"kind": "order", "version": 1, "order": b"o" * 16, "prompt": "a red heart", "seed": 7}
SOURCE, MASK = {"digest": b"i" * 32, "size": 5}, {"digest": b"k" * 32, "size": 6}
LATER = {"source": SOURCE, "mask": MASK, "strength": 0.5, "may_be_disputed": True}


def read(**fields: object) -> Frozen:
    return decode(msgpack.packb(PLAIN | fields), APP_PLACE)


def test_decode__order_of_version_1__is_read_and_written_without_what_came_later() -> None:
    order = read()
    assert isinstance(order, Order)
    assert (order.version, order.inputs, order.may_be_disputed) == (1, (), False)
    assert not set(LATER) & set(msgpack.unpackb(encode(order)))


def test_decode__order_of_version_2__names_what_it_begins_from() -> None:
    order = read(version=2, **LATER)
    assert isinstance(order, Order)
    assert order.inputs == (NamedInput(digest=b"i" * 32, size=5), NamedInput(digest=b"k" * 32, size=6))  # type: ignore[arg-type]  # bytes stand for digests
    assert decode(encode(order), APP_PLACE) == order


@pytest.mark.parametrize("name", LATER)
def test_decode__order_of_version_1_with_a_field_of_version_2__is_rejected(name: str) -> None:
    with pytest.raises(InvalidMessage, match=r"message\.malformed"):
        read(**{name: LATER[name]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": SOURCE | {"size": 0}},
        {"source": SOURCE | {"size": 8 * 1024 * 1024 + 1}},
        {"source": {"digest": b"i" * 31, "size": 5}},
        {"source": b"i" * 32},
        {"source": SOURCE | {"surplus": 1}},
        {"source": SOURCE, "mask": SOURCE | {"size": 6}},
        {"strength": 1.5},
        {"strength": float("nan")},
        {"may_be_disputed": 1},
    ],
    ids=str,
)
def test_decode__order_that_names_no_pictures_that_can_be__is_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage, match=r"message\.malformed"):
        read(version=2, **wrong)


def test_inputs__one_picture_as_source_and_mask__is_named_once() -> None:
    order = read(version=2, source=SOURCE, mask=SOURCE)
    assert isinstance(order, Order)
    assert len(order.inputs) == 1
