"""Slashing for a total that rose by less than the promises it is the sum of."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import NodeKey
from protocol.justice.evidence import Signed, Understated, of_vouchers
from protocol.wire.statements import VoucherStatement
from tests.contracts.market import BOBS, CAROLS, COORDINATOR, Market, fields
from tests.contracts.proofs import SLASH_BPS, voucher
from tests.support.anvil import Reverted
from tests.support.evidence import understated

Rise = tuple[VoucherStatement, VoucherStatement]


def promise(sequence: int, cumulative: int, total: int, miner: int = BOBS, **changed: Any) -> VoucherStatement:
    return voucher(sequence=sequence, cumulative=cumulative, issued_total=total, miner=miner, **changed)


def arguments(
    market: Market, early: VoucherStatement, late: VoucherStatement, rises: tuple[Rise, ...], key: NodeKey | None
) -> tuple[Any, ...]:
    def signed(one: VoucherStatement) -> tuple[Any, ...]:
        return fields(one), market.sign(one, key)

    named = [(signed(before), signed(after)) for before, after in rises]
    return signed(early), signed(late), named, market.world.carol


def prove_understated(
    market: Market, early: VoucherStatement, late: VoucherStatement, *rises: Rise, key: NodeKey | None = None
) -> list[dict[str, Any]]:
    world = market.world
    return world.anvil.send(
        world.carol, world.slashing, "prove_understated", *arguments(market, early, late, rises, key)
    )


FIRST = promise(1, 100, 1000)
LAST = promise(5, 150, 1049)
"""Bob's promise rose by 50 while the total rose by 49."""


