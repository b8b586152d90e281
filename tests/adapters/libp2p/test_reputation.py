"""Credit and bans, by hand-moved time."""

import pytest

from node.adapters.libp2p.reputation import BAN_S, MAX_REMEMBERED, RECOVERY_S, Reputation
from protocol.effects import Offence
from protocol.units import PeerId

ALICE, BOB = PeerId("alice"), PeerId("bob")


@pytest.mark.parametrize("offence", list(Offence))
def test_offend__as_often_as_its_value__banned_by_the_last_alone(offence: Offence) -> None:
    reputation = Reputation()
    answers = [reputation.offend(ALICE, offence, number * 0.01) for number in range(offence.value)]
    assert answers == [False] * (offence.value - 1) + [True]
    assert reputation.is_banned(ALICE, 1.0)
    assert not reputation.is_banned(BOB, 1.0)


def test_offend__slower_than_credit_comes_back__never_banned() -> None:
    reputation = Reputation()
    pause = RECOVERY_S / Offence.MINOR.value
    assert not any(reputation.offend(ALICE, Offence.MINOR, number * pause) for number in range(100))


def test_is_banned__after_its_time__free_with_full_credit() -> None:
    reputation = Reputation()
    assert reputation.offend(ALICE, Offence.FATAL, 0.0)
    assert reputation.is_banned(ALICE, BAN_S - 1)
    assert not reputation.is_banned(ALICE, BAN_S + 1)
    assert not reputation.offend(ALICE, Offence.GRAVE, BAN_S + 1)


def test_offend__more_peers_than_remembered__the_oldest_is_forgotten() -> None:
    reputation = Reputation()
    for number in range(MAX_REMEMBERED + 1):
        reputation.offend(PeerId(str(number)), Offence.FATAL, 0.0)
    assert not reputation.is_banned(PeerId("0"), 1.0)
    assert reputation.is_banned(PeerId("1"), 1.0)
