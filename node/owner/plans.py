"""What each thing that a staker or an owner does consists of: its transactions, and what to look at.

A plan is made from what the chain says now, and refuses in plain words what the contracts would refuse, where words
about this account or node say more than the contract's own.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from node.addresses import checksummed
from node.amounts import format_cai
from node.moments import duration, moment
from node.owner.registration_proof import RegistrationProof
from node.owner.stakes import NodeStake, Unbonding, positions, unbondings
from node.owner.wallet import Plan, Step, Wallet, Watched
from protocol.errors import ConfigError
from protocol.units import Wei

ALL: Final = Wei(2**256 - 1)
"""Stands for everything that an account has on a node."""
MAX_PROFILE_BYTES: Final = 512
"""Longest profile (UTF-8 bytes), as in the contract."""
COMMISSION_MAXIMUM: Final = 2
"""Number of the parameter that bounds commissions, as in the contract."""
MAX_CLAIMS: Final = 32
"""Nodes whose rewards one transaction claims, as in the contract."""


async def register(wallet: Wallet, proof: RegistrationProof, amount: Wei, profile: Mapping[str, str]) -> Plan:
    """Register a node of this account, with a stake of its own."""
    proof.check(wallet.network, wallet.address, await wallet.now())
    await _require_new_key(wallet, proof)
    minimum, count, epoch_s = await wallet.read(
        wallet.call("Staking", "minimum_stake", int(proof.role)),
        wallet.call("Staking", "node_count"),
        wallet.call("Staking", "epoch_s"),
    )
    role = proof.role.name.lower()
    if amount <= minimum:
        raise ConfigError(f"--stake: a {role} stakes more than {format_cai(minimum)}, not {format_cai(amount)}")
    text = profile_text(profile)
    arguments = (int(proof.role), proof.key, proof.deadline, proof.signature, amount, text)
    step = Step(f"register the {role}", wallet.call("Staking", "register", *arguments))
    watched = (_balance(wallet), _state(wallet, count + 1), _weight(wallet, count + 1))
    title = f"register {proof.key} as {role} {count + 1} with {format_cai(amount)}"
    notes = (
        f"it takes part once two epochs are over, which is {duration(2 * epoch_s)}",
        await _what_may_happen(wallet, "cuckoo unbond"),
    )
    return Plan(title, (*await wallet.approval("Staking", amount), step), watched, notes)


async def rotate_key(wallet: Wallet, node: NodeStake, proof: RegistrationProof) -> Plan:
    """Give this account's node another key."""
    _require_owner(wallet, node)
    proof.check(wallet.network, wallet.address, await wallet.now())
    if proof.role is not node.role:
        raise ConfigError(f"--proof: it is for a {proof.role.name.lower()}, and node {node.id} is another role")
    await _require_new_key(wallet, proof)
    (epoch_s,) = await wallet.read(wallet.call("Staking", "epoch_s"))
    arguments = (node.id, proof.key, proof.deadline, proof.signature)
    step = Step(f"change the key of node {node.id}", wallet.call("Staking", "rotate_key", *arguments))
    key = Watched(
        f"key of node {node.id}", wallet.call("Staking", "node", node.id), lambda values: checksummed(values[0][1])
    )
    note = f"the new key takes part once two epochs are over, which is {duration(2 * epoch_s)}"
    return Plan(f"change the key of node {node.id}; the old one can never be used again", (step,), (key,), (note,))


async def set_profile(wallet: Wallet, node: NodeStake, changes: Mapping[str, str]) -> Plan:
    """Change what this account's node says of itself; what is not named stays."""
    _require_owner(wallet, node)
    text = profile_text(node.profile | dict(changes))
    step = Step("change the profile", wallet.call("Staking", "set_profile", node.id, text))
    shown = Watched("profile", wallet.call("Staking", "profile", node.id), lambda values: str(values[0]))
    return Plan(f"change the profile of node {node.id}", (step,), (shown,))


async def set_commission(wallet: Wallet, node: NodeStake, commission_bps: int) -> Plan:
    """Set what this account keeps of its node's rewards before its voters get theirs."""
    _require_owner(wallet, node)
    (most,) = await wallet.read(wallet.call("Parameters", "value", COMMISSION_MAXIMUM))
    if commission_bps > most:
        raise ConfigError(f"PERCENT: at most {most / 100:g} on this network, not {commission_bps / 100:g}")
    step = Step("set the commission", wallet.call("Staking", "set_commission", node.id, commission_bps))
    watched = (_commission(wallet, node.id, await wallet.now()),)
    return Plan(f"set the commission of node {node.id}", (step,), watched)


