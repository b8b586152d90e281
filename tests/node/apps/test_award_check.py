"""Awards that an app looks up: those who signed must be registered, by the chain's own table of the epoch."""

import pytest

from node.apps.award_check import ChainAwards
from protocol.crypto.typed_data import Domain
from protocol.errors import InvalidMessage, Unavailable
from protocol.stake.table import EpochView
from protocol.units import Address, Digest, Epoch, PeerId, UnixMillis
from protocol.wire.sealed_messages import ShownAward
from tests.protocol.roles.frames import BOB_ID, DOMAIN, EPOCH, NOW, PARAMS
from tests.protocol.roles.sealing import Shown
from tests.support import networks
from tests.support.clock import HandClock
from tests.support.networks import ALICE, BOB, CAROL

HONEST = Shown().shown
NETWORK = PARAMS.network_id(DOMAIN.chain_id, DOMAIN.contract)


async def view(epoch: Epoch) -> EpochView:
    return networks.view(epoch)


def awards(now: int = NOW) -> ChainAwards:
    return ChainAwards(view, DOMAIN, PARAMS, HandClock(UnixMillis(now)))


async def problem_of(shown: ShownAward, *, by: PeerId = CAROL.peer_id, now: int = NOW) -> str:
    with pytest.raises(InvalidMessage) as caught:
        await awards(now).check(by, shown)
    return caught.value.rule


def test_known__network__is_that_of_chain_contract_and_numbers() -> None:
    assert awards().known.network == NETWORK
    other = ChainAwards(view, Domain(1, Address(bytes(20))), PARAMS, HandClock(NOW))
    assert other.known.network != NETWORK


async def test_check__honest_award__tells_the_winners_place() -> None:
    found = await awards().check(CAROL.peer_id, HONEST)
    assert found == f"both are registered in epoch {EPOCH}; the miner was drawn number 1 of 1"


async def test_check__winner_outside_the_draw__says_so() -> None:
    table = networks.view(EPOCH).table
    nobody = bytes(-(-len(table.miners) // 4))
    found = await awards().check(CAROL.peer_id, HONEST.model_copy(update={"field": nobody}))
    assert found.endswith("the miner was not among the 0 that were drawn")


@pytest.mark.parametrize(
    ("changes", "by", "now", "rule"),
    [
        ({}, CAROL, NOW + 10 * PARAMS.epoch_s * 1000, "award.epoch"),
        ({"root": Digest(bytes(32))}, CAROL, NOW, "award.table"),
        ({}, BOB, NOW, "award.unregistered"),
        ({"field": b"\xff\xff\xff"}, CAROL, NOW, "field.length"),
    ],
    ids=["an epoch that is over", "another table", "given by another", "another field"],
)
async def test_check__made_up_award__is_refused_by_name(changes, by, now, rule) -> None:
    assert await problem_of(HONEST.model_copy(update=changes), by=by.peer_id, now=now) == rule


async def test_check__claim_signed_by_another_than_the_miners_key__is_refused_by_name() -> None:
    assert ALICE.address != BOB.address
    claim = HONEST.award.model_copy(update={"miner": BOB_ID})
    assert await problem_of(HONEST.model_copy(update={"award": claim})) == "award.unregistered"


async def test_check__chain_that_does_not_answer__is_unavailable() -> None:
    async def silent(epoch: Epoch) -> EpochView:
        raise Unavailable(f"no table of {epoch}")

    with pytest.raises(Unavailable):
        await ChainAwards(silent, DOMAIN, PARAMS, HandClock(NOW)).check(CAROL.peer_id, HONEST)