def test_prove_understated__one_promise_rose_by_more_than_the_total__slashes_once_for_the_boot(market: Market):
    before = market.world.node(COORDINATOR)["effective_stake"]
    (event,) = prove_understated(market, FIRST, LAST, (FIRST, LAST))
    assert (event["id"], event["kind"], event["slashed"]) == (COORDINATOR, 6, before * SLASH_BPS // 10_000)
    assert event["subject"] == (7).to_bytes(32, "big")
    assert market.world.node(COORDINATOR)["active"] is False
    with pytest.raises(Reverted, match="Slashing: this was proven and slashed already"):
        prove_understated(market, promise(10, 0, 9), promise(11, 0, 8))
    assert prove_understated(market, promise(10, 0, 9, boot=8), promise(11, 0, 8, boot=8))


def test_prove_understated__total_rose_by_as_much__is_refused(market: Market):
    late = promise(5, 150, 1050)
    with pytest.raises(Reverted, match="Slashing: the total rose by as much as the promises"):
        prove_understated(market, FIRST, late, (FIRST, late))


def test_prove_understated__total_fell__needs_no_rise_and_equal_is_honest(market: Market):
    with pytest.raises(Reverted, match="Slashing: the total rose by as much as the promises"):
        prove_understated(market, FIRST, promise(2, 1, 1000, CAROLS))
    assert prove_understated(market, FIRST, promise(2, 1, 999, CAROLS))


def test_prove_understated__two_miners_together__is_a_proof_and_each_alone_is_not(market: Market):
    bobs = (promise(1, 0, 1000), promise(3, 30, 1030))
    carols = (promise(2, 0, 1000, CAROLS), promise(4, 30, 1059, CAROLS))
    for alone in (bobs, carols):
        with pytest.raises(Reverted, match="Slashing: the total rose by as much as the promises"):
            prove_understated(market, bobs[0], carols[1], alone)
    assert prove_understated(market, bobs[0], carols[1], bobs, carols)


def test_prove_understated__eight_miners__is_a_proof_and_a_ninth_does_not_fit(market: Market):
    rises = [(promise(n, 0, 1000, n), promise(20 + n, 10, 1079, n)) for n in range(1, 10)]
    early, late = promise(0, 0, 1000), promise(40, 0, 1079)
    with pytest.raises(Reverted):
        prove_understated(market, early, late, *rises)
    with pytest.raises(Reverted, match="Slashing: the total rose by as much as the promises"):
        prove_understated(market, early, late, *rises[:7])
    assert prove_understated(market, early, late, *rises[:8])


BAD = {
    "a span of nothing": (FIRST, FIRST, (), "the late voucher is not later than the early one"),
    "a span backwards": (LAST, FIRST, (), "the late voucher is not later than the early one"),
    "two boots": (FIRST, promise(5, 150, 1, boot=8), (), "the vouchers are of two boots"),
    "two coordinators": (FIRST, promise(5, 150, 1, coordinator=2), (), "the vouchers are of two coordinators"),
    "a miner twice": (FIRST, LAST, ((FIRST, LAST), (FIRST, LAST)), "a miner is named twice"),
    "two miners in one rise": (FIRST, LAST, ((FIRST, promise(5, 150, 1, CAROLS)),), "a rise is between two miners"),
    "before the span": (FIRST, LAST, ((promise(0, 0, 0), LAST),), "a voucher is earlier than the early one"),
    "after the span": (FIRST, LAST, ((FIRST, promise(6, 999, 999)),), "a voucher is later than the late one"),
    "a rise backwards": (FIRST, LAST, ((LAST, FIRST),), "the vouchers of a rise are not in order"),
    "a rise of nothing": (FIRST, LAST, ((FIRST, FIRST),), "the vouchers of a rise are not in order"),
    "a fall": (FIRST, LAST, ((FIRST, promise(3, 99, 1000)),), "a named promise fell"),
    "a rise of another boot": (FIRST, LAST, ((FIRST, promise(3, 999, 1000, boot=8)),), "the vouchers are of two boots"),
    "a rise of another coordinator": (
        FIRST,
        LAST,
        ((FIRST, promise(3, 999, 1000, coordinator=2)),),
        "the vouchers are of two coordinators",
    ),
    "an absurd rise": (FIRST, LAST, ((FIRST, promise(3, 2**256 - 1, 1)),), "a promise is at most"),
    "an absurd total": (promise(1, 1, 2**256 - 1), LAST, (), "a promise is at most"),
}


@pytest.mark.parametrize("case", BAD)
def test_prove_understated__evidence_that_proves_nothing__is_refused(market: Market, case: str):
    early, late, rises, reason = BAD[case]
    with pytest.raises(Reverted, match=f"Slashing: {reason}"):
        prove_understated(market, early, late, *rises)


def test_prove_understated__signed_by_a_stranger_or_by_no_coordinator__is_refused(market: Market):
    with pytest.raises(Reverted, match="Slashing: a statement is not signed by a key of the node"):
        prove_understated(market, FIRST, LAST, (FIRST, LAST), key=market.world.key())
    pair = (promise(1, 0, 9, coordinator=BOBS), promise(2, 0, 8, coordinator=BOBS))
    with pytest.raises(Reverted, match="Slashing: the named node is not of the role that signs this"):
        prove_understated(market, *pair, key=market.bobs_key)


@st.composite
def histories(draw: st.DrawFn) -> list[VoucherStatement]:
    """One boot of a coordinator whose total is a little off at times."""
    owed, total, issued = dict.fromkeys((1, 2, 3), 0), 0, []
    for sequence in range(1, draw(st.integers(2, 6)) + 1):
        miner, price = draw(st.integers(1, 3)), draw(st.integers(0, 5))
        owed[miner] += price
        total = max(0, total + price + draw(st.sampled_from([0, 0, 0, 1, -1])))
        issued.append(promise(sequence, owed[miner], total, miner))
    return issued


def best_rises(inside: list[VoucherStatement]) -> tuple[Rise, ...]:
    """For each miner the two of its vouchers between which its promise rose most."""
    rises = []
    for miner in sorted({v.miner for v in inside}):
        own = [v for v in inside if v.miner == miner]
        pairs = [(a, b) for i, a in enumerate(own) for b in own[i + 1 :]]
        if pairs:
            rises.append(max(pairs, key=lambda pair: pair[1].cumulative - pair[0].cumulative))
    return tuple(rises)


def is_proof(market: Market, evidence: tuple[Any, ...]) -> bool:
    """Ask the contract without sending; it may refuse for the sums only."""
    try:
        market.world.anvil.read(market.world.slashing, "prove_understated", *evidence)
    except Reverted as refusal:
        if "the total rose by as much as the promises" not in str(refusal):
            raise
        return False
    return True


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(issued=histories())
def test_prove_understated__any_history__is_a_proof_exactly_when_the_sums_say_so(
    market: Market, issued: list[VoucherStatement]
):
    proven = []
    for i, early in enumerate(issued):
        for late in issued[i + 1 :]:
            rises = best_rises([v for v in issued if early.sequence <= v.sequence <= late.sequence])
            if is_proof(market, arguments(market, early, late, rises, None)):
                proven.append((early.sequence, late.sequence))
    assert len(proven) == len(understated(issued))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), min_size=2, max_size=2))
def test_prove_understated__two_vouchers_of_one_miner__is_a_proof_exactly_when_that_miner_keeps_them(
    market: Market, numbers: list[tuple[int, int]]
):
    early, late = (promise(sequence, *amounts) for sequence, amounts in enumerate(numbers, 1))
    rises = ((early, late),) if late.cumulative >= early.cumulative else ()
    proven = is_proof(market, arguments(market, early, late, rises, None))
    found = of_vouchers(Signed(early, market.sign(early)), Signed(late, market.sign(late)))
    assert isinstance(found, Understated) == proven
    if found is not None:
        assert is_proof(market, (*found.arguments(), market.world.bob)), "as a node shows it"
