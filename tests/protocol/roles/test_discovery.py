"""Whom a node dials of those that it finds, and when it looks for more."""

from protocol.effects import Connect, FindProviders, SetTimer
from protocol.events import (
    ProvidersFound,
)
from protocol.roles.discovery import MAX_DIALS, Discovery
from protocol.units import PeerId
from protocol.wire.topics import coordinator_key
from tests.protocol.roles.frames import (
    NOW,
    PARAMS,
)
from tests.protocol.roles.seats import MinerSeat
from tests.support.networks import CAROL


def test_found__more_than_one_round_dials__goes_on_behind_them_and_comes_back() -> None:
    search = Discovery("key", PeerId("own"))
    peers = [PeerId(f"p{index:03}") for index in range(MAX_DIALS + 10)]
    rounds = [[e.peer for e in search.found(peers, (), NOW) if isinstance(e, Connect)] for _ in range(2)]
    assert len(rounds[0]) == len(rounds[1]) == MAX_DIALS
    assert set(rounds[0]) | set(rounds[1]) == set(peers)


def test_found__peer_that_never_connects__is_dialled_again_with_growing_pauses() -> None:
    search = Discovery("key", PeerId("own"))
    pauses = []
    for _ in range(9):
        effects = search.found([PeerId("dead")], (), NOW)
        assert [e.peer for e in effects if isinstance(e, Connect)] == ["dead"]
        pauses += [e.at - NOW for e in effects if isinstance(e, SetTimer)]
    assert pauses[0] == 1000
    assert pauses[-1] == 60_000
    assert pauses == sorted(pauses)


def test_found__peer_that_is_connected_or_ourselves__is_not_dialled() -> None:
    search = Discovery("key", PeerId("own"))
    effects = search.found([PeerId("own"), PeerId("here")], [PeerId("here")], NOW)
    assert not [effect for effect in effects if isinstance(effect, Connect)]


def test_miner__look_up__is_asked_again_after_its_pause() -> None:
    seat = MinerSeat()
    seat.hear(ProvidersFound(coordinator_key(PARAMS.name), (CAROL.peer_id,)))
    effects = seat.wait(1000)
    assert [e.key for e in effects if isinstance(e, FindProviders)] == [coordinator_key(PARAMS.name)]
