"""Who would have nothing shown against it by saying nothing of what it serves wins nothing. SPEC.md §8.2, §12.8."""

import pytest

from protocol.crypto.envelope import seal
from protocol.crypto.keys import NodeKey
from protocol.events import StreamClosed
from protocol.units import Digest
from protocol.wire.codec import CAPABILITY_PLACE, WORK_PLACE, decode, encode
from protocol.wire.messages import Award, CapabilityUpdate, Decline
from tests.protocol.roles.frames import PARAMS, SPECIFICATION, artifact_of, capability, result_of
from tests.protocol.roles.seats import CoordinatorSeat, of_kind
from tests.protocol.roles.test_rechecking import HEART, LAST_SLOT_MS, RecheckSeat
from tests.support.networks import ALICE, BOB


def serves(seat: CoordinatorSeat, miner: NodeKey, **changes: object) -> None:
    """A miner says anew what it serves; changes are fields of its model, and with ``None`` it serves nothing."""
    usual = capability(miner, seat.number(miner), sequence=seat.now + 1, expires_at=seat.now + 60_000)
    said = decode(usual.body, CAPABILITY_PLACE)
    models = () if None in changes.values() else tuple(one.model_copy(update=changes) for one in said.models)
    body = encode(said.model_copy(update={"models": models}))
    seat.say(miner, CapabilityUpdate(body=body, signature=seal(miner, seat.identity.network_id, body)))


@pytest.mark.parametrize("leaves", [False, True], ids=["says that it serves nothing", "hangs up"])
def test_on_end__miner_takes_back_what_it_serves_before_it_delivers__its_word_at_the_award_is_kept(
    leaves: bool,
) -> None:
    seat = RecheckSeat()
    serves(seat, ALICE, numerics="mine")
    award = seat.awarded(seat.submit(), ALICE)
    seat.say(ALICE, result_of(award, by=ALICE, data=HEART))
    serves(seat, ALICE, model=None)
    if leaves:
        seat.hear(StreamClosed(ALICE.peer_id))
    seat.hear(artifact_of(award, by=ALICE, data=HEART))
    (drawn,) = seat.last().drawings
    said = decode(drawn.capability, WORK_PLACE)
    assert isinstance(said, CapabilityUpdate)
    assert [one.model for one in decode(said.body, CAPABILITY_PLACE).models] == [SPECIFICATION.model]
    assert drawn.numerics == "mine"


@pytest.mark.parametrize("said", [{"model": None}, {"model": "another"}, {"digest": Digest(b"x" * 32)}])
def test_claim__of_a_miner_whose_word_does_not_name_the_model__is_declined(said: dict[str, object]) -> None:
    seat = RecheckSeat()
    serves(seat, ALICE, **said)
    task = seat.submit()
    seat.wait(3 * LAST_SLOT_MS)
    effects = seat.say(ALICE, seat.claim(ALICE, task)) + seat.wait(300)
    assert of_kind(effects, Award) == []
    assert [decline.statement.reason for decline in of_kind(effects, Decline)] == ["not_served"]


def test_award__to_a_miner_that_says_since_its_claim_that_it_serves_something_else__is_not_made() -> None:
    seat = CoordinatorSeat(miners=(ALICE, BOB))  # alice has rank 0, and bob's claim waits for hers
    task = seat.submit()
    seat.wait(PARAMS.slot_step_ms - 20)
    seat.say(BOB, seat.claim(BOB, task))
    serves(seat, BOB, model="another")
    effects = seat.wait(PARAMS.claim_allowance_ms)
    assert of_kind(effects, Award) == []
    assert [decline.statement.reason for decline in of_kind(effects, Decline)] == ["not_served"]
