"""What two vouchers prove, as contracts/SPEC.md §7.2 has it, and what they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.roles.contradictions import TWO_VOUCHERS, UNDERSTATED, contradiction
from protocol.units import StakingId
from protocol.wire.statements import VoucherStatement
from tests.protocol.roles.frames import BOB_ID
from tests.protocol.roles.pay import promise

EARLY = promise(2, sequence=3, total=10)


@pytest.mark.parametrize(
    ("late", "kind"),
    [
        (promise(3, sequence=4, total=11), None),
        (promise(3, sequence=9, total=10.999), UNDERSTATED),
        (promise(2, sequence=4, total=9.999), UNDERSTATED),
        (promise(1, sequence=4, total=10), None),
        (promise(1, sequence=4, total=9), UNDERSTATED),
        (promise(2, sequence=3, total=11), TWO_VOUCHERS),
        (promise(9, sequence=4, total=10, boot=2), None),
        (EARLY, None),
        (promise(30, sequence=4, total=10).model_copy(update={"miner": BOB_ID}), None),
        (promise(30, sequence=4, total=11).model_copy(update={"coordinator": StakingId(8)}), None),
    ],
    ids=["honest", "less", "total fell", "promise fell", "both fell", "same place", "boot", "same", "miner", "other"],
)
def test_contradiction__two_vouchers__in_either_order(late: VoucherStatement, kind: str | None) -> None:
    assert contradiction(EARLY, late) == contradiction(late, EARLY) == kind


@given(prices=st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=20))
def test_contradiction__any_two_of_an_honest_run__is_none(prices: list[tuple[bool, int]]) -> None:
    ours, total, vouchers = 0, 0, []
    for sequence, (is_ours, price) in enumerate(prices, 1):
        ours, total = ours + price * is_ours, total + price
        if is_ours:
            vouchers.append(promise(ours, sequence=sequence, total=total))
    assert all(contradiction(one, other) is None for one in vouchers for other in vouchers)
