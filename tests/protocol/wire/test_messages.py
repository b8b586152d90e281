"""What a specification may name, and what must stand together in it."""

import msgpack
import pytest
from pydantic import ValidationError

from protocol.errors import InvalidMessage
from protocol.wire.codec import SPECIFICATION_PLACE, decode, encode
from protocol.wire.messages import Result, TaskSpecification
from protocol.wire.statements import CommitmentStatement
from tests.protocol.roles.frames import SPECIFICATION

PICTURE, MASK = b"i" * 32, b"k" * 32
WHOLE = {
    "text_to_image": {},
    "image_to_image": {"source": PICTURE, "strength": 0.5},
    "inpaint": {"source": PICTURE, "mask": MASK, "strength": 1.0},
}
WRONG: list[tuple[str, dict[str, object]]] = [
    ("text_to_image", {"source": PICTURE}),
    ("text_to_image", {"mask": MASK}),
    ("text_to_image", {"strength": 0.5}),
    ("image_to_image", {}),
    ("image_to_image", {"source": PICTURE, "mask": MASK}),
    ("inpaint", {"source": PICTURE}),
    ("inpaint", {"mask": MASK}),
    ("inpaint", {"source": PICTURE, "mask": MASK, "strength": 1.5}),
    ("upscale", {}),
    ("text_to_image", {"scheduler": "no spaces"}),
    ("text_to_image", {"numerics": ""}),
]


def encoded(work: str, inputs: dict[str, object]) -> bytes:
    return encode(SPECIFICATION.model_copy(update={"work": work, **inputs}))


@pytest.mark.parametrize("work", WHOLE)
def test_decode__specification_with_all_inputs_of_its_work__is_read(work):
    message = decode(encoded(work, WHOLE[work]), SPECIFICATION_PLACE)
    assert isinstance(message, TaskSpecification)
    assert (message.work, message.source) == (work, WHOLE[work].get("source"))


@pytest.mark.parametrize(("work", "inputs"), WRONG)
def test_decode__specification_with_inputs_of_other_work__is_rejected(work, inputs):
    with pytest.raises(InvalidMessage) as caught:
        decode(encoded(work, inputs), SPECIFICATION_PLACE)
    assert caught.value.rule == "message.malformed"


@pytest.mark.parametrize("field", ["output", "quality", "embed_prompt"])
def test_decode__specification_of_version_1_with_a_field_of_version_2__is_rejected(field):
    value = {"output": "png", "quality": None, "embed_prompt": False}[field]
    known = {"kind": "specification", "version": 1, "model": "tiny", "prompt": "a cat", "width": 64, "height": 64}
    fields = known | {"steps": 4, "guidance": 1.0, "seed": 1, field: value}
    with pytest.raises(InvalidMessage) as caught:
        decode(msgpack.packb(fields), SPECIFICATION_PLACE)
    assert caught.value.rule == "message.malformed"
    assert getattr(decode(msgpack.packb(fields | {"version": 2}), SPECIFICATION_PLACE), field) == value


def test_encode__specification_of_version_1__has_no_field_of_version_2():
    plain = TaskSpecification(model="tiny", prompt="a cat", width=64, height=64, steps=4, guidance=1.0, seed=1)
    written = msgpack.unpackb(encode(plain))
    assert not {"output", "quality", "embed_prompt"} & written.keys()
    second = msgpack.unpackb(encode(plain.model_copy(update={"version": 2})))
    assert {"output", "quality", "embed_prompt"} <= second.keys()


def test_decode__webp_in_a_result_of_version_1__is_rejected():
    with pytest.raises(ValidationError, match="version 1 knows image/png only"):
        Result(
            commitment=CommitmentStatement(
                award=b"a" * 32,
                task=b"t" * 32,
                attempt=0,
                miner=1,
                specification=b"s" * 32,
                model=b"m" * 32,
                artifact=b"p" * 32,
                fingerprint=b"f" * 32,
            ),
            signature=b"s" * 65,
            media_type="image/webp",
            size=10,
            generation_ms=1,
        )
