from dataclasses import replace

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from libp2p.pubsub.pb import rpc_pb2

from protocol.crypto.publication import Publication, check_publication, signed_bytes
from protocol.errors import InvalidMessage
from protocol.units import PeerId
from tests.support.networks import ALICE, BOB, CAROL
from tests.support.signed_gossip import secret_of

SAID = Publication(CAROL.peer_id, 1_700_000_000_000_000_001, "/cuckoo/1/test/offers/a", b"x" * 300, b"")


def signed(publication: Publication) -> Publication:
    return replace(publication, signature=PrivateKey(secret_of(CAROL)).sign(signed_bytes(publication)))


@given(st.binary(max_size=40_000), st.integers(0, 2**64 - 1), st.text(max_size=200))
def test_signed_bytes__any_publication__is_what_libp2p_signs(data: bytes, sequence: int, topic: str) -> None:
    import base58

    message = rpc_pb2.Message(
        from_id=base58.b58decode(CAROL.peer_id), data=data, seqno=sequence.to_bytes(8, "big"), topicIDs=[topic]
    )
    # Protobuf leaves an empty byte string out only where nobody set it.
    expected = b"libp2p-pubsub:" + message.SerializeToString()
    assert signed_bytes(Publication(CAROL.peer_id, sequence, topic, data, b"")) == expected


def test_check_publication__as_signed__passes() -> None:
    check_publication(signed(SAID))


@pytest.mark.parametrize(
    "changes",
    [
        {"publisher": BOB.peer_id},
        {"publisher": ALICE.peer_id},
        {"sequence": SAID.sequence + 1},
        {"topic": "/cuckoo/1/test/offers/b"},
        {"data": b"y" * 300},
        {"signature": b""},
        {"signature": b"\x30" * 70},
        {"signature": b"\x30" * 4000},
    ],
)
def test_check_publication__anything_changed__is_rejected(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage, match=r"gossip\.signature"):
        check_publication(replace(signed(SAID), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("peer", ["", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "x" * 53, "ü" * 53])
def test_check_publication__publisher_that_is_no_node__is_rejected(peer: str) -> None:
    with pytest.raises(InvalidMessage, match=r"identity\.peer_id"):
        check_publication(replace(signed(SAID), publisher=PeerId(peer)))
