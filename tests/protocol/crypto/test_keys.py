import contextlib
import hashlib
import pickle
import warnings

import base58
import pytest
from eth_keys.datatypes import PrivateKey as ReferenceKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.keys import CURVE_ORDER, NodeKey, address_of_peer_id, keccak256, recover
from protocol.errors import InvalidMessage
from protocol.units import Address, Digest, PeerId
from tests.support.networks import ALICE, BOB

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # libp2p imports what websockets has deprecated
    from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_pair
    from libp2p.crypto.secp256k1 import Secp256k1PrivateKey
    from libp2p.peer.id import ID

secrets = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32).map(Digest)


@given(secrets)
def test_node_key__any_secret__has_the_peer_id_that_libp2p_gives(secret):
    key = NodeKey(secret)
    theirs = Secp256k1PrivateKey.from_bytes(secret).get_public_key()
    assert key.public_key == theirs.to_bytes()
    assert key.peer_id == ID.from_pubkey(theirs).to_base58()


@given(secrets)
def test_node_key__any_secret__has_the_address_that_ethereum_gives(secret):
    assert NodeKey(secret).address == ReferenceKey(secret).public_key.to_canonical_address()


@given(secrets)
def test_address_of_peer_id__of_any_key__is_its_address(secret):
    key = NodeKey(secret)
    assert address_of_peer_id(key.peer_id) == key.address


@pytest.mark.parametrize(
    "secret", [b"", b"\1" * 31, b"\1" * 33, bytes(32), CURVE_ORDER.to_bytes(32, "big"), b"\xff" * 32]
)
def test_node_key__no_secret_of_the_curve__is_refused(secret):
    with pytest.raises(ValueError, match="a node key is 32 bytes"):
        NodeKey(secret)


def test_node_key__shown__tells_the_address_and_no_secret():
    secret = hashlib.sha256(b"alice").digest()
    assert repr(ALICE) == f"NodeKey(0x{ALICE.address.hex()})" == str(ALICE)
    assert secret.hex() not in repr(ALICE)
    assert repr(secret) not in repr(ALICE)


def test_node_key__pickled__fails_rather_than_writing_the_secret():
    with pytest.raises(TypeError):
        pickle.dumps(ALICE)


@given(secrets, digests)
def test_sign__any_digest__is_low_repeatable_and_recovers(secret, digest):
    key = NodeKey(secret)
    signature = key.sign(digest)
    assert len(signature) == 65
    assert signature[64] in {27, 28}
    assert int.from_bytes(signature[32:64], "big") <= CURVE_ORDER // 2
    assert signature == key.sign(digest)
    assert recover(digest, signature) == key.address
    assert ReferenceKey(secret).public_key.to_canonical_address() == key.address


@given(digests)
def test_recover__high_s__is_refused(digest):
    signature = ALICE.sign(digest)
    high = (CURVE_ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    with pytest.raises(ValueError, match="s is high"):
        recover(digest, signature[:32] + high + bytes([55 - signature[64]]))


@given(digests, st.binary(max_size=80))
def test_recover__any_bytes__give_an_address_or_value_error(digest, signature):
    with contextlib.suppress(ValueError):
        assert len(recover(digest, signature)) == 20


@given(digests, st.integers(0, 255))
def test_recover__other_v__never_names_the_signer(digest, v):
    signature = ALICE.sign(digest)
    if v == signature[64]:
        return
    with contextlib.suppress(ValueError):
        assert recover(digest, signature[:64] + bytes([v])) != ALICE.address


@pytest.mark.parametrize(
    "peer",
    [
        "",
        "1" * 53,
        "0" * 53,
        "é" * 53,
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        ALICE.peer_id + "1",
        "1" + ALICE.peer_id,
        ALICE.peer_id[:-1],
        " " + ALICE.peer_id[1:],
        ALICE.peer_id[:-1] + " ",
        str(ID.from_pubkey(ed25519_pair(bytes(32)).public_key)),
        base58.b58encode(bytes([0, 37, 8, 2, 18, 33, 4]) + b"\xff" * 32).decode(),
        base58.b58encode(bytes([0, 37, 8, 2, 18, 33, 2]) + b"\xff" * 32).decode(),
    ],
)
def test_address_of_peer_id__not_a_secp256k1_identity__is_rejected(peer):
    with pytest.raises(InvalidMessage) as caught:
        address_of_peer_id(PeerId(peer))
    assert caught.value.rule == "identity.peer_id"


@given(st.text(alphabet="123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", min_size=53, max_size=53))
def test_address_of_peer_id__any_text__names_a_key_in_its_one_form_or_is_rejected(text):
    try:
        address = address_of_peer_id(PeerId("16Uiu2HA" + text[8:]))
    except InvalidMessage:
        return
    assert len(address) == 20


def test_address_of_peer_id__two_keys__differ():
    assert address_of_peer_id(ALICE.peer_id) != address_of_peer_id(BOB.peer_id)


def test_address_of_peer_id__remembers__a_bounded_number():
    assert address_of_peer_id.cache_info().maxsize == 16_384


def test_keccak256__known_text__is_the_known_digest():
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_node_key__known_secret__has_the_known_address():
    known = Address(bytes.fromhex("7e5f4552091a69125d5dfcb7b8c2659029395bdf"))
    assert NodeKey((1).to_bytes(32, "big")).address == known
