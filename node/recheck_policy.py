"""What a coordinator's settings say of rechecks."""

from node.amounts import wei_of
from node.settings import Settings
from protocol.roles.sampling import RecheckPolicy
from protocol.units import DAY_MS, DurationMs


def recheck_policy(settings: Settings) -> RecheckPolicy | None:
    """Say how much a coordinator looks after its miners; None for not at all."""
    section = settings.coordinator
    if not section.recheck_percent and not section.recheck_newcomer_percent:
        return None
    within_ms = int(section.recheck_within_s * 1000)
    return RecheckPolicy(
        share=section.recheck_percent / 100,
        newcomer_share=section.recheck_newcomer_percent / 100,
        earliest=DurationMs(within_ms // 10),
        latest=DurationMs(within_ms),
        daily_limit=wei_of(section.recheck_daily_limit_cai),
        pause=DurationMs(int(section.recheck_pause_days * DAY_MS)),
    )
