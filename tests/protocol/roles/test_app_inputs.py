"""Pictures of orders in parts: cut, put together, and refused where they are not what the order names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidMessage
from protocol.params import MAX_INPUT_BYTES
from protocol.roles.app_inputs import ComingInputs, named, parts_of
from protocol.units import Digest
from protocol.wire.app_messages import MAX_INPUT_PART, Order

SOURCE, MASK = bytes(range(256)) * 1000, b"a mask"


def order_of(source: bytes = SOURCE, mask: bytes | None = MASK) -> Order:
    return Order(
        version=2,
        order=b"o" * 16,
        prompt="a red heart",
        seed=7,
        source=named(source),
        mask=None if mask is None else named(mask),
    )


ORDER = order_of()
FILES = {named(file).digest: file for file in (SOURCE, MASK)}
SOURCE_DIGEST, MASK_DIGEST = FILES


def test_parts_of__pictures__are_cut_within_the_bound_and_put_together_again() -> None:
    coming, sizes = ComingInputs(ORDER), []
    assert coming.missing == len(SOURCE) + len(MASK)
    for message, part in parts_of(ORDER, FILES):
        assert (message.order, message.size) == (ORDER.order, len(part))
        sizes.append(message.size)
        coming.take(message.digest, part)
    assert sizes == [MAX_INPUT_PART] * 3 + [len(SOURCE) - 3 * MAX_INPUT_PART, len(MASK)]
    assert not coming.missing
    assert coming.pictures() == FILES


def test_parts_of__one_file_as_source_and_mask__goes_once() -> None:
    assert [part for _, part in parts_of(order_of(MASK, MASK), {MASK_DIGEST: MASK})] == [MASK]


def test_take__other_bytes_than_the_digest_is_of__are_refused_with_the_last_part() -> None:
    coming = ComingInputs(ORDER)
    coming.take(MASK_DIGEST, b"a mas")
    with pytest.raises(InvalidMessage, match=r"input\.digest"):
        coming.take(MASK_DIGEST, b"c")


def test_take__more_bytes_than_the_order_names__are_refused_before_they_are_kept() -> None:
    coming = ComingInputs(ORDER)
    coming.take(MASK_DIGEST, b"a mas")
    with pytest.raises(InvalidMessage, match=r"input\.unexpected"):
        coming.take(MASK_DIGEST, b"kk")
    assert coming.missing == len(SOURCE) + 1


def test_take__again_when_it_is_whole__is_refused() -> None:
    coming = ComingInputs(ORDER)
    coming.take(MASK_DIGEST, MASK)
    with pytest.raises(InvalidMessage, match=r"input\.unexpected"):
        coming.take(MASK_DIGEST, MASK)


def test_take__picture_that_the_order_does_not_name__is_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"input\.unexpected"):
        ComingInputs(ORDER).take(Digest(b"x" * 32), MASK)


@pytest.mark.parametrize("size", [0, MAX_INPUT_BYTES + 1])
def test_named__no_picture_that_may_be_sent__is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        named(bytes(size))


@given(st.lists(st.tuples(st.sampled_from([SOURCE_DIGEST, MASK_DIGEST, Digest(b"x" * 32)]), st.binary(max_size=9))))
def test_take__any_parts__holds_no_more_than_the_order_names(parts: list[tuple[Digest, bytes]]) -> None:
    small = order_of(b"a source")
    coming = ComingInputs(small)
    total = coming.missing
    for digest, part in parts:
        try:
            coming.take(digest, part)
        except InvalidMessage:
            break
    held = sum(map(len, coming.pictures().values()))
    assert held + coming.missing == total
    assert held <= total
