"""What coordinators and miners think of each other, with the reasons, for their owners' eyes."""

from typing import Any, Final

from node.ports import Clock
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.miner.coverage import CONTRADICTED
from protocol.roles.miner.miner import MinerCore
from protocol.units import CAI

MOST_SHOWN: Final = 256
"""Nodes that are told of at once, those who stand worst first: what one answer holds."""
LEAST_OWNERS: Final = 3
"""Of whose miners pictures say who was wrong: one, and two that agree against it."""
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000


def standings(core: CoordinatorCore, clock: Clock) -> list[dict[str, Any]]:  # Any: what JSON holds
    """Say how each miner stands that was heard of, the worst first. Numbers fade, but for those that say ``ever``."""
    now, connected = clock.now(), {miner.id for miner in core.roster}
    conduct = core.roster.conduct
    told = [
        {
            "id": miner,
            "connected": miner in connected,
            "standing": account.standing,
            "delivered": round(account.delivered, 1),
            "lost_leases": round(account.lost, 1),
            "passed": round(account.passed, 1),
            "doubt": round(account.doubt, 1),
            "passed_ever": account.passed_ever,
            "odd_ever": account.odd_ever,
            "paused": conduct.is_paused(miner, now),
            "left_out_hours": max(account.left_out_until - now, 0) // HOUR_MS,
        }
        for miner, account in conduct.reputation.accounts(now)
    ]
    return sorted(told, key=lambda one: (one["standing"], one["id"]))[:MOST_SHOWN]


def in_words(told: dict[str, Any]) -> str:
    """Say of one miner why it stands as it does, in a line."""
    reasons = [_counted(told["delivered"], "picture") + " paid"]
    if told["lost_leases"]:
        reasons.append(_counted(told["lost_leases"], "lease") + " lost")
    if told["passed_ever"]:
        reasons.append(_counted(told["passed_ever"], "recheck") + " passed")
    if told["odd_ever"]:
        reasons.append(
            f"{_counted(told['odd_ever'], 'picture')} that others drew differently (doubt {told['doubt']:g})"
        )
    if told["left_out_hours"]:
        reasons.append(f"left out for {told['left_out_hours']} h more")
    elif told["paused"]:
        reasons.append("paused")
    if not told["connected"]:
        reasons.append("not connected")
    return f"miner {told['id']:<6} {told['standing']:>3} of 100: {', '.join(reasons)}"


def few_witnesses(core: CoordinatorCore, clock: Clock) -> list[dict[str, Any]]:  # Any: what JSON holds
    """List the models of which rechecks can blame nobody: too few owners' miners serve them (SPEC.md §12.8)."""
    now, found = clock.now(), []
    for model in core.identity.catalog.offered():
        owners = {core.book.owner(miner.id, now) for miner in core.roster.serving(model, now)}
        if 0 < len(owners) < LEAST_OWNERS:
            found.append({"model": model, "owners": len(owners)})
    return found


def witnesses_in_words(told: dict[str, Any]) -> str:
    """Say of such a model why nothing comes of its rechecks."""
    owned = "one owner" if told["owners"] == 1 else f"{told['owners']} owners"
    return (
        f"all miners of {told['model']} belong to {owned}: to tell whose picture is wrong takes {LEAST_OWNERS}, so "
        "rechecks blame nobody"
    )


def payers(core: MinerCore, clock: Clock) -> list[dict[str, Any]]:  # Any: what JSON holds
    """Say how each coordinator stands that a miner had to do with, the worst first. Numbers fade, but ``paid_ever``."""
    now, refused, known = clock.now(), core.refused(), core.payers
    told = [
        {
            "id": coordinator,
            "standing": 0 if refused.get(coordinator) == CONTRADICTED else dealings.standing,
            "paid": round(dealings.paid, 1),
            "unpaid": round(dealings.unpaid, 1),
            "rejected": round(dealings.rejected, 1),
            "taken_back": round(dealings.taken_back, 1),
            "escrow_short": round(dealings.short, 1),
            "paid_ever": dealings.paid_ever,
            "may_owe_wei": str(known.credit.allowed(coordinator)),
            "again_in_minutes": -(-known.credit.again_in(coordinator, now) // MINUTE_MS),
            "refused": refused.get(coordinator),
        }
        for coordinator, dealings in known.all(now)
    ]
    return sorted(told, key=lambda one: (one["standing"], one["id"]))[:MOST_SHOWN]


def payer_in_words(told: dict[str, Any]) -> str:
    """Say of one coordinator why it stands as it does, in a line."""
    reasons = [_counted(told["paid"], "paid picture")]
    for number, what in (
        (told["unpaid"], "unpaid picture"),
        (told["rejected"], "rejected picture"),
        (told["taken_back"], "withdrawn award"),
        (told["escrow_short"], "escrow shortage"),
    ):
        if number:
            reasons.append(_counted(number, what))
    if told["refused"] == CONTRADICTED:
        reasons.append("its statements contradict each other")
    if told["again_in_minutes"]:
        reasons.append(f"tried again in {told['again_in_minutes']} min")
    else:
        wei = int(told["may_owe_wei"])
        reasons.append(f"may owe {wei / CAI:g} CAI" if wei else "may owe one picture")
    return f"coordinator {told['id']:<6} {told['standing']:>3} of 100: {', '.join(reasons)}"


def _counted(number: float, what: str) -> str:
    """Count in English."""
    return f"{number:g} {what}{'' if number == 1 else 's'}"
