"""What people ask of the staking contract: which nodes there are, and what an account has on them."""

import json
from dataclasses import dataclass
from typing import Any, Final

from node.addresses import checksummed, looks_like_address
from node.owner.wallet import Wallet
from protocol.errors import ConfigError
from protocol.units import Role

PAGE: Final = 128
"""Rows that the contract gives in one answer."""
BATCH: Final = 200
"""Reads that go to the chain node in one request."""
MAX_ID_DIGITS: Final = 18
"""Digits of the longest staking id that is looked up: nodes are counted from 1, and a longer one fits no number of the
contract."""
_NODE_VIEWS: Final = ("node", "standing", "profile")
"""The contract's views of one node."""


@dataclass(frozen=True, slots=True)
class NodeStake:
    """One registered node."""

    id: int
    owner: str
    """Checksummed hex address of its owner."""
    key: str
    """Checksummed hex address of its hot key."""
    role: Role
    is_active: bool
    own_wei: int
    effective_wei: int
    profile: dict[str, str]
    """What it says of itself: name, description, site, location, contact; empty where it is no JSON object of texts."""
    commission_bps: int
    next_commission_bps: int
    next_commission_at: int
    """Unix seconds from which the next commission holds; 0 when none is announced."""
    jailed_until: int
    """Unix seconds; 0 when it is not jailed."""
    frozen_until: int
    """Unix seconds; withdrawals of its stake wait until then."""
    in_debt: bool

    def state(self) -> str:
        """Say in a word or two whether it takes part."""
        if self.in_debt:
            return "in debt"
        if self.jailed_until:
            return "jailed"
        return "active" if self.is_active else "inactive"


@dataclass(frozen=True, slots=True)
class Position:
    """What an account has on one node."""

    node: NodeStake
    stake_wei: int
    earned_wei: int
    """Rewards that it can claim now."""


@dataclass(frozen=True, slots=True)
class Unbonding:
    """Stake that an account took back."""

    index: int
    id: int
    """The node that it was on."""
    value_wei: int
    """What it is worth now: a slash until it is withdrawn lowers it."""
    release_at: int
    """Unix seconds from which it can be withdrawn."""


async def all_nodes(wallet: Wallet) -> list[NodeStake]:
    """Read every registered node."""
    (count,) = await wallet.read(wallet.call("Staking", "node_count"))
    rows: list[Any] = []
    for start in range(1, count + 1, PAGE):
        (page,) = await wallet.read(wallet.call("Staking", "nodes", start, PAGE))
        rows += page
    nodes: list[NodeStake] = []
    for start in range(0, len(rows), BATCH // 2):
        part = rows[start : start + BATCH // 2]
        ids = range(start + 1, start + 1 + len(part))
        calls = [wallet.call("Staking", function, number) for number in ids for function in ("standing", "profile")]
        answers = await wallet.read(*calls)
        nodes += [
            _node(number, row, standing, profile)
            for number, row, standing, profile in zip(ids, part, answers[::2], answers[1::2], strict=True)
        ]
    return nodes


async def find_node(wallet: Wallet, text: str) -> NodeStake:
    """Find a node by its staking id or by the address of its key.

    Raises:
        ConfigError: There is none.
    """
    if looks_like_address(text):
        (number,) = await wallet.read(wallet.call("Staking", "id_by_key", checksummed(text)))
    elif text.isascii() and text.isdigit():
        number = int(text) if len(text) <= MAX_ID_DIGITS else 0
    else:
        raise ConfigError(f"NODE: {text!r} is neither a staking id nor the 0x… address of a node's key")
    row, standing, profile = await wallet.read(*(wallet.call("Staking", view, number) for view in _NODE_VIEWS))
    if int(row[0], 16) == 0:
        raise ConfigError(f"NODE: nobody is registered as {text}: cuckoo status --stakes lists all")
    return _node(number, row, standing, profile)


async def positions(wallet: Wallet) -> list[Position]:
    """List the nodes on which the wallet's account has stake or rewards."""
    (count,) = await wallet.read(wallet.call("Staking", "node_count"))
    held: list[tuple[int, int, int]] = []
    for start in range(1, count + 1, BATCH // 2):
        ids = range(start, min(count + 1, start + BATCH // 2))
        calls = [
            wallet.call("Staking", function, number, wallet.address)
            for number in ids
            for function in ("stake_of", "earned")
        ]
        answers = await wallet.read(*calls)
        rows = zip(ids, answers[::2], answers[1::2], strict=True)
        held += [(number, stake, earned) for number, stake, earned in rows if stake or earned]
    found: list[Position] = []
    for first in range(0, len(held), BATCH // len(_NODE_VIEWS)):
        part = held[first : first + BATCH // len(_NODE_VIEWS)]
        calls = [wallet.call("Staking", view, number) for number, _, _ in part for view in _NODE_VIEWS]
        views = iter(await wallet.read(*calls))
        found += [
            Position(_node(number, next(views), next(views), next(views)), stake, earned)
            for number, stake, earned in part
        ]
    return found


async def unbondings(wallet: Wallet) -> list[Unbonding]:
    """List what the wallet's account took back and has not withdrawn."""
    (count,) = await wallet.read(wallet.call("Staking", "unbonding_count", wallet.address))
    found: list[Unbonding] = []
    for start in range(0, count, BATCH):
        indices = range(start, min(count, start + BATCH))
        answers = await wallet.read(*(wallet.call("Staking", "unbonding", wallet.address, index) for index in indices))
        found += [
            Unbonding(index, number, value, release_at)
            for index, (number, _, value, release_at) in zip(indices, answers, strict=True)
            if value
        ]
    return found


def _node(number: int, row: Any, standing: Any, profile: str) -> NodeStake:  # noqa: ANN401 tuples as the ABI has them
    owner, key, role, active, own, effective = row
    _, _, _, _, commission, next_commission, next_commission_at, jailed_until, frozen_until, in_debt, _, _ = standing
    return NodeStake(
        id=number,
        owner=checksummed(owner),
        key=checksummed(key),
        role=Role(role),
        is_active=active,
        own_wei=own,
        effective_wei=effective,
        profile=read_profile(profile),
        commission_bps=commission,
        next_commission_bps=next_commission,
        next_commission_at=next_commission_at,
        jailed_until=jailed_until,
        frozen_until=frozen_until,
        in_debt=in_debt,
    )


def read_profile(text: str) -> dict[str, str]:
    """Read a node's profile as its owner wrote it; nothing but short printable texts is taken from it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: "".join(letter for letter in value if letter.isprintable())
        for name, value in found.items()
        if isinstance(value, str)
    }
