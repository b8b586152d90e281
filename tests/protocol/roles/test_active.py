"""People are told when the stake table lists their node as active, and when it does no more: they wait for both."""

from protocol.events import ActivityChanged, StakeChanged
from protocol.notes import NoteName
from tests.protocol.roles.frames import ALICE_ID, EPOCH, PARAMS
from tests.protocol.roles.seats import MinerSeat, noted
from tests.support import networks
from tests.support.networks import BOB, row


def test_handle__jailed_and_free_again__says_both_once() -> None:
    seat = MinerSeat()
    (told,) = noted(seat.hear(ActivityChanged(frozenset({ALICE_ID}))), NoteName.NODE_INACTIVE)
    assert told.fields["node"] == ALICE_ID
    assert not noted(seat.hear(ActivityChanged(frozenset({ALICE_ID, 2}))), NoteName.NODE_INACTIVE)
    (told,) = noted(seat.hear(ActivityChanged(frozenset())), NoteName.NODE_ACTIVE)
    assert told.fields["node"] == ALICE_ID


def test_handle__table_of_a_later_epoch_leaves_it_out__says_so_when_that_begins() -> None:
    seat = MinerSeat()
    assert not noted(seat.hear(StakeChanged(networks.view(EPOCH + 2, (row(BOB, 2),)))), NoteName.NODE_INACTIVE)
    begins_ms = (EPOCH + 2) * PARAMS.epoch_s * 1000 - seat.now
    assert not noted(seat.wait(begins_ms - 1), NoteName.NODE_INACTIVE)
    assert len(noted(seat.wait(1), NoteName.NODE_INACTIVE)) == 1
