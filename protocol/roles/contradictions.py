"""Vouchers of one coordinator that cannot both be honest: what the Slashing contract takes as proof.

Spec: SPEC.md §11, contracts/SPEC.md §7.2.
"""

from protocol.wire.statements import VoucherStatement

TWO_VOUCHERS = "two_vouchers"
"""Two different ones in one place of one boot."""
UNDERSTATED = "understated"
"""Between two of one boot the total rose by less than what one miner was promised."""


def contradiction(one: VoucherStatement, other: VoucherStatement) -> str | None:
    """Say how two vouchers of one coordinator to one miner contradict each other; None when they do not.

    Only within one boot: a coordinator that lost its disk counts anew, and contradicts nobody.
    """
    if one.coordinator != other.coordinator or one.boot != other.boot or one == other:
        return None
    if one.sequence == other.sequence:
        return TWO_VOUCHERS
    early, late = (one, other) if one.sequence < other.sequence else (other, one)
    # A promise that fell says nothing: the highest is what is owed.
    risen = max(late.cumulative - early.cumulative, 0) if early.miner == late.miner else 0
    return UNDERSTATED if early.issued_total + risen > late.issued_total else None
