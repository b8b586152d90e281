import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.sealing import seal_body
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.params import MAX_MESSAGE_BYTES
from protocol.wire import codec
from protocol.wire.codec import decode, encode
from protocol.wire.fields import Frozen
from protocol.wire.messages import Abandon, Award, Bulletin, Capability, CapabilityUpdate, SealedBody, TaskSpecification
from tests.support.messages import MESSAGES, largest, messages

ALL = codec.Place(*MESSAGES)
ABANDON = Abandon(task=b"t" * 32, attempt=3, reason="out_of_memory")


def fields(**changes: object) -> dict[str, object]:
    return ABANDON.model_dump() | changes


def rejected(data: bytes) -> str:
    with pytest.raises(InvalidMessage) as caught:
        decode(data, codec.WORK_PLACE)
    return caught.value.rule


def kind_of(model: type[Frozen]) -> str:
    return model.model_fields["kind"].default


@given(st.sampled_from(MESSAGES).flatmap(messages))
def test_decode__any_message_encoded__gives_it_back(message):
    assert decode(encode(message), ALL) == message


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.__name__)
def test_encode__maximum_of_every_field__fits_and_decodes(model):
    message = largest(model)
    data = encode(message)
    assert len(data) <= MAX_MESSAGE_BYTES
    assert decode(data, codec.Place(model)) == message


def test_encode__largest_specification__fits_into_an_award():
    award = largest(Award).model_copy(update={"specification": encode(largest(TaskSpecification))})
    assert decode(encode(award), codec.WORK_PLACE) == award


def test_encode__largest_sealed_body__fits_into_its_specification_and_that_into_an_award():
    sealed = seal_body(b"c" * 32, encode(largest(SealedBody)))
    fields = largest(TaskSpecification).model_dump(exclude={"source", "mask", "strength"})
    plain = {"work": "text_to_image", "prompt": "", "negative_prompt": "", "seed": 0, "embed_prompt": False}
    specification = encode(TaskSpecification.model_validate(fields | plain | {"version": 3, "sealed": sealed}))
    award = largest(Award).model_copy(update={"specification": specification})
    assert decode(encode(award), codec.WORK_PLACE).specification == specification


def test_encode__largest_capability__fits_into_its_update():
    body = encode(largest(Capability))
    assert CapabilityUpdate(body=body, signature=bytes(65)).body == body


def test_places__every_message__stands_in_exactly_one_place():
    places = (
        codec.GOSSIP_PLACE,
        codec.WORK_PLACE,
        codec.ARTIFACT_PLACE,
        codec.CAPABILITY_PLACE,
        codec.SPECIFICATION_PLACE,
        codec.BODY_PLACE,
        codec.APP_PLACE,
        codec.COORDINATOR_PLACE,
    )
    assert sorted(kind for place in places for kind in place.classes) == sorted(kind_of(model) for model in MESSAGES)


def test_encode__more_than_any_peer_reads__is_our_fault():
    class Parcel(Frozen):
        data: bytes

    with pytest.raises(ValueError, match="over 65536"):
        encode(Parcel(data=bytes(MAX_MESSAGE_BYTES)))


@pytest.mark.parametrize("amount", [5, 0, 2**63, b"", b"\1" * 31, b"\1" * 33, "5", None, 5.0])
def test_decode__amount_not_32_bytes__is_rejected(amount):
    award = largest(Award).model_dump()
    award["statement"]["price"] = amount
    assert rejected(msgpack.packb(award)) == "message.malformed"


def test_decode__amount_of_32_bytes__is_an_integer():
    award = largest(Award).model_dump()
    award["statement"]["price"] = (10**24).to_bytes(32, "big")
    decoded = decode(msgpack.packb(award), codec.WORK_PLACE)
    assert isinstance(decoded, Award)
    assert decoded.statement.price == 10**24


