"""Gossip signatures as upstream makes and checks them."""

import pytest
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator

from node.adapters.libp2p.identity import key_pair_of
from node.adapters.libp2p.signatures import is_signed, signed

TOPIC = "/cuckoo/1/devnet/offers/pocket-emoji"


def _id_of(number: int) -> bytes:
    return bytes((0x00, 0x25)) + key_pair_of(bytes([number]) * 32).public_key.serialize()


def _signed(number: int = 1) -> rpc_pb2.Message:
    message = rpc_pb2.Message(data=b"offer", topicIDs=[TOPIC], from_id=_id_of(number), seqno=bytes(8))
    private = key_pair_of(bytes([number]) * 32).private_key
    message.signature = private.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
    return message


@pytest.mark.parametrize("number", [1, 2])
def test_is_signed__by_the_publisher__is_and_upstream_agrees(number):
    message = _signed(number)
    assert is_signed(message)
    assert signature_validator(message)


def test_signed__message_of_ours__is_what_upstream_makes_of_it():
    bare = rpc_pb2.Message(data=b"offer", topicIDs=[TOPIC], from_id=_id_of(1), seqno=bytes(8))
    message = signed(bare, key_pair_of(bytes([1]) * 32).private_key)
    assert message.signature == _signed().signature
    assert message.key == key_pair_of(bytes([1]) * 32).public_key.serialize()
    assert signature_validator(message)


@pytest.mark.parametrize(
    "changed",
    [
        {"data": b"Offer"},
        {"seqno": b"\1" + bytes(7)},
        {"topicIDs": [TOPIC + "x"]},
        {"from_id": _id_of(2)},
        {"signature": b"no signature"},
        {"signature": b""},
    ],
    ids=["data", "seqno", "topic", "publisher", "garbage", "none"],
)
def test_is_signed__anything_changed__is_not(changed):
    assert is_signed(_signed())  # its key is remembered from now on
    fields = {name.name: value for name, value in _signed().ListFields()}
    assert not is_signed(rpc_pb2.Message(**fields | changed))


def test_is_signed__s_is_high__is_not_as_libsecp256k1_says():
    """Else a forwarder could make a second message of each: the id of a message does not depend on its signature."""
    message = _signed()
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    signature = message.signature
    r_end = 4 + signature[3]
    s = order - int.from_bytes(signature[r_end + 2 :], "big")
    s_bytes = s.to_bytes(33, "big")
    body = signature[2:r_end] + b"\x02" + bytes([len(s_bytes)]) + s_bytes
    message.signature = b"\x30" + bytes([len(body)]) + body
    assert is_signed(message) == signature_validator(message)
    assert not is_signed(message)
