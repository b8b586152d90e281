"""What owners do in disputes, as plans: report a picture to jurors, and appeal against what they found."""

from collections.abc import Iterable
from math import inf
from typing import Final

from node.amounts import format_cai
from node.disputes.view import (
    APPEAL_BOND,
    APPEAL_WINDOW,
    BOUNTY,
    DISPUTE_BOND,
    FEES_PART,
    JURORS,
    QUORUM_SLASH,
    VERDICT_WINDOW,
    find_dispute,
    jurors_of,
    open_dispute_of,
)
from node.model_files.catalog import load_catalog
from node.moments import moment
from node.owner.stakes import NodeStake, all_nodes, find_node
from node.owner.wallet import Plan, Step, Wallet, Watched
from protocol.crypto.typed_data import Domain
from protocol.errors import ConfigError, InvalidMessage
from protocol.justice.bundle import Bundle, bundle_digest, check_bundle, check_signers, signers_of_bundle
from protocol.justice.dispute import Status
from protocol.justice.steadiness import beside, is_moot
from protocol.units import Address, Digest, Role
from protocol.wire.specification import TaskSpecification

BPS: Final = 10_000
"""Slash and bounty are parts of this."""
MADE_GOOD_BPS: Final = 9_000
"""Most of what the accused's owner loses that the reporter gets: as in the contract."""
SHOWN_NOTE: Final = "prompt and picture are shown to the jurors, who run other miners"
RESPITE_NOTE: Final = "jurors had it slashed lately: little or nothing is until its respite ends, and jurors cost you"
OTHERS_NOTE: Final = (
    "others have reported it: where theirs is executed first, yours brings nothing, and jurors cost you"
)
VOID_NOTE: Final = (
    "it ends void where too few owners of other miners are there to judge: nobody is slashed or found right then, and "
    "the bond is back"
)
SERVES_NOTE: Final = (
    "keep the node running, with a gas key: it has the jurors drawn, or else the bond may burn, and shows them the "
    "evidence: who gets none in time answers that the picture is right"
)


def is_unguided(specification: TaskSpecification) -> bool:
    """Say whether nothing lies beside a task of a model that this release knows: jurors cannot tell who is wrong."""
    return not _beside(specification)


def _beside(specification: TaskSpecification) -> tuple[TaskSpecification, ...]:
    """Give what jurors draw beside a task; of a model that this release does not know, as if it took any guidance."""
    model = load_catalog().models.get(specification.model)
    return beside(specification, model.max_guidance if model is not None else inf)


def domain_of(wallet: Wallet) -> Domain:
    """Give chain and contract for which signatures hold."""
    return Domain(wallet.network.chain.chain_id, wallet.network.staking_address)