async def unjail(wallet: Wallet, node: NodeStake) -> Plan:
    """Let this account's node take part again once its time is over."""
    _require_owner(wallet, node)
    if not node.jailed_until:
        raise ConfigError(f"NODE: node {node.id} is not jailed, it is {node.state()}")
    now = await wallet.now()
    if node.jailed_until > now:
        raise ConfigError(f"NODE: node {node.id} is jailed until {moment(node.jailed_until, now)}")
    step = Step("free the node", wallet.call("Staking", "unjail", node.id))
    return Plan(f"free node {node.id}", (step,), (_state(wallet, node.id),))


async def add_stake(wallet: Wallet, node: NodeStake, amount: Wei, *, as_owner: bool) -> Plan:
    """Stake on a node: own stake by its owner, a vote by anybody else."""
    owns = node.owner == wallet.address
    if as_owner and not owns:
        raise ConfigError(f"NODE: node {node.id} belongs to {node.owner}: to vote for it, use cuckoo vote")
    if owns and not as_owner:
        raise ConfigError(f"NODE: node {node.id} is your own: use cuckoo stake")
    what = "stake" if as_owner else "vote"
    step = Step(f"{what} {format_cai(amount)} on node {node.id}", wallet.call("Staking", "vote", node.id, amount))
    watched = (_balance(wallet), _stake(wallet, node.id), _weight(wallet, node.id), _state(wallet, node.id))
    title = f"{what} {format_cai(amount)} on node {node.id}; it earns from the next epoch on"
    note = await _what_may_happen(wallet, "cuckoo unbond" if as_owner else "cuckoo unvote")
    return Plan(title, (*await wallet.approval("Staking", amount), step), watched, (note,))


async def take_back(wallet: Wallet, node: NodeStake, amount: Wei, *, as_owner: bool) -> Plan:
    """Take stake back from a node: it waits for the unbonding delay, then ``withdraw`` pays it out."""
    owns = node.owner == wallet.address
    if as_owner and not owns:
        raise ConfigError(f"NODE: node {node.id} belongs to {node.owner}: to take votes back, use cuckoo unvote")
    if owns and not as_owner:
        raise ConfigError(f"NODE: node {node.id} is your own: use cuckoo unbond")
    staked, delay = await wallet.read(
        wallet.call("Staking", "stake_of", node.id, wallet.address), wallet.call("Staking", "unbonding_delay")
    )
    if staked == 0:
        raise ConfigError(f"AMOUNT: you have nothing on node {node.id}: cuckoo rewards shows where you have")
    if amount != ALL and amount > staked:
        raise ConfigError(f"AMOUNT: you have {format_cai(staked)} on node {node.id}, not {format_cai(amount)}")
    now = await wallet.now()
    step = Step(f"take {_amount(amount)} back", wallet.call("Staking", "unvote", node.id, amount))
    watched = (_stake(wallet, node.id), _weight(wallet, node.id), _state(wallet, node.id))
    title = f"take {_amount(amount)} back from node {node.id}; withdraw it from {moment(now + delay, now)} on"
    note = "it earns no more from now on, and can still be slashed until then"
    return Plan(title, (step,), watched, (note,))


async def withdraw(wallet: Wallet) -> Plan:
    """Pay out all that was taken back and has waited long enough."""
    now = await wallet.now()
    waiting = await unbondings(wallet)
    due = [item for item in waiting if item.release_at <= now]
    if not due:
        raise ConfigError(_nothing_due(waiting, now))
    steps = tuple(
        Step(
            f"withdraw {format_cai(item.value_wei)} of node {item.id}",
            wallet.call("Staking", "withdraw", wallet.address, item.index),
        )
        for item in due
    )
    total = format_cai(sum(item.value_wei for item in due))
    return Plan(f"withdraw {total}", steps, (_balance(wallet),))


async def claim(wallet: Wallet, nodes: Sequence[NodeStake]) -> Plan:
    """Pay out rewards: of these nodes, or of all on which this account has some."""
    earned = {item.node.id: item.earned_wei for item in await positions(wallet) if item.earned_wei}
    ids = [node.id for node in nodes] or list(earned)
    empty = [node for node in ids if node not in earned]
    if not ids or empty:
        where = f" on node {empty[0]}" if empty else ""
        raise ConfigError(f"NODE: nothing to claim{where}: cuckoo rewards shows what there is")
    parts = [ids[start : start + MAX_CLAIMS] for start in range(0, len(ids), MAX_CLAIMS)]
    steps = tuple(Step(f"claim {_on_nodes(len(part))}", wallet.call("Staking", "claim_many", part)) for part in parts)
    total = format_cai(sum(earned[node] for node in ids))
    return Plan(f"claim {total}, and what is earned until then", steps, (_balance(wallet),))


