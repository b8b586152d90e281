"""Whatever bytes a peer sends: a message or one of two named errors, and never anything else."""

import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.wire.codec import (
    ARTIFACT_PLACE,
    CAPABILITY_PLACE,
    GOSSIP_PLACE,
    SPECIFICATION_PLACE,
    WORK_PLACE,
    Place,
    decode,
    encode,
)
from protocol.wire.fields import Frozen
from tests.support.messages import MESSAGES, largest, messages

PLACES = (GOSSIP_PLACE, WORK_PLACE, ARTIFACT_PLACE, CAPABILITY_PLACE, SPECIFICATION_PLACE)
EVERYWHERE = Place(*MESSAGES)
MUTATIONS_OF_EACH = 400

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=70),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=20,
)


def outcome(data: bytes, place: Place = EVERYWHERE) -> Frozen | None:
    """Decode, let the two named errors pass, and nothing else."""
    try:
        message = decode(data, place)
    except (InvalidMessage, IgnoredMessage) as error:
        assert error.rule.startswith("message.")  # noqa: PT017 - an error here is one of two right ends
        return None
    assert isinstance(message, MESSAGES)
    return message


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Change a valid message as noise, bugs and attackers do."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(changed) + 1)
        match dice.randrange(6):
            case 0:
                changed[place : place + 1] = bytes([dice.randrange(256)])
            case 1:
                changed[place:place] = dice.randbytes(dice.randint(1, 6))
            case 2:
                del changed[place : place + dice.randint(1, 8)]
            case 3:
                start = dice.randrange(len(changed) + 1)
                changed[place:place] = changed[start : start + dice.randint(1, 40)]
            case 4:
                changed[place : place + 1] = dice.choice(
                    [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc1", b"\xd6", b"\x91" * 50, b"\xc0", b"\xcb"]
                )
            case _:
                changed[place : place + 1] = (
                    bytes([changed[place] ^ (1 << dice.randrange(8))]) if place < len(changed) else b""
                )
    return bytes(changed)


@settings(max_examples=500)
@given(st.binary(max_size=400), st.sampled_from(PLACES))
def test_decode__any_bytes__give_a_message_or_a_named_error(data, place):
    outcome(data, place)


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=8), values, max_size=8), st.sampled_from(MESSAGES))
def test_decode__any_msgpack_under_a_known_kind__gives_a_message_or_a_named_error(fields, model):
    known = {name: model.model_fields[name].default for name in ("kind", "version")}
    outcome(msgpack.packb(known | fields | known))


@settings(max_examples=300)
@given(st.sampled_from(MESSAGES).flatmap(lambda model: st.tuples(messages(model), st.data())))
def test_decode__one_field_replaced__gives_a_message_or_a_named_error(drawn):
    message, data = drawn
    fields = message.model_dump()
    name = data.draw(st.sampled_from(sorted(fields)))
    outcome(msgpack.packb(fields | {name: data.draw(values)}))


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.__name__)
def test_decode__mutated_messages__give_a_message_or_a_named_error_and_mean_what_they_say(model):
    dice = random.Random(f"mutations of {model.__name__}")
    data = encode(largest(model))
    for _ in range(MUTATIONS_OF_EACH):
        message = outcome(mutated(data[: dice.choice([len(data), 600])], dice))
        if message is not None:
            assert decode(encode(message), EVERYWHERE) == message
