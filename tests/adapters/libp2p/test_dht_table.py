"""Whom a node knows in the DHT, whom it forgets, and whom it tells others of."""

from libp2p.peer.id import ID

from node.adapters.libp2p.dht_records import MAX_KEYS, MAX_KEYS_PER_PROVIDER, MAX_PROVIDERS_PER_KEY, Records
from node.adapters.libp2p.dht_table import ADDRESSES, CLOSEST, Table, place_of
from node.adapters.libp2p.identity import to_libp2p
from tests.support.overlay import peer_of

OWN = to_libp2p(peer_of(1))
PEERS = [to_libp2p(peer_of(number)) for number in range(2, 300)]
ADDRESS = [b"\x04\x7f\x00\x00\x01\x06\x0f\xa1"]


def _table() -> Table:
    return Table(OWN, lambda _peer: True)


def _bucket(peer: ID) -> int:
    return (place_of(peer.to_bytes()) ^ place_of(OWN.to_bytes())).bit_length()


FAR = [peer for peer in PEERS if _bucket(peer) == 256]
"""Half of all: they share one bucket."""


def test_meet__more_than_one_bucket_holds__twenty_of_a_distance_and_the_close_ones_stay() -> None:
    table = _table()
    for peer in PEERS:
        table.meet(peer, ADDRESS)
    assert sum(peer in table for peer in FAR) == CLOSEST
    close = sorted(PEERS, key=lambda peer: place_of(peer.to_bytes()) ^ place_of(OWN.to_bytes()))
    assert all(peer in table for peer in close[:10])


def test_meet__bucket_full_of_hearsay__who_came_takes_a_place() -> None:
    table = _table()
    for peer in FAR[:CLOSEST]:
        table.hear(peer, ADDRESS)
    table.hear(FAR[CLOSEST], ADDRESS)
    assert FAR[CLOSEST] not in table
    table.meet(FAR[CLOSEST], ADDRESS)
    assert FAR[CLOSEST] in table
    assert len(table) == CLOSEST


def test_hear__of_one_that_told_its_addresses_itself__they_stay() -> None:
    table = _table()
    table.meet(PEERS[0], ADDRESS)
    table.hear(PEERS[0], [b"\x04\x01\x01\x01\x01\x06\x0f\xa1"])
    assert table.addresses(PEERS[0]) == tuple(ADDRESS)


def test_closest__met__leaves_out_hearsay_and_the_gone() -> None:
    table = _table()
    table.meet(PEERS[0], ADDRESS)
    table.meet(PEERS[1], ADDRESS)
    table.hear(PEERS[2], ADDRESS)
    table.part(PEERS[1])
    assert table.closest(b"key", met=True) == [PEERS[0]]
    assert set(table.closest(b"key")) == set(PEERS[:3])


def test_closest__many__in_the_order_of_their_distance() -> None:
    table = _table()
    for peer in PEERS[:30]:
        table.meet(peer, ADDRESS)
    target = place_of(b"key")
    known = sorted(table.peers(), key=lambda peer: place_of(peer.to_bytes()) ^ target)
    assert table.closest(b"key", 5) == known[:5]


def test_meet__own_id_no_address_or_refused__not_taken() -> None:
    table = Table(OWN, lambda peer: peer != PEERS[0])
    table.meet(OWN, ADDRESS)
    table.meet(PEERS[1], [])
    table.meet(PEERS[2], [bytes(200)])
    table.meet(PEERS[0], ADDRESS)
    assert len(table) == 0


def test_meet__thousands_of_addresses__four_are_kept() -> None:
    table = _table()
    table.meet(PEERS[0], ADDRESS * 1000)
    assert len(table.addresses(PEERS[0])) == ADDRESSES


def test_forget_refused__one_is_registered_no_more__gone() -> None:
    refused: set[ID] = set()
    table = Table(OWN, lambda peer: peer not in refused)
    for peer in PEERS[:3]:
        table.meet(peer, ADDRESS)
    refused.add(PEERS[1])
    table.forget_refused()
    assert set(table.peers()) == {PEERS[0], PEERS[2]}


def test_grown__new_peer__set_once_and_not_by_the_same_again() -> None:
    table = _table()
    grown = table.grown
    table.meet(PEERS[0], ADDRESS)
    assert grown.is_set()
    grown = table.grown
    table.meet(PEERS[0], ADDRESS)
    assert not grown.is_set()


def test_add__more_providers_than_are_kept__the_oldest_give_way() -> None:
    records = Records(lambda _peer: True)
    for peer in PEERS[: MAX_PROVIDERS_PER_KEY + 1]:
        records.add(b"key", peer, ADDRESS)
    assert len(records.of(b"key")) == MAX_PROVIDERS_PER_KEY
    assert PEERS[0] not in records.of(b"key")


def test_add__one_provider_of_ever_new_keys__only_its_own_are_pushed_out() -> None:
    records = Records(lambda _peer: True)
    honest, greedy = PEERS[:2]
    records.add(b"model", honest, ADDRESS)
    for number in range(MAX_KEYS + 1):
        records.add(b"%d" % number, greedy, ADDRESS)
    assert honest in records.of(b"model")
    kept = [number for number in range(MAX_KEYS + 1) if greedy in records.of(b"%d" % number)]
    assert kept == list(range(MAX_KEYS + 1 - MAX_KEYS_PER_PROVIDER, MAX_KEYS + 1))
