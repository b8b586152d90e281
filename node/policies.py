"""What settings say of a node's business: when vouchers are redeemed, evidence is shown, tasks are drawn again."""

from node.amounts import wei_of, wei_of_gwei
from node.settings import Settings
from protocol.roles.coordinator.sampling import RecheckPolicy
from protocol.roles.disputing import DisputePolicy
from protocol.roles.miner.redeeming import RedeemPolicy
from protocol.roles.prosecution import ProofPolicy
from protocol.units import DAY_MS, DurationMs


def redeem_policy(settings: Settings) -> RedeemPolicy:
    """Say when a miner redeems its vouchers."""
    section = settings.miner
    return RedeemPolicy(
        has_gas_key=settings.chain.gas_keystore is not None,
        at=wei_of(section.redeem_at_cai),
        after=section.redeem_after_ms,
        least=wei_of(section.redeem_least_cai),
        gas_price=wei_of_gwei(section.redeem_gas_gwei),
    )


def proof_policy(settings: Settings) -> ProofPolicy:
    """Say what a node does about evidence."""
    section = settings.chain
    return ProofPolicy(
        proves=section.prove and section.gas_keystore is not None,
        gas_price=wei_of_gwei(section.prove_gas_gwei),
        per_day=section.proofs_per_day,
    )


def dispute_policy(settings: Settings) -> DisputePolicy:
    """Say what a node does about disputes."""
    section = settings.disputes
    return DisputePolicy(
        takes_part=section.take_part and settings.chain.gas_keystore is not None,
        gas_price=wei_of_gwei(section.gas_gwei),
        per_day=section.calls_per_day,
    )


def recheck_policy(settings: Settings) -> RecheckPolicy | None:
    """Say how much a coordinator looks after its miners; None for not at all."""
    section = settings.coordinator
    if not section.recheck_percent and not section.recheck_newcomer_percent:
        return None
    within_ms, limit = int(section.recheck_within_s * 1000), section.recheck_daily_limit_cai
    return RecheckPolicy(
        share=section.recheck_percent / 100,
        newcomer_share=section.recheck_newcomer_percent / 100,
        earliest=DurationMs(within_ms // 10),
        latest=DurationMs(within_ms),
        daily_limit=None if limit is None else wei_of(limit),
        pause=DurationMs(int(section.recheck_pause_days * DAY_MS)),
        with_inputs=section.recheck_with_inputs,
        must_open=section.recheck_must_open,
        all_may_be_disputed=settings.disputes.apps_have_agreed,
    )
