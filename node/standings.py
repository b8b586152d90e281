"""What a coordinator thinks of its miners, with the reasons, for its owner's eyes."""

from typing import Any, Final

from node.ports import Clock
from protocol.roles.coordinator import CoordinatorCore

MOST_SHOWN: Final = 256
"""Miners that are told of at once, those who stand worst first: what one answer holds."""
HOUR_MS: Final = 3_600_000


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


def _counted(number: float, what: str) -> str:
    """Count in English."""
    return f"{number:g} {what}{'' if number == 1 else 's'}"