async def drip(wallet: Wallet, receiver: str) -> Plan:
    """Take the faucet's daily amount."""
    next_at, amount = await wallet.read(
        wallet.call("Faucet", "next_drip_at", receiver), wallet.call("Faucet", "drip_amount")
    )
    now = await wallet.now()
    if next_at > now:
        raise ConfigError(f"the faucet serves {receiver} once a day: next from {moment(next_at, now)} on")
    step = Step("ask the faucet", wallet.call("Faucet", "drip", receiver))
    return Plan(f"take {format_cai(amount)} from the faucet for {receiver}", (step,), (_balance(wallet, receiver),))


def profile_text(profile: Mapping[str, str]) -> str:
    """Write a profile as it stands in the contract; empty texts are left out.

    Raises:
        ConfigError: It is too long.
    """
    said = {name: text for name, text in profile.items() if text}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":")) if said else ""
    if len(text.encode()) > MAX_PROFILE_BYTES:
        raise ConfigError(
            f"the profile has {len(text.encode())} bytes, at most {MAX_PROFILE_BYTES}: shorten --description"
        )
    return text


def _nothing_due(waiting: Sequence[Unbonding], now: int) -> str:
    if not waiting:
        return "nothing to withdraw: take stake back first, with cuckoo unvote or cuckoo unbond"
    first = min(waiting, key=lambda item: item.release_at)
    total = format_cai(sum(item.value_wei for item in waiting))
    until = moment(first.release_at, now)
    return f"nothing to withdraw yet: {total} are unbonding, the first {format_cai(first.value_wei)} until {until}"


def _require_owner(wallet: Wallet, node: NodeStake) -> None:
    if node.owner != wallet.address:
        raise ConfigError(f"NODE: node {node.id} belongs to {node.owner}, and only its owner may do this")


async def _require_new_key(wallet: Wallet, proof: RegistrationProof) -> None:
    """Refuse a key that some node has or had."""
    (known,) = await wallet.read(wallet.call("Staking", "id_by_key", proof.key))
    if known:
        (row,) = await wallet.read(wallet.call("Staking", "node", known))
        owner = checksummed(row[0])
        raise ConfigError(f"{proof.key} is or was the key of node {known}, which {owner} owns: make a new key")


async def _what_may_happen(wallet: Wallet, way_out: str) -> str:
    """Say what whoever stakes should know first."""
    (delay,) = await wallet.read(wallet.call("Staking", "unbonding_delay"))
    return f"it can be slashed with the node, and comes back {duration(delay)} after {way_out}"


def _on_nodes(count: int) -> str:
    return "on 1 node" if count == 1 else f"on {count} nodes"


def _amount(amount: int) -> str:
    return "everything" if amount == ALL else format_cai(amount)


def _balance(wallet: Wallet, holder: str = "") -> Watched:
    call = wallet.call("CAI", "balanceOf", holder or wallet.address)
    return Watched("CAI of the account", call, _cai)


def _stake(wallet: Wallet, staking_id: int) -> Watched:
    return Watched(
        f"your stake on node {staking_id}", wallet.call("Staking", "stake_of", staking_id, wallet.address), _cai
    )


def _weight(wallet: Wallet, staking_id: int) -> Watched:
    return Watched(
        f"weight of node {staking_id}",
        wallet.call("Staking", "node", staking_id),
        lambda values: format_cai(values[0][5]),
    )


def _state(wallet: Wallet, staking_id: int) -> Watched:
    def shown(values: tuple[Any, ...]) -> str:  # Any: the row as the ABI has it
        owner, _, _, active, _, _ = values[0]
        return ("active" if active else "inactive") if int(owner, 16) else "not registered"

    return Watched(f"node {staking_id}", wallet.call("Staking", "node", staking_id), shown)


def _commission(wallet: Wallet, staking_id: int, present: int) -> Watched:
    def shown(values: tuple[Any, ...]) -> str:  # Any: the standing as the ABI has it
        now, then, at = values[0][4:7]
        return f"{now / 100:g} %" + (f", then {then / 100:g} % from {moment(at, present)} on" if at else "")

    return Watched("commission", wallet.call("Staking", "standing", staking_id), shown)


def _cai(values: tuple[Any, ...]) -> str:  # Any: one number
    return format_cai(values[0])
