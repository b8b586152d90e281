"""What is sealed opens for whom it is sealed, for what it is sealed, whole and unchanged; and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.sealing import (
    BODY_BLOCK,
    open_body,
    open_key,
    open_picture,
    seal_body,
    seal_key,
    seal_picture,
    sealing_key_of,
)
from protocol.errors import InvalidMessage
from protocol.units import Digest
from protocol.wire.fields import SEALED_KEY_BYTES, SEALED_OVERHEAD

KEYS = st.binary(min_size=32, max_size=32)
DIGESTS = KEYS.map(Digest)
CONTENT = b"c" * 32
SECRET, OTHER = bytes(range(32)), bytes(range(1, 33))
AWARD, LATER = Digest(b"a" * 32), Digest(b"b" * 32)
EPHEMERAL, SALT = b"e" * 32, b"s" * 32
SEALED_KEY = seal_key(CONTENT, sealing_key_of(SECRET), AWARD, EPHEMERAL)
SEALED_BODY = seal_body(CONTENT, b"a red heart")
SEALED_PICTURE = seal_picture(CONTENT, AWARD, b"picture", SALT)


def flipped(data: bytes, bit: int) -> bytes:
    place = bit % (len(data) * 8)
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


@given(KEYS, KEYS, DIGESTS, KEYS)
def test_open_key__sealed_to_this_key_for_this_award__is_the_key(content, secret, award, ephemeral):
    sealed = seal_key(content, sealing_key_of(secret), award, ephemeral)
    assert len(sealed) == SEALED_KEY_BYTES
    assert open_key(sealed, secret, award) == content


@given(KEYS, st.binary(max_size=2000))
def test_open_body__sealed_under_this_key__is_the_body(content, body):
    sealed = seal_body(content, body)
    assert (len(sealed) - 16) % BODY_BLOCK == 0
    assert open_body(content, sealed) == body


@given(KEYS, DIGESTS, st.binary(max_size=2000), KEYS)
def test_open_picture__sealed_for_this_award__is_the_picture(content, award, picture, salt):
    sealed = seal_picture(content, award, picture, salt)
    assert len(sealed) == len(picture) + SEALED_OVERHEAD
    assert open_picture(content, award, sealed) == picture


def test_seal_body__prompts_of_other_lengths__are_equally_long():
    assert len(seal_body(CONTENT, b"a")) == len(seal_body(CONTENT, b"a" * (BODY_BLOCK - 1)))
    assert len(seal_body(CONTENT, b"a" * BODY_BLOCK)) > len(seal_body(CONTENT, b"a"))


def test_seal_picture__two_of_one_award__have_keys_of_their_own():
    first, second = (seal_picture(CONTENT, AWARD, b"same", salt) for salt in (b"1" * 32, b"2" * 32))
    assert first[32:] != second[32:]


@pytest.mark.parametrize(
    ("secret", "award"), [(OTHER, AWARD), (SECRET, LATER)], ids=["by another miner", "for another award"]
)
def test_open_key__sealed_to_another__is_rejected(secret, award):
    with pytest.raises(InvalidMessage, match=r"^sealed\.key"):
        open_key(SEALED_KEY, secret, award)


@pytest.mark.parametrize(
    ("content", "award"), [(b"d" * 32, AWARD), (CONTENT, LATER)], ids=["of another order", "for another award"]
)
def test_open_picture__of_another__is_rejected(content, award):
    with pytest.raises(InvalidMessage, match=r"^sealed\.picture"):
        open_picture(content, award, SEALED_PICTURE)


def test_open_body__of_another_order__is_rejected():
    with pytest.raises(InvalidMessage, match=r"^sealed\.body"):
        open_body(b"d" * 32, SEALED_BODY)


@given(st.integers(min_value=0))
def test_open__one_bit_changed__is_rejected(bit):
    with pytest.raises(InvalidMessage):
        open_body(CONTENT, flipped(SEALED_BODY, bit))
    with pytest.raises(InvalidMessage):
        open_picture(CONTENT, AWARD, flipped(SEALED_PICTURE, bit))
    with pytest.raises(InvalidMessage):
        open_key(flipped(SEALED_KEY, bit), SECRET, AWARD)


def test_open_key__other_form_of_the_same_ephemeral_key__is_rejected():
    # X25519 takes no notice of the last bit of a public key, so it must be bound otherwise.
    with pytest.raises(InvalidMessage):
        open_key(flipped(SEALED_KEY, 255), SECRET, AWARD)


@given(st.integers(min_value=0, max_value=SEALED_KEY_BYTES - 1))
def test_open__cut_off__is_rejected(length):
    with pytest.raises(InvalidMessage):
        open_key(SEALED_KEY[:length], SECRET, AWARD)
    with pytest.raises(InvalidMessage):
        open_body(CONTENT, SEALED_BODY[:length])
    with pytest.raises(InvalidMessage):
        open_picture(CONTENT, AWARD, SEALED_PICTURE[: min(length, len(SEALED_PICTURE) - 1)])


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)], ids=["zero", "one"])
def test_seal_key__to_a_key_with_which_all_agree_on_the_same__is_rejected(point):
    with pytest.raises(InvalidMessage, match=r"^sealed\.recipient"):
        seal_key(CONTENT, point, AWARD, EPHEMERAL)
    with pytest.raises(InvalidMessage, match=r"^sealed\.key"):
        open_key(point + SEALED_KEY[32:], SECRET, AWARD)


def test_open_body__not_filled_up__is_rejected():
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    from protocol.crypto.sealing import _BODY, _derived

    sealed = ChaCha20Poly1305(_derived(CONTENT, b"", _BODY)).encrypt(bytes(12), bytes(BODY_BLOCK), None)
    with pytest.raises(InvalidMessage, match="not filled up"):
        open_body(CONTENT, sealed)