@pytest.mark.parametrize(
    "changes",
    [
        {"surplus": 1},
        {"attempt": "3"},
        {"attempt": True},
        {"attempt": 3.0},
        {"attempt": 256},
        {"attempt": -1},
        {"attempt": None},
        {"task": b"t" * 31},
        {"task": b"t" * 33},
        {"task": "t" * 32},
        {"task": tuple(b"t" * 32)},
        {"reason": b"late"},
        {"reason": ""},
        {"reason": "Late"},
        {"reason": "late\n"},
        {"reason": "x" * 49},
        {"kind": None},
        {"kind": b"abandon"},
        {"version": None},
        {"version": "1"},
        {"version": True},
        {"version": 0},
        {"version": -1},
        {"version": 1.0},
    ],
    ids=str,
)
def test_decode__wrong_field__is_rejected(changes):
    assert rejected(msgpack.packb(fields(**changes))) == "message.malformed"


@pytest.mark.parametrize("name", ["kind", "version", "task", "attempt", "reason"])
def test_decode__missing_field__is_rejected(name):
    remaining = {key: value for key, value in fields().items() if key != name}
    assert rejected(msgpack.packb(remaining)) == "message.malformed"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -0.5, 50.5])
def test_decode__number_out_of_range__is_rejected(number):
    specification = largest(TaskSpecification).model_dump() | {"guidance": number}
    with pytest.raises(InvalidMessage, match=r"message\.malformed"):
        decode(msgpack.packb(specification), codec.SPECIFICATION_PLACE)


@pytest.mark.parametrize("name", ["offers", "awards", "closures", "addresses"])
def test_decode__one_element_too_many__is_rejected(name):
    bulletin = largest(Bulletin).model_dump()
    bulletin[name] = (*bulletin[name], bulletin[name][0])
    with pytest.raises(InvalidMessage, match=r"message\.malformed"):
        decode(msgpack.packb(bulletin), codec.GOSSIP_PLACE)


def test_decode__unknown_kind__is_ignored():
    with pytest.raises(IgnoredMessage) as caught:
        decode(msgpack.packb({"kind": "auction", "version": 1, "lots": (1, 2)}), ALL)
    assert caught.value.rule == "message.unknown_kind"


def test_decode__newer_version__is_ignored_whatever_its_fields():
    with pytest.raises(IgnoredMessage) as caught:
        decode(msgpack.packb(fields(version=2, surplus=(1, 2))), codec.WORK_PLACE)
    assert caught.value.rule == "message.newer_version"


@pytest.mark.parametrize("version", [1, 2])
def test_decode__kind_from_another_place__is_rejected(version):
    with pytest.raises(InvalidMessage) as caught:
        decode(msgpack.packb(fields(version=version)), codec.GOSSIP_PLACE)
    assert caught.value.rule == "message.unexpected_kind"


def test_decode__too_many_bytes__is_rejected_before_reading():
    assert rejected(b"\xff" * (MAX_MESSAGE_BYTES + 1)) == "message.oversize"


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.__name__)
def test_decode__cut_anywhere__is_rejected(model):
    data = encode(largest(model))
    for end in [*range(min(len(data), 300)), *range(300, len(data), 97)]:
        with pytest.raises(InvalidMessage, match=r"message\.malformed"):
            decode(data[:end], ALL)


def test_decode__text_that_is_not_utf8__is_rejected():
    data = encode(ABANDON).replace(b"out_of_memory", b"out_of\xff\xfeemory")
    assert rejected(data) == "message.malformed"


def test_decode__key_that_stands_twice__is_rejected():
    entries = list(fields().items())
    packer = msgpack.Packer()
    twice = packer.pack_map_pairs([*entries, ("attempt", 4)])
    assert rejected(twice) == "message.malformed"


def test_decode__fault__is_told_without_the_remote_value():
    with pytest.raises(InvalidMessage) as caught:
        decode(msgpack.packb(fields(reason="A SECRET PROMPT")), codec.WORK_PLACE)
    assert str(caught.value) == "message.malformed: reason: string_pattern_mismatch"
