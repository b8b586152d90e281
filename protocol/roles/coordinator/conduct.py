"""What a coordinator holds against miners beyond one task: pauses that grow, and models that were not warm.

A miner that takes tasks and does not deliver, or claims before its slot again and again, costs every task that it
touches a lease or a message. Nothing here is proof of anything, so nothing leads to a slash: a pause only keeps a
miner out of one coordinator's fields while others serve its model. Spec: SPEC.md §7.6.
"""

from dataclasses import dataclass
from typing import Final, final

from protocol.roles.coordinator.reputation import Reputation
from protocol.units import DurationMs, StakingId, UnixMillis

FALSE_WARM_MS: Final = DurationMs(3_600_000)
"""How long a miner that called a model warm and did not start in time counts as cold."""
FIRST_PAUSE_MS: Final = DurationMs(5000)
"""First pause: longer than a lease, so that who vanishes again and again holds no task for more than half the time."""
LAST_PAUSE_MS: Final = DurationMs(600_000)
"""Longest pause: it doubles from lease to lease that is lost with no delivery between."""
EARLY_FREE: Final = 2
"""Early claims that cost no more than their attempt: a clock that is set forward lets slots come early, once."""
EARLY_FORGIVEN_MS: Final = DurationMs(3_600_000)
"""So long after the last early claim they are forgotten: longer than any ban, so that nobody begins anew after one."""
BURST_MS: Final = DurationMs(1000)
"""So long after a pause began early claims are held against nobody: one wrong clock lets many slots come at once."""
REFUSALS_FREE: Final = 4
"""Tasks that a miner may refuse by its owner's rules with no delivery between: each costs an award and its way back."""
REMEMBERED: Final = 4096
"""Miners remembered at once; who did wrong longest ago is forgotten first."""


@dataclass(slots=True)
class _Account:
    """What one miner did."""

    lost: int = 0
    """Leases lost since it delivered last."""
    refused: int = 0
    """Tasks refused by its owner's rules since it delivered last."""
    early: int = 0
    early_at: UnixMillis = UnixMillis(0)
    paused_at: UnixMillis = UnixMillis(0)
    paused_until: UnixMillis = UnixMillis(0)
    told: bool = False
    """A claim was declined for this pause."""
    for_early: bool = False
    """This pause is for early claims."""
    cold_until: UnixMillis = UnixMillis(0)


def _pause_ms(times: int) -> int:
    """Give how long the pause is the so-manieth time, from 1."""
    return min(FIRST_PAUSE_MS << min(times - 1, 32), LAST_PAUSE_MS)


@final
class Conduct:
    """Accounts of the miners that ever did wrong, by staking id: a new connection or key makes nobody new."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._accounts: dict[StakingId, _Account] = {}
        self.reputation = Reputation()

    def __len__(self) -> int:
        return len(self._accounts)

    def _account(self, miner: StakingId) -> _Account:
        account = self._accounts.pop(miner) if miner in self._accounts else _Account()
        self._accounts[miner] = account
        if len(self._accounts) > REMEMBERED:
            del self._accounts[next(iter(self._accounts))]
        return account

    @staticmethod
    def _pause(account: _Account, pause_ms: int, now: UnixMillis, *, for_early: bool) -> None:
        if account.paused_until <= now:
            account.paused_at, account.told, account.for_early = now, False, for_early
        account.paused_until = UnixMillis(max(account.paused_until, now + pause_ms))

    def lost_lease(self, miner: StakingId, now: UnixMillis, *, started: bool, silent: bool) -> int:
        """A miner lost a task that it was awarded: it is paused.

        Before its first step its model was not warm, unless it fell silent for the first time since it delivered: a
        machine that sleeps, or a line that breaks, says nothing of models.

        Args:
            miner: Who held it.
            now: Present time.
            started: It had taken its first step.
            silent: It fell silent, and had not said that it loads the model.

        Returns:
            The pause (ms) that begins now; 0 during a pause.
        """
        account = self._account(miner)
        is_paused = account.paused_until > now
        self.reputation.lost_lease(miner, now)
        if not started and not (silent and (is_paused or account.lost == 0)):
            account.cold_until = UnixMillis(now + FALSE_WARM_MS)
        if is_paused:
            # All that it held when it died is one fault.
            return 0
        account.lost += 1
        pause_ms = _pause_ms(account.lost)
        self._pause(account, pause_ms, now, for_early=False)
        return pause_ms

    def leave_out(self, miner: StakingId, now: UnixMillis, until: UnixMillis) -> None:
        """A miner is paused until then for what others drew in its place."""
        self._pause(self._account(miner), until - now, now, for_early=False)

    def was_cold(self, miner: StakingId, now: UnixMillis) -> None:
        """A miner took far longer to its first step than one that has the model in memory."""
        self._account(miner).cold_until = UnixMillis(now + FALSE_WARM_MS)

    def delivered(self, miner: StakingId) -> None:
        """A miner delivered: the next lease that it loses is the first. Early claims are not forgotten for that."""
        account = self._accounts.get(miner)
        if account is not None:
            account.lost = account.refused = 0

    def may_refuse(self, miner: StakingId) -> bool:
        """A miner refuses a task by its owner's rules: say whether that is still held against nobody."""
        account = self._account(miner)
        account.refused += 1
        return account.refused <= REFUSALS_FREE

    def claimed_early(self, miner: StakingId, now: UnixMillis) -> int:
        """A claim came before its slot.

        Returns:
            The pause (ms) that begins now; 0 while it costs no more than the attempt, and during a pause.
        """
        account = self._account(miner)
        if now - account.early_at > EARLY_FORGIVEN_MS:
            account.early = 0
        account.early_at = now
        if account.paused_until > now:
            return 0
        account.early += 1
        if account.early <= EARLY_FREE:
            return 0
        pause_ms = _pause_ms(account.early - EARLY_FREE)
        self._pause(account, pause_ms, now, for_early=True)
        return pause_ms

    def is_paused(self, miner: StakingId, now: UnixMillis) -> bool:
        """Say whether a miner is left out now."""
        account = self._accounts.get(miner)
        return account is not None and account.paused_until > now

    def is_deliberate(self, miner: StakingId, now: UnixMillis) -> bool:
        """Say whether no accident makes a miner claim early now: it is paused for that, and has been for a while.

        In a pause for a lost lease its first early claims may come of a clock that was set forward just now.
        """
        account = self._accounts.get(miner)
        if account is None or not account.for_early:
            return False
        return account.paused_until > now > account.paused_at + BURST_MS

    def tell(self, miner: StakingId) -> None:
        """A claim of a paused miner is declined for that: it is the last answer that it gets in this pause."""
        self._account(miner).told = True

    def was_told(self, miner: StakingId) -> bool:
        """Say whether a claim was declined for this pause."""
        account = self._accounts.get(miner)
        return account is not None and account.told

    def is_warm(self, miner: StakingId, now: UnixMillis) -> bool:
        """Say whether a miner's word that its model is loaded is believed."""
        account = self._accounts.get(miner)
        return account is None or account.cold_until <= now
