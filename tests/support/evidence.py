"""What signed statements prove against their signer, by the rules of contracts/src/Slashing.vy, in plain Python."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

from protocol.wire.statements import AwardStatement, ReceiptStatement, VoucherStatement

MAX_RISES = 8
"""Miners that one proof may name."""


def understated(vouchers: Iterable[VoucherStatement]) -> list[str]:
    """Name every span of every boot of one coordinator in which the total rose by less than what it must cover."""
    found = []
    for boot, issued in _by_boot(vouchers).items():
        for early, late in combinations(issued, 2):
            inside = [v for v in issued if early.sequence <= v.sequence <= late.sequence]
            rises = sorted((_largest_rise(inside, miner) for miner in {v.miner for v in inside}), reverse=True)
            promised, told = sum(rises[:MAX_RISES]), late.issued_total - early.issued_total
            if promised > told:
                found.append(f"boot {boot}, {early.sequence}..{late.sequence}: {promised} > {told}")
    return found


def one_place_twice(vouchers: Iterable[VoucherStatement]) -> list[VoucherStatement]:
    """Give the vouchers whose boot and sequence a different one has too."""
    places: dict[tuple[int, int], set[VoucherStatement]] = defaultdict(set)
    for voucher in vouchers:
        places[voucher.boot, voucher.sequence].add(voucher)
    return [voucher for same in places.values() if len(same) > 1 for voucher in same]


def two_receipts(receipts: Iterable[ReceiptStatement]) -> list[ReceiptStatement]:
    """Give the receipts for a commitment that has another one, different in more than its time."""
    answers: dict[bytes, set[ReceiptStatement]] = defaultdict(set)
    for receipt in receipts:
        answers[receipt.commitment].add(receipt.model_copy(update={"accepted": 0}))
    return [receipt for same in answers.values() if len(same) > 1 for receipt in same]


def two_awards(awards: Iterable[AwardStatement]) -> list[AwardStatement]:
    """Give the awards for a claim that has another one."""
    answers: dict[bytes, set[AwardStatement]] = defaultdict(set)
    for award in awards:
        answers[award.claim].add(award)
    return [award for same in answers.values() if len(same) > 1 for award in same]


def _by_boot(vouchers: Iterable[VoucherStatement]) -> dict[int, list[VoucherStatement]]:
    boots: dict[int, list[VoucherStatement]] = defaultdict(list)
    for voucher in sorted(set(vouchers), key=lambda v: (v.boot, v.sequence)):
        boots[voucher.boot].append(voucher)
    return boots


def _largest_rise(vouchers: list[VoucherStatement], miner: int) -> int:
    """Give the most by which a later promise to the miner is above an earlier one."""
    own = [voucher.cumulative for voucher in vouchers if voucher.miner == miner]
    return max((later - earlier for earlier, later in combinations(own, 2)), default=0)
