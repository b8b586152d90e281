import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidMessage
from protocol.wire import shape
from protocol.wire.shape import check_shape


def nested(depth: int) -> bytes:
    return b"\x81\xa1a" + b"\x91" * depth + b"\x00"


def wide(count: int, size: int) -> bytes:
    return msgpack.packb({"a": ((0,) * size,) * count})


def depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
small = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=16,
)


@given(st.dictionaries(st.text(), small, max_size=8))
def test_check_shape__whatever_msgpack_writes__is_passed_unless_too_deep(fields):
    packed = msgpack.packb(fields)
    if depth(fields) > shape.MAX_DEPTH:
        with pytest.raises(InvalidMessage, match="too deep"):
            check_shape(packed)
    else:
        check_shape(packed)


@given(st.dictionaries(st.text(max_size=4), scalars, min_size=1, max_size=4), st.data())
def test_check_shape__cut_or_lengthened__is_rejected(fields, data):
    packed = msgpack.packb(fields)
    end = data.draw(st.integers(0, len(packed) - 1))
    for wrong in (packed[:end], packed + b"\xc0"):
        with pytest.raises(InvalidMessage, match=r"message\.malformed"):
            check_shape(wrong)


@pytest.mark.parametrize("first", [0x80, 0xDE, 0xDF])
def test_check_shape__empty_map_in_any_form__is_passed(first):
    check_shape(bytes([first]) + bytes({0x80: 0, 0xDE: 2, 0xDF: 4}[first]))


@pytest.mark.parametrize("value", [None, 1, -1, "text", b"bytes", (), [1], 1.5, True])
def test_check_shape__not_a_map__is_rejected(value):
    with pytest.raises(InvalidMessage, match="a message is a map"):
        check_shape(msgpack.packb(value))


def test_check_shape__at_the_depth_limit__is_passed_and_beyond_rejected():
    check_shape(nested(shape.MAX_DEPTH - 1))
    with pytest.raises(InvalidMessage, match="too deep"):
        check_shape(nested(shape.MAX_DEPTH))


def test_check_shape__at_the_value_limit__is_passed_and_beyond_rejected():
    size = shape.MAX_ARRAY_ITEMS
    check_shape(wide(62, size))
    with pytest.raises(InvalidMessage, match="too many values"):
        check_shape(wide(64, size))


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdc\x00\x41",
        b"\xde\x00\x21",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\x00\x00\x50\x01",
    ],
)
def test_check_shape__announces_more_than_allowed__is_rejected_without_memory(body):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidMessage, match="too long"):
            check_shape(b"\x81\xa1a" + body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("first", [0xC1, 0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8])
def test_check_shape__extension_or_reserved__is_rejected(first):
    with pytest.raises(InvalidMessage, match="not used"):
        check_shape(b"\x81\xa1a" + bytes([first]) + bytes(20))
