import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidMessage
from protocol.params import MAX_INPUT_BYTES, MAX_INPUT_EDGE
from protocol.task.inputs import MAX_SCANS, check_input, check_inputs
from protocol.wire.messages import TaskSpecification
from tests.support.pictures import jpeg, png, vp8, vp8l, vp8x, webp

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def wanted(source: bytes, mask: bytes | None = None) -> TaskSpecification:
    return TaskSpecification(
        work="image_to_image" if mask is None else "inpaint",
        model="tiny",
        prompt="a cat",
        width=128,
        height=128,
        steps=10,
        guidance=4.0,
        seed=1,
        source=digest(source),
        mask=None if mask is None else digest(mask),
        strength=0.5,
    )


@pytest.mark.parametrize(
    "data",
    [
        png(64, 48),
        jpeg(64, 48),
        jpeg(64, 48, marker=0xC2, before=b"\xff\xff\xff\xe1\x00\x04ab"),
        webp(vp8(64, 48)),
        webp(vp8l(64, 48)),
        webp(vp8x(64, 48), vp8(64, 48)),
    ],
)
def test_check_input__still_picture__gives_its_size(data):
    assert check_input(data) == (64, 48)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a" + bytes(40),
        b"BM" + bytes(60),
        PNG_HEAD,
        PNG_HEAD + b"\x00\x00\x00\x04IDAT" + bytes(8),
        png(64, 48)[:33] + b"\x00\x00\x00\x08acTL" + bytes(12) + png(64, 48)[33:],
        png(64, 48)[:33],
        png(64, 48)[:33] + b"\x00\x00\x00\x00tEXt\x00\x00\x00\x00" * 1100 + png(64, 48)[33:],
        jpeg(64, 48, marker=0xC3),
        jpeg(64, 48)[:12],
        b"\xff\xd8\xff" + b"\xff" * 100_000,
        b"\xff\xd8\xff\x01" + b"\xff\x01" * 1100,
        webp(vp8x(64, 48, flags=2), (b"ANIM", bytes(6))),
        webp((b"EXIF", bytes(20))),
        webp(vp8(64, 48))[:20],
    ],
)
def test_check_input__no_still_picture__is_refused(data):
    with pytest.raises(InvalidMessage) as caught:
        check_input(data)
    assert caught.value.rule == "input.format"


def test_check_input__jpeg_of_endless_scans__is_refused():
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00"
    assert check_input(jpeg(64, 48) + scan * (MAX_SCANS - 1)) == (64, 48)
    with pytest.raises(InvalidMessage) as caught:
        check_input(jpeg(64, 48) + scan * MAX_SCANS)
    assert caught.value.rule == "input.format"


def test_check_input__larger_than_any__is_refused_before_it_is_looked_at():
    with pytest.raises(InvalidMessage) as caught:
        check_input(bytes(MAX_INPUT_BYTES + 1))
    assert caught.value.rule == "input.oversize"


@pytest.mark.parametrize("size", [(MAX_INPUT_EDGE + 1, 16), (16, MAX_INPUT_EDGE + 1), (15, 64), (64, 0)])
@pytest.mark.parametrize("make", [jpeg, lambda *size: webp(vp8(*size))])
def test_check_input__edge_out_of_bounds__is_refused(make, size):
    with pytest.raises(InvalidMessage) as caught:
        check_input(make(*size))
    assert caught.value.rule == "input.pixels"


def test_check_input__bomb__is_refused_by_its_header():
    bomb = png(64, 64).replace((64).to_bytes(4, "big") * 2, (60_000).to_bytes(4, "big") * 2)
    with pytest.raises(InvalidMessage) as caught:
        check_input(bomb)
    assert caught.value.rule == "input.pixels"


@given(
    head=st.sampled_from([PNG_HEAD, b"\xff\xd8\xff", b"RIFF\x00\x00\x00\x00WEBP", b""]), rest=st.binary(max_size=200)
)
def test_check_input__any_bytes__give_a_size_or_a_named_error(head, rest):
    rule = None
    try:
        edges = check_input(head + rest)
    except InvalidMessage as problem:
        edges, rule = (16, 16), problem.rule
    assert rule in {None, "input.format", "input.pixels"}
    assert 16 <= min(edges) <= max(edges) <= MAX_INPUT_EDGE


def test_check_inputs__what_the_task_names__is_passed():
    source, mask = png(64, 48), png(64, 48, seed=9)
    check_inputs(wanted(source), {digest(source): source})
    check_inputs(wanted(source, mask), {digest(source): source, digest(mask): mask})
    turned = png(48, 64, seed=9)
    check_inputs(wanted(source, turned), {digest(source): source, digest(turned): turned})
    check_inputs(wanted(source, source), {digest(source): source})


def test_check_inputs__not_what_the_task_names__is_refused():
    source, mask, other = png(64, 48), png(64, 48, seed=9), png(32, 48)
    plain = TaskSpecification(model="tiny", prompt="a cat", width=16, height=16, steps=1, guidance=1.0, seed=1)
    for specification, inputs, rule in (
        (plain, {digest(source): source}, "input.unexpected"),
        (wanted(source), {}, "input.missing"),
        (wanted(source, mask), {digest(source): source}, "input.missing"),
        (wanted(source, other), {digest(source): source, digest(other): other}, "input.mask"),
        (wanted(b"GIF"), {digest(b"GIF"): b"GIF"}, "input.format"),
    ):
        with pytest.raises(InvalidMessage) as caught:
            check_inputs(specification, inputs)
        assert caught.value.rule == rule