async def report(wallet: Wallet, bundle: Bundle, network: Digest) -> Plan:
    """Plan a report of a result by the coordinator that ordered it, which is this account's.

    Args:
        wallet: Whose.
        bundle: The evidence.
        network: The network's id, for which capabilities are signed.

    Raises:
        ConfigError: The bundle proves nothing, or the contract would not take the report.
    """
    reporter = await find_node(wallet, str(bundle.coordinator))
    accused = await find_node(wallet, str(bundle.accused))
    _require_reporter(wallet, reporter, accused)
    await _require_proof(wallet, bundle, network)
    if is_unguided(bundle.specification):
        raise ConfigError(
            f"FILE: {bundle.specification.model} takes no guidance: jurors who find another picture cannot tell "
            "whether arithmetic alone decides, and a report that they cannot judge costs a third of the bond"
        )
    opened = await open_dispute_of(wallet, accused.id, reporter.id)
    if opened is not None:
        raise ConfigError(
            f"FILE: dispute {opened.number} is open against node {accused.id} by your report: wait until it has ended"
        )
    bond, seats, slash, bounty, respite, others = await wallet.read(
        *(wallet.call("Parameters", "value", one) for one in (DISPUTE_BOND, JURORS, QUORUM_SLASH, BOUNTY)),
        wallet.call("Disputes", "respite_until", accused.id),
        wallet.call("Disputes", "open_disputes", accused.id),
    )
    digest = bytes(bundle_digest(bundle.data()))
    step = Step(f"report node {accused.id}", wallet.call("Disputes", "report", accused.id, reporter.id, digest))
    watched = (
        Watched("your CAI", wallet.call("CAI", "balanceOf", wallet.address), lambda values: format_cai(values[0])),
        Watched(
            f"your dispute against node {accused.id}",
            wallet.call("Disputes", "open_dispute", accused.id, reporter.id),
            lambda values: str(values[0] or "none"),
        ),
    )
    notes = [
        f"bond {format_cai(bond)}: a third of it pays the {seats} jurors; the rest is back if two thirds find "
        "the picture wrong or they do not agree, and is gone if they find it right, also after an appeal, or if nobody "
        "has jurors drawn in time",
        _gain(accused.own_wei * slash // BPS, bounty, bond // (FEES_PART * seats) * seats),
        SHOWN_NOTE,
        SERVES_NOTE,
    ]
    free = _independent(await all_nodes(wallet), {accused.owner, reporter.owner})
    if free < seats:
        notes.append(f"only {free} independent owners of miners can be jurors, and {seats} are needed: it ends void")
    if respite > await wallet.now():
        notes.append(RESPITE_NOTE)
    if others:
        notes.append(OTHERS_NOTE)
    title = f"report task {bundle.award.statement.task.hex()[:12]} of node {accused.id} to {seats} jurors"
    steps = (*await wallet.approval("Disputes", bond), step)
    return Plan(title, steps, watched, tuple(notes), advice=(steady_note(bundle.specification),))


async def appeal(wallet: Wallet, number: int) -> Plan:
    """Plan an appeal by the owner of the accused.

    Raises:
        ConfigError: Nothing can be appealed against there now, or not by this account.
    """
    found = await find_dispute(wallet, number)
    accused = await find_node(wallet, str(found.accused))
    now = await wallet.now()
    if accused.owner != wallet.address:
        raise ConfigError(f"NUMBER: dispute {number} is against node {accused.id}, which belongs to {accused.owner}")
    if found.status is not Status.UPHELD:
        raise ConfigError(f"NUMBER: dispute {number} cannot be appealed against: {found.in_words(now)}")
    if found.deadline <= now:
        raise ConfigError(f"NUMBER: the time to appeal in dispute {number} ended {moment(found.deadline, now)}")
    (bond,) = await wallet.read(wallet.call("Parameters", "value", APPEAL_BOND))
    seats = 2 * found.seats + 1
    step = Step(f"appeal in dispute {number}", wallet.call("Disputes", "appeal", number))
    watched = (
        Watched("your CAI", wallet.call("CAI", "balanceOf", wallet.address), lambda values: format_cai(values[0])),
        Watched(
            "round",
            wallet.call("Disputes", "dispute", number),
            lambda values: "appeal" if values[0][6] else "first",
        ),
    )
    notes = [
        f"bond {format_cai(bond)}: the {seats} jurors, who are others, are paid out of it, and their word is final; "
        "all of it is back, out of the reporter's bond, if two thirds find the picture right, what is left of it if "
        "they do not agree, and nothing if two thirds find it wrong",
        VOID_NOTE,
    ]
    taken = {one.node for one in await jurors_of(wallet, number)}
    nodes = await all_nodes(wallet)
    free = _independent(nodes, {accused.owner, found.accuser, *(node.owner for node in nodes if node.id in taken)})
    if free < seats:
        notes.append(f"only {free} owners of miners can be jurors of it, and {seats} are needed: it ends void")
    title = f"appeal in dispute {number} to {seats} jurors"
    return Plan(title, (*await wallet.approval("Disputes", bond), step), watched, tuple(notes))


def _gain(lost: int, bounty_bps: int, fees: int) -> str:
    """Say what an upheld report leaves whoever makes it, where the owner loses and the jurors cost so much (wei)."""
    most = lost * MADE_GOOD_BPS // BPS
    back = min(fees, most)
    bounty = min(lost * bounty_bps // BPS, most - back)
    told = (
        f"if it is upheld, the slash of what its owner has on the node now gives you back {format_cai(back)} of up to "
        f"{format_cai(fees)} for the jurors, and a bounty of {format_cai(bounty)}"
    )
    return told + (f": also then it costs you {format_cai(fees - back)}" if back < fees else "")


def steady_note(specification: TaskSpecification) -> str:
    """Say what to look at before a bond is paid: jurors draw beside a task before they say that it is wrong."""
    told = sorted({round(one.guidance, 2) for one in _beside(specification)} - {specification.guidance})
    values = ", ".join(f"{one:g}" for one in told)
    without = ", without a negative prompt" if is_moot(specification) else ""
    return (
        f"first order the same with a guidance of {values}{without}: where one of these pictures is like the reported "
        "one, or they are not like each other, arithmetic may have decided, and jurors do not find it wrong"
    )


def _require_reporter(wallet: Wallet, reporter: NodeStake, accused: NodeStake) -> None:
    """Refuse what the contract would refuse, in words of this bundle."""
    if reporter.owner != wallet.address:
        raise ConfigError(
            f"FILE: coordinator {reporter.id} ordered this task: only its owner, {reporter.owner}, reports"
        )
    if not reporter.is_active:
        raise ConfigError(f"FILE: coordinator {reporter.id} is {reporter.state()}, and only an active node reports")
    if accused.owner == wallet.address:
        raise ConfigError(f"FILE: miner {accused.id} is your own")
    if accused.role is not Role.MINER:
        raise ConfigError(f"FILE: node {accused.id} is no miner")


async def _require_proof(wallet: Wallet, bundle: Bundle, network: Digest) -> None:
    """Refuse a bundle that jurors would refuse: they would find the picture right, and the bond would burn."""
    domain = domain_of(wallet)
    try:
        check_bundle(bundle, domain, bundle.accused, bundle.coordinator)
        keys = signers_of_bundle(bundle, domain, network)
    except InvalidMessage as error:
        raise ConfigError(f"FILE: it proves nothing to jurors: {error}") from None
    signers = await wallet.read(*(wallet.call("Staking", "signing_id", "0x" + key.hex()) for key in keys))
    try:
        check_signers(tuple(signers), bundle.accused, bundle.coordinator)
    except InvalidMessage:
        raise ConfigError("FILE: it proves nothing to jurors: it is not signed by keys of the two nodes") from None
    await _require_time(wallet, keys)


async def _require_time(wallet: Wallet, keys: tuple[Address, ...]) -> None:
    """Refuse what a key signed that was changed, and counts no more before the last juror has looked."""
    verdicts, appeal, delay, *retired = await wallet.read(
        *(wallet.call("Parameters", "value", one) for one in (VERDICT_WINDOW, APPEAL_WINDOW)),
        wallet.call("Parameters", "unbonding_delay"),
        *(wallet.call("Staking", "retired_at", "0x" + key.hex()) for key in keys),
    )
    now = await wallet.now()
    longest = 3 * verdicts + appeal  # two votes, and two draws of half as long; jurors look in the first half of a vote
    ends = [at + delay for at in retired if at and at + delay < now + longest]
    if ends:
        raise ConfigError(
            f"FILE: it comes too late: a key that signed it was changed, and counts until {moment(min(ends), now)}, "
            f"while jurors may judge, with an appeal, until {moment(now + longest, now)}: then they find nothing proven"
        )


def _independent(nodes: Iterable[NodeStake], taken: set[str]) -> int:
    """Count the owners of active miners but these: each gives one juror at most."""
    return len({node.owner for node in nodes if node.role is Role.MINER and node.is_active} - taken)
