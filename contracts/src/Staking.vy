# pragma version 0.4.3
# pragma optimize codesize
# pragma nonreentrancy on
"""
@title Staking
@notice Who takes part in the network, with how much stake behind it, and what that stake earns.
        A node is a hot key that an owner registers in a role with a stake of its own. Anybody may vote for any node;
        own stake and votes together are its effective stake, its weight in every draw.
@dev Everything that changes the stake table is told by one event, `NodeChanged`, which carries the node's whole
     row after the change: a follower needs no other event. Put together of modules; here are the views that need
     several of them. Spec: contracts/SPEC.md.
"""
from snekmate.utils import eip712_domain_separator

from interfaces import IStaking
from modules import connections
from modules import emission
from modules import ledger
from modules import packing
from modules import penalties
from modules import registry
from modules import terms
from modules import votes

initializes: eip712_domain_separator
initializes: terms
initializes: connections
initializes: emission[terms := terms]
initializes: ledger[terms := terms, emission := emission]
initializes: votes[terms := terms, ledger := ledger]
initializes: registry[
    terms := terms,
    emission := emission,
    ledger := ledger,
    votes := votes,
    eip712_domain_separator := eip712_domain_separator,
]
initializes: penalties[
    terms := terms, emission := emission, ledger := ledger, votes := votes, connections := connections
]

implements: IStaking

exports: (
    eip712_domain_separator.eip712Domain,
    terms.__interface__,
    connections.__interface__,
    emission.__interface__,
    ledger.__interface__,
    votes.__interface__,
    registry.__interface__,
    penalties.__interface__,
)


struct Standing:
    # Value of one share, times 10**27: what slashes have left.
    price: uint256
    # Shares that weigh, the owner's part of them, and shares that are unbonding.
    bonded_shares: uint256
    own_shares: uint256
    unbonding_shares: uint256
    # Basis points of rewards that the operator keeps; the announced ones and from when, 0 and 0 when none are.
    commission: uint256
    next_commission: uint256
    next_commission_at: uint256
    # Unix seconds from which the owner can unjail the node; 0 when it is not jailed.
    jailed_until: uint256
    # Unix seconds until which withdrawals wait.
    frozen_until: uint256
    in_debt: bool
    # Wei that is still streaming to the node, and unix seconds at which the stream ends.
    stream_left: uint256
    stream_end: uint256


# Rows that one page may hold: bounds the gas of a read.
MAX_PAGE: constant(uint256) = 128


@deploy
def __init__(
    token: address,
    parameters: address,
    miner_minimum: uint256,
    coordinator_minimum: uint256,
    epoch_s: uint256,
    stream_s: uint256,
):
    """
    @param token The CAI token.
    @param parameters The Parameters contract; the unbonding delay is taken from it.
    @param miner_minimum A miner is active while its own stake is above this, in wei.
    @param coordinator_minimum A coordinator is active while its own stake is above this, in wei.
    @param epoch_s Length of an epoch in seconds.
    @param stream_s Seconds over which a payment reaches a node.
    """
    eip712_domain_separator.__init__("Cuckoo", "1")
    terms.__init__(token, parameters, miner_minimum, coordinator_minimum, epoch_s, stream_s)
    connections.__init__()
    emission.__init__()


@external
@view
def node(id: uint256) -> IStaking.Node:
    """
    @param id The node.
    @return The node; all fields zero when there is none.
    """
    return self._node(id)


@external
@view
def nodes(start: uint256, count: uint256) -> DynArray[IStaking.Node, MAX_PAGE]:
    """
    @param start First id of the page, from 1.
    @param count Most rows of the page; at most 128 are returned.
    @return The nodes with ids start, start + 1, …; fewer at the end.
    """
    page: DynArray[IStaking.Node, MAX_PAGE] = []
    if start == 0 or start > ledger.node_count:
        return page
    for offset: uint256 in range(min(min(count, MAX_PAGE), ledger.node_count - start + 1), bound=MAX_PAGE):
        page.append(self._node(start + offset))
    return page


@external
@view
def standing(id: uint256) -> Standing:
    """
    @param id The node.
    @return All that is not in its row, in this second; all fields zero when there is none.
    """
    state: packing.State = ledger._advance(id, emission._now())
    return Standing(
        price=state.price,
        bonded_shares=state.bonded,
        own_shares=state.own,
        unbonding_shares=state.unbonding,
        commission=state.commission,
        next_commission=state.next_commission if state.commission_at > 0 else 0,
        next_commission_at=state.commission_at,
        jailed_until=state.jailed_until,
        frozen_until=state.frozen_until,
        in_debt=state.in_debt,
        stream_left=state.stream_left,
        stream_end=state.stream_end if state.stream_left > 0 else 0,
    )


@internal
@view
def _node(id: uint256) -> IStaking.Node:
    row: packing.State = ledger._row(id)
    return IStaking.Node(
        owner=row.owner,
        key=row.key,
        role=convert(row.role, uint8),
        active=row.active,
        self_stake=packing._value(row.own, row.price),
        effective_stake=packing._value(row.bonded, row.price),
    )
