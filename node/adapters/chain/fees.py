"""How much gas to allow, and what to pay for one (EIP-1559), at first and when a transaction is stuck. Pure.

A node takes another version of a transaction only when cap and tip are both a tenth higher; some ask for an eighth.
"""

from typing import Final

from protocol.units import Wei

GAS_MARGIN: Final = 1.25
"""Gas allowed over the estimate, which holds for the state before ours and not for that of the block we get into."""
EPOCH_GAS: Final = 100_000
"""Gas allowed beyond that: the first settlement in an epoch stores more, and the epoch may begin after the estimate
(contracts/SPEC.md §13). A slot that was in use at the estimate and is empty after a re-org costs a quarter of it."""
GWEI: Final = 10**9
"""Wei in one gwei."""
DEFAULT_TIP_WEI: Final = Wei(GWEI)
"""Tip where the node does not suggest one: enough on every chain that is not congested."""
BASE_FEE_FACTOR: Final = 2
"""How many times the present base fee is covered: it rises by at most an eighth a block, so for six full blocks."""
BUMP: Final = (9, 8)
"""Factor of a bump: 12.5 %, what the strictest nodes ask for."""


def allowed_gas(estimate: int) -> int:
    """Give the gas that a transaction may use, from what the chain node estimates; what is not used costs nothing."""
    return int(estimate * GAS_MARGIN) + EPOCH_GAS


def first_fees(base_fee: int, suggested_tip: int | None, limit: int) -> tuple[Wei, Wei]:
    """Give (cap, tip) of a new transaction, neither above the limit (all in wei for one gas)."""
    tip = DEFAULT_TIP_WEI if suggested_tip is None else suggested_tip
    cap = min(BASE_FEE_FACTOR * base_fee + tip, limit)
    return Wei(cap), Wei(min(tip, cap))


def bumped(cap: int, tip: int, wanted: tuple[int, int], limit: int) -> tuple[Wei, Wei] | None:
    """Give (cap, tip) of the next version: an eighth more, or what a new one would pay; None beyond the limit."""
    least_cap, least_tip = _raised(cap), _raised(tip)
    if least_cap > limit:
        return None
    new_cap = max(least_cap, min(wanted[0], limit))
    return Wei(new_cap), Wei(min(max(least_tip, wanted[1]), new_cap))


def _raised(value: int) -> int:
    """Raise by the factor, rounded up, and by 1 at least."""
    factor, divisor = BUMP
    return max(-(-value * factor // divisor), value + 1)
