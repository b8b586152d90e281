"""What each thing that is done with a coordinator's escrow consists of: its transactions, and what to look at."""

from node.amounts import format_cai
from node.moments import duration, moment
from node.owner.stakes import NodeStake, find_node
from node.owner.wallet import Plan, Step, Wallet, Watched
from protocol.errors import ConfigError
from protocol.units import Role, Wei


async def find_coordinator(wallet: Wallet, text: str) -> NodeStake:
    """Find a coordinator by its staking id or key.

    Raises:
        ConfigError: There is none.
    """
    node = await find_node(wallet, text)
    if node.role is not Role.COORDINATOR:
        raise ConfigError(f"COORDINATOR: node {node.id} is a miner: only coordinators have an escrow")
    return node


async def deposit(wallet: Wallet, node: NodeStake, amount: Wei) -> Plan:
    """Deposit for a coordinator, by anybody."""
    step = Step(f"deposit {format_cai(amount)}", wallet.call("Settlement", "deposit", node.id, amount))
    title = f"deposit {format_cai(amount)} for coordinator {node.id}"
    if node.owner == wallet.address:
        (notice,) = await wallet.read(wallet.call("Settlement", "notice"))
        note = f"it comes back {duration(notice)} after cuckoo escrow request"
    else:
        note = f"only its owner can take it back, {node.owner}"
    return Plan(title, (*await wallet.approval("Settlement", amount), step), _watched(wallet, node), (note,))


async def request_withdrawal(wallet: Wallet, node: NodeStake, amount: Wei) -> Plan:
    """Ask for a part of this account's escrow; a new request replaces the one before."""
    _require_owner(wallet, node)
    held, notice = await wallet.read(wallet.call("Settlement", "escrow", node.id), wallet.call("Settlement", "notice"))
    if amount > held:
        raise ConfigError(f"AMOUNT: the escrow holds {format_cai(held)}, not {format_cai(amount)}")
    now = await wallet.now()
    step = Step("ask for it", wallet.call("Settlement", "request_withdrawal", node.id, amount))
    title = f"ask for {format_cai(amount)} of the escrow; withdraw it from {moment(now + notice, now)} on"
    note = "until then miners can redeem from it; a later request replaces this one"
    return Plan(title, (step,), _watched(wallet, node), (note,))


async def cancel_withdrawal(wallet: Wallet, node: NodeStake) -> Plan:
    """Take the request back."""
    _require_owner(wallet, node)
    amount, _ = await _asked(wallet, node)
    step = Step("take the request back", wallet.call("Settlement", "cancel_withdrawal", node.id))
    return Plan(f"take the request for {format_cai(amount)} back", (step,), _watched(wallet, node))


async def withdraw(wallet: Wallet, node: NodeStake) -> Plan:
    """Take what was asked for, once the notice is over."""
    _require_owner(wallet, node)
    amount, release_at = await _asked(wallet, node)
    now = await wallet.now()
    if release_at > now:
        raise ConfigError(f"{format_cai(amount)} can be withdrawn from {moment(release_at, now)} on")
    step = Step("withdraw it", wallet.call("Settlement", "withdraw", node.id))
    return Plan(f"withdraw {format_cai(amount)} of the escrow", (step,), _watched(wallet, node))


async def _asked(wallet: Wallet, node: NodeStake) -> tuple[int, int]:
    """Give the amount that was asked for, and from when it can be withdrawn (unix s)."""
    ((amount, release_at),) = await wallet.read(wallet.call("Settlement", "pending_withdrawal", node.id))
    if amount == 0:
        raise ConfigError("nothing was asked for: use cuckoo escrow request first")
    return amount, release_at


def _watched(wallet: Wallet, node: NodeStake) -> tuple[Watched, ...]:
    """Look at the escrow and the account."""
    return (
        Watched(
            f"escrow of coordinator {node.id}",
            wallet.call("Settlement", "escrow", node.id),
            lambda values: format_cai(values[0]),
        ),
        Watched(
            "CAI of the account", wallet.call("CAI", "balanceOf", wallet.address), lambda values: format_cai(values[0])
        ),
    )


def _require_owner(wallet: Wallet, node: NodeStake) -> None:
    if node.owner != wallet.address:
        raise ConfigError(f"COORDINATOR: node {node.id} belongs to {node.owner}, and only its owner may do this")
