"""Evidence bundles: what is reported is exactly what jurors examine, and nothing forged among it passes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.typed_data import digest
from protocol.errors import InvalidMessage
from protocol.justice.bundle import (
    MAX_BUNDLE_BYTES,
    TAG,
    Bundle,
    bundle_digest,
    check_bundle,
    make_bundle,
    read_bundle,
    signers_of_bundle,
)
from protocol.units import Digest, StakingId
from protocol.wire.codec import encode
from protocol.wire.messages import TaskSpecification
from tests.protocol.roles.frames import ALICE_ID, DOMAIN, NETWORK_ID, PICTURE, SPECIFICATION, result_of
from tests.support.disputed import ACCUSED, KEYS, NUMERICS, REPORTER, award_to_bob, bundle_of, disputed, said_by_bob
from tests.support.networks import ALICE, BOB
from tests.support.pictures import png, vp8, webp

DATA = disputed().data()
OTHER_PICTURE = png(128, 128, 8)


def fault_of(bundle: Bundle, accused: StakingId = ACCUSED, reporter: StakingId = REPORTER) -> str:
    with pytest.raises(InvalidMessage) as raised:
        check_bundle(bundle, DOMAIN, accused, reporter)
    return raised.value.rule


def test_read_bundle__what_was_written__is_the_same_and_proves_what_was_signed() -> None:
    bundle = read_bundle(DATA)
    assert bundle == disputed()
    assert bundle.data() == DATA
    assert (bundle.accused, bundle.coordinator, bundle.specification) == (ACCUSED, REPORTER, SPECIFICATION)
    check_bundle(bundle, DOMAIN, ACCUSED, REPORTER)
    assert signers_of_bundle(bundle, DOMAIN, NETWORK_ID) == KEYS


@given(st.binary(max_size=2000) | st.binary(max_size=300).map(lambda more: TAG + more))
def test_read_bundle__any_bytes__are_refused_by_name_or_written_back_as_they_were(data: bytes) -> None:
    rule = "bundle.form"
    try:
        bundle = read_bundle(data)
    except InvalidMessage as error:
        rule = error.rule
    else:
        assert bundle.data() == data
    assert rule == "bundle.form"


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_read_bundle__any_byte_changed__is_another_bundle_and_none_that_passes(place: int, flip: int) -> None:
    changed = bytearray(DATA)
    changed[place] ^= flip
    assert bundle_digest(bytes(changed)) != bundle_digest(DATA)
    try:
        bundle = read_bundle(bytes(changed))
        assert bundle.data() == bytes(changed)
        check_bundle(bundle, DOMAIN, ACCUSED, REPORTER)
        keys = signers_of_bundle(bundle, DOMAIN, NETWORK_ID)
    except InvalidMessage:
        return
    # All that nobody signed is how long the miner says that it took; and keys are for the chain to know.
    good, took = disputed(), {"generation_ms": bundle.result.generation_ms}
    read = (bundle.award, bundle.result, bundle.said, bundle.specification, bundle.picture)
    assert keys != KEYS or read == (
        good.award,
        good.result.model_copy(update=took),
        good.said,
        SPECIFICATION,
        PICTURE,
    )


@given(st.integers(0, len(DATA) - 1))
def test_read_bundle__cut_short__is_refused_or_shows_another_picture(length: int) -> None:
    try:
        bundle = read_bundle(DATA[:length])
    except InvalidMessage:
        return
    assert fault_of(bundle) == "bundle.artifact"


def test_read_bundle__larger_than_any_can_be__is_refused_unread() -> None:
    with pytest.raises(InvalidMessage, match=r"bundle\.form"):
        read_bundle(TAG + bytes(MAX_BUNDLE_BYTES))


def test_read_bundle__good_but_for_its_tag__is_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"bundle\.form"):
        read_bundle(b"x" + DATA[1:])


@pytest.mark.parametrize("lying", [2**32 - 1, 70_000, 5_000])
def test_read_bundle__part_that_is_longer_than_it_says__is_refused(lying: int) -> None:
    data = TAG + lying.to_bytes(4, "big") + bytes(4_000)
    with pytest.raises(InvalidMessage, match=r"bundle\.form"):
        read_bundle(data)


def test_make_bundle__messages_of_other_kinds_or_no_picture__is_refused() -> None:
    good = disputed()
    for parts in (
        (good.result_bytes, good.result_bytes, good.said_bytes, PICTURE),
        (good.award_bytes, good.award_bytes, good.said_bytes, PICTURE),
        (good.award_bytes, good.result_bytes, good.award_bytes, PICTURE),
        (good.award_bytes, good.result_bytes, b"", PICTURE),
        (good.award_bytes, good.result_bytes, good.said_bytes, b""),
    ):
        with pytest.raises(InvalidMessage, match=r"bundle\.form"):
            make_bundle(*parts)


FORGED: dict[str, tuple[Any, str]] = {
    "another picture than was signed for": (lambda: disputed(shown=OTHER_PICTURE), "bundle.artifact"),
    "a commitment for another award": (lambda: disputed(result={"award": b"x" * 32}), "bundle.commitment"),
    "a commitment of another attempt": (lambda: disputed(result={"attempt": 3}), "bundle.commitment"),
    "a commitment to another specification": (
        lambda: disputed(result={"specification": b"x" * 32}),
        "bundle.commitment",
    ),
    "a specification that the award does not name": (
        lambda: disputed(award={"specification": b"x" * 32}),
        "bundle.specification",
    ),
    "another miner's capability": (lambda: disputed(said=said_by_bob(miner=ALICE_ID)), "bundle.capability"),
    "a capability without that model": (lambda: disputed(said=said_by_bob(model="other")), "bundle.capability"),
    "a capability of another model by its name": (
        lambda: disputed(said=said_by_bob(digest=b"x" * 32)),
        "bundle.capability",
    ),
    "a file that is no picture": (lambda: disputed(picture=b"no picture at all"), "artifact.signature"),
    "a picture of another size": (lambda: disputed(picture=png(64, 64, 7)), "artifact.size"),
}


@pytest.mark.parametrize("name", FORGED)
def test_check_bundle__forged__is_refused_by_name(name: str) -> None:
    make, rule = FORGED[name]
    assert fault_of(make()) == rule


def test_check_bundle__picture_of_another_length_than_its_miner_said__is_refused() -> None:
    award = award_to_bob()
    said = result_of(award, by=BOB).model_copy(update={"size": len(PICTURE) + 1})
    assert fault_of(bundle_of(award, said, PICTURE)) == "bundle.artifact"


def test_check_bundle__picture_in_another_format_than_was_ordered__is_refused() -> None:
    award, picture = award_to_bob(), webp(vp8(128, 128))
    said = result_of(award, by=BOB, data=picture).model_copy(update={"version": 2, "media_type": "image/webp"})
    assert fault_of(bundle_of(award, said, picture)) == "bundle.artifact"


def test_check_bundle__another_prompt_beside_the_award__is_refused() -> None:
    award = award_to_bob()
    other = encode(SPECIFICATION.model_copy(update={"prompt": "something else"}))
    forged = award.model_copy(update={"specification": other})
    assert fault_of(bundle_of(forged, result_of(award, by=BOB), PICTURE)) == "bundle.specification"


def test_check_bundle__of_another_miner_or_coordinator_than_the_dispute_says__is_refused() -> None:
    assert fault_of(disputed(), accused=ALICE_ID) == "bundle.parties"
    assert fault_of(disputed(), reporter=StakingId(9)) == "bundle.parties"


def test_check_bundle__sealed_work_or_work_that_begins_from_pictures__is_refused() -> None:
    award = award_to_bob()
    sealed = award.model_copy(update={"sealed_key": b"k" * 32})
    assert fault_of(bundle_of(sealed, result_of(award, by=BOB), PICTURE)) == "bundle.sealed"
    body = {"version": 3, "prompt": "", "negative_prompt": "", "seed": 0, "sealed": b"s" * 272}
    closed = TaskSpecification.model_validate(SPECIFICATION.model_dump() | body | {"output": "png"})
    assert fault_of(disputed(work=closed)) == "bundle.sealed", "its app says the key to its miner alone"
    begun = SPECIFICATION.model_copy(update={"work": "image_to_image", "source": Digest(b"s" * 32), "strength": 0.5})
    assert fault_of(disputed(work=begun)) == "bundle.inputs"


def test_numerics__of_the_accused__is_its_own_word_and_for_this_network() -> None:
    assert disputed().numerics == NUMERICS
    assert disputed(said=said_by_bob(numerics="any")).numerics == "any"
    forged = disputed(said=said_by_bob(network=Digest(b"n" * 32)))
    assert signers_of_bundle(forged, DOMAIN, NETWORK_ID)[1] != BOB.address


def test_signers_of_bundle__signed_by_somebody_else__gives_that_key() -> None:
    award = award_to_bob(by=ALICE)
    assert signers_of_bundle(bundle_of(award, result_of(award, by=BOB), PICTURE), DOMAIN, NETWORK_ID) == (
        *KEYS[:2],
        ALICE.address,
    )
    award = award_to_bob()
    assert signers_of_bundle(bundle_of(award, result_of(award, by=ALICE), PICTURE), DOMAIN, NETWORK_ID) == (
        ALICE.address,
        *KEYS[1:],
    )
    assert digest(DOMAIN, award.statement) == disputed().result.commitment.award
