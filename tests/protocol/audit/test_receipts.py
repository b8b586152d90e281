"""Where a receipt's parties stood: by tables and by published offers, nobody's word believed. SPEC.md §9.6."""

from dataclasses import replace

import pytest

from protocol.audit.receipts import Drawn, Registered, draw_of, registered_at, views_in
from protocol.audit.record import Heard, ViewSeen
from protocol.errors import InvalidMessage
from protocol.stake.table import EpochView, StakeRow, StakeTable
from protocol.units import Epoch, StakingId
from protocol.wire.statements import ReceiptStatement
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, row, view
from tests.support.signed_gossip import EPOCH, HEAD, PARAMS, ROWS, START, Speaker, offer, ranking, view_of

MIDDLE = START + PARAMS.epoch_s * 500
BEFORE, AFTER = Epoch(EPOCH - 1), Epoch(EPOCH + 1)


def statement(number: int = 0, *, accepted: int = MIDDLE, miner: int = 1, attempt: int = 0) -> ReceiptStatement:
    return ReceiptStatement(
        commitment=bytes(32),
        task=offer(number).task,
        attempt=attempt,
        coordinator=3,
        miner=miner,
        artifact=bytes(32),
        price=10,
        accepted=accepted,
    )


def views(*rows_of: tuple[Epoch, tuple[StakeRow, ...]]) -> dict[Epoch, EpochView]:
    return {epoch: view(epoch, rows) for epoch, rows in rows_of}


WITHOUT_MINER, WITHOUT_COORDINATOR = ROWS[1:], (*ROWS[:2], ROWS[3])
JAILED = (ROWS[0], ROWS[1], coordinator(CAROL, 3, active=False), ROWS[3])
SWAPPED = (row(ALICE, 3), coordinator(CAROL, 1), row(BOB, 2))
ROTATED = (ROWS[0], ROWS[1], coordinator(DAVE, 3))


@pytest.mark.parametrize(
    ("rows", "accepted", "found"),
    [
        ({EPOCH: ROWS}, MIDDLE, CAROL.address),
        ({EPOCH: ROTATED}, MIDDLE, DAVE.address),
        ({EPOCH: WITHOUT_MINER}, MIDDLE, "miner 1 was not active in epoch 28333334"),
        ({EPOCH: WITHOUT_COORDINATOR}, MIDDLE, "coordinator 3 was not active"),
        ({EPOCH: JAILED}, MIDDLE, "coordinator 3 was not active"),
        ({EPOCH: SWAPPED}, MIDDLE, "coordinator 3 was not active"),
        ({EPOCH: WITHOUT_MINER, BEFORE: ROWS}, START + 1, CAROL.address),
        ({EPOCH: WITHOUT_MINER, BEFORE: ROWS}, MIDDLE, "miner 1"),
        ({BEFORE: ROWS, AFTER: ROWS}, MIDDLE, None),
    ],
    ids=["both", "rotated key", "no miner", "no coordinator", "jailed", "roles", "boundary", "too long ago", "unknown"],
)
def test_registered_at__tables_of_the_receipts_moment__decide(
    rows: dict[Epoch, tuple[StakeRow, ...]], accepted: int, found: bytes | str | None
) -> None:
    told = registered_at(statement(accepted=accepted), views(*rows.items()), PARAMS)
    match found:
        case None:
            assert told is None
        case str():
            assert isinstance(told, InvalidMessage)
            assert told.rule == "receipt.unregistered"
            assert found in str(told)
        case _:
            assert isinstance(told, Registered)
            assert told.coordinator_key == found


def test_draw_of__offer_in_the_record__gives_the_miners_place() -> None:
    speaker = Speaker()
    heard = [speaker.say(offers=[offer(0), offer(1)])]
    known = {EPOCH: view_of()}
    for number in (0, 1):
        for place, miner in enumerate(ranking(number)):
            told = draw_of(statement(number, miner=miner), HEAD, heard, known)
            assert told == Drawn(EPOCH, place, 2)
    assert draw_of(statement(0, miner=9), HEAD, heard, known) == Drawn(EPOCH, None, 2)
    assert draw_of(statement(5), HEAD, heard, known) is None, "no such offer"
    assert draw_of(statement(0, attempt=1), HEAD, heard, known) is None, "no such attempt"
    assert draw_of(statement(0), HEAD, heard, {}) is None, "no table"


def test_draw_of__offer_that_its_coordinator_did_not_sign__is_no_offer() -> None:
    good = Speaker().say(offers=[offer(0)])
    other = Speaker(4).say(offers=[offer(0)], coordinator=StakingId(3))
    broken = Heard(good.at, replace(good.publication, sequence=good.publication.sequence + 1))
    garbage = Heard(good.at, replace(good.publication, data=b"no message"))
    for heard in (other, broken, garbage):
        assert draw_of(statement(0), HEAD, [heard], {EPOCH: view_of()}) is None
    assert draw_of(statement(0), HEAD, [good], {EPOCH: view(EPOCH, ROTATED)}) is None


def test_views_in__table_that_was_changed_after_it_was_written__is_left_out() -> None:
    good, changed = view_of(EPOCH), view_of(EPOCH + 1)
    rich = StakeTable.of((*changed.table.rows[1:], row(ALICE, 1, stake=10**30)))
    entries = [ViewSeen(good, good.table.root), ViewSeen(replace(changed, table=rich), changed.table.root)]
    assert views_in(entries) == {EPOCH: good}
