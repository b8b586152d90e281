"""What the portal page shows and prepares, as small Protocols: ``node.adapters.http`` asks, ``node`` answers.

Rules for editors: everything here may be read by anybody, without a key. So no prompt, no picture, no address of an
app and nothing of this machine (such as its chain nodes' addresses, which may hold keys) belongs into these types.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from protocol.units import Role, StakingId, UnixMillis


@dataclass(frozen=True, slots=True)
class Deeds:
    """What a miner did for this coordinator since it was started."""

    awards: int = 0
    done: int = 0
    lost: int = 0
    """Awards that it gave up, let expire, or answered with something unusable."""
    work_ms: int = 0
    """From award to result, of all that were timed together (ms), as this coordinator measured it."""
    timed: int = 0
    """Of those done, how many were timed: not those that it had been awarded before this start."""


@dataclass(frozen=True, slots=True)
class Member:
    """A registered node, as this coordinator sees it now."""

    id: StakingId
    role: Role
    stake_wei: int
    """Effective stake in the table of this epoch."""
    is_active: bool
    is_here: bool
    """This coordinator itself, or a miner with a work stream to it; nothing is known of other coordinators."""
    models: tuple[str, ...] = ()
    """What it says that it serves."""
    places: int = 0
    """Pictures that it can draw at once, by its own word."""
    free: int = 0
    """Of those, how many it says are free, less what this coordinator gave it."""
    deeds: Deeds = Deeds()


@dataclass(frozen=True, slots=True)
class Happening:
    """One public step of a task, of this coordinator or as another one says."""

    at: UnixMillis
    name: str
    """A note's name, as ``task.offered``; of others' tasks ``heard.offered``, ``heard.awarded``, ``heard.closed``."""
    task: str
    """The first digits of its id, which offers make public."""
    fields: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Totals:
    """How much happened since this coordinator was started."""

    accepted: int
    done: int
    failed: int
    """Ended without a picture, but for those that whoever asked gave up."""
    open: int
    """Unfinished now."""
    passed_over: int
    """Tasks whose steps were not told: too many in one second to look at."""


@dataclass(frozen=True, slots=True)
class Here:
    """What this coordinator says of itself and its network."""

    network: str
    epoch: int
    epoch_s: int
    own_id: StakingId | None
    """None while the stake table does not list it as active."""
    registered: int
    """All nodes of the table, also those left out of a long list."""


class LiveNetwork(Protocol):
    """The network as this coordinator sees it now (implemented by ``node.portal.live_network``)."""

    def here(self) -> Here:
        """Say where we are."""
        ...

    def members(self) -> Sequence[Member]:
        """List the registered nodes: those that are here first, then by stake; a long list is cut."""
        ...

    def totals(self) -> Totals:
        """Count what happened."""
        ...

    def recent(self) -> Sequence[Happening]:
        """Give the latest steps, oldest first."""
        ...

    def listen(self) -> AbstractAsyncContextManager[AsyncIterator[tuple[Happening, ...]]]:
        """Follow what happens, in small batches; a slow listener misses the oldest steps, and holds nothing up."""
        ...


@dataclass(frozen=True, slots=True)
class PortalChain:
    """What a browser's wallet needs to know of the chain."""

    chain_id: int
    name: str
    coin: str
    """Symbol of the chain's own coin, which pays for gas."""
    rpc_url: str | None
    """Address that a wallet without this chain may add; None: people add it themselves."""
    contracts: Mapping[str, str]
    """Checksummed addresses, by the contracts' names."""
    now: int
    """The chain's time (unix s)."""
    unbonding_s: int
    minimum_wei: Mapping[str, int]
    """Own stake that a role must exceed."""
    emission_wei_per_day: int
    staked_wei: int


@dataclass(frozen=True, slots=True)
class Slashed:
    """A slash that signatures of a node proved, or jurors found."""

    reason: str
    """``two_commitments`` and so on, or ``quorum``."""
    why: str
    """The same in a few words."""
    wei: int
    """What the node and its voters lost."""
    at: int
    """Unix seconds, by the chain's time."""
    transaction: str
    """Hash of the transaction that did it."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A registered node, as its contract has it. All texts of the profile are its owner's."""

    id: int
    role: str
    state: str
    owner: str
    key: str
    own_wei: int
    votes_wei: int
    commission_bps: int
    next_commission_bps: int
    next_commission_at: int
    jailed_until: int
    profile: Mapping[str, str]
    slashes: tuple[Slashed, ...] = ()
    """The latest, the newest first."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account has on one node."""

    node: int
    name: str
    is_own: bool
    stake_wei: int
    earned_wei: int


@dataclass(frozen=True, slots=True)
class Release:
    """Stake that an account took back and has not withdrawn."""

    node: int
    value_wei: int
    release_at: int
    """Unix seconds, by the chain's time."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that an account has."""

    account: str
    balance_wei: int
    """CAI."""
    gas_wei: int
    """The chain's own coin."""
    holdings: tuple[Holding, ...]
    releases: tuple[Release, ...]
    next_drip_at: int | None
    """When the faucet serves it next (unix s); None where there is no faucet."""
    now: int
    """The chain's time (unix s)."""


Action = Literal["faucet", "vote", "unvote", "withdraw", "claim", "register"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to do with his own wallet, as he typed it."""

    action: Action
    account: str
    node: str = ""
    amount: str = ""
    """In CAI; ``all`` takes everything back."""
    proof: str = ""
    """What ``cuckoo key prove`` printed."""
    profile: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreparedStep:
    """One transaction for a wallet to sign."""

    text: str
    contract: str
    to: str
    function: str
    arguments: tuple[str, ...]
    data: str
    """The call as hexadecimal text."""
    gas_limit: int
    """Gas that it may use; what a wallet estimates by itself is too little when an epoch begins meanwhile."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Transactions, what they would do now, and what they would cost; nothing was sent."""

    title: str
    steps: tuple[PreparedStep, ...]
    gas: int
    fee_wei: int
    is_affordable: bool
    effects: tuple[tuple[str, str, str], ...]
    """What changes: label, before, after."""
    notes: tuple[str, ...]


class StakersDesk(Protocol):
    """The staking contracts, for people without a command line (implemented by ``node.portal.stakers_desk``)."""

    async def chain(self) -> PortalChain:
        """Say which chain, and which contracts.

        Raises:
            Unavailable: No chain node answers.
        """
        ...

    async def nodes(self) -> Sequence[Listed]:
        """List every registered node; the answer may be a few seconds old.

        Raises:
            Unavailable: No chain node answers.
        """
        ...

    async def holdings(self, account: str) -> Holdings:
        """Say what an account has.

        Raises:
            ConfigError: It is no address.
            Unavailable: No chain node answers.
        """
        ...

    async def prepare(self, wish: Wish) -> Prepared:
        """Work out the transactions of a wish, and try them out.

        Raises:
            ConfigError: It cannot be done; the text says why, in a person's words.
            Unavailable: No chain node answers.
        """
        ...
