"""What a specification may name, and what must stand together in it."""

import pytest

from protocol.errors import InvalidMessage
from protocol.wire.codec import SPECIFICATION_PLACE, decode, encode
from protocol.wire.messages import TaskSpecification
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
