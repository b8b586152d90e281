# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Votes
@notice The one way in and the one way out for everybody's stake: vote, unvote, and withdraw after the delay.
"""
from modules import ledger
from modules import packing
from modules import terms

uses: terms
uses: ledger


struct Unbonding:
    # The node that the stake was taken from.
    id: uint256
    # Shares of the node; 0 once withdrawn.
    shares: uint256
    # What they are worth now, in wei; a slash before they are withdrawn lowers it.
    amount: uint256
    # Unix seconds from which they can be withdrawn.
    release_at: uint256


event Voted:
    id: indexed(uint256)
    voter: indexed(address)
    amount: uint256
    stake_after: uint256

event Unvoted:
    id: indexed(uint256)
    voter: indexed(address)
    amount: uint256
    stake_after: uint256
    index: uint256
    release_at: uint256

event Withdrawn:
    voter: indexed(address)
    index: uint256
    amount: uint256


# Below this price nobody can add to a node: it was slashed nearly to nothing, and its shares would grow without bound.
RUINED: constant(uint256) = packing.ONE // 10**6

# How many times an address has taken stake back; its unbondings have the indices below this number.
unbonding_count: public(HashMap[address, uint256])

_unbondings: HashMap[address, HashMap[uint256, uint256]]


@external
def vote(id: uint256, amount: uint256):
    """
    @notice Stakes the caller's CAI on a node. By the node's owner it is own stake, by anybody else a vote. It weighs
            with the next table and earns from the next epoch on.
    @param id The node.
    @param amount In wei. Approve this contract for it first.
    """
    assert amount > 0, "Staking: amount is zero"
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    self._add(id, state, now, amount)


@external
def unvote(id: uint256, amount: uint256) -> uint256:
    """
    @notice Takes the caller's stake back from a node. It weighs and earns no more at once, can still be slashed, and
            can be withdrawn after the unbonding delay. A node whose own stake is no longer above the minimum becomes
            inactive.
    @param id The node.
    @param amount In wei, at most what the caller has staked on this node; 2**256 - 1 takes everything.
    @return Index of the unbonding, for `withdraw`.
    """
    assert amount > 0, "Staking: amount is zero"
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    assert not (state.in_debt and msg.sender == state.owner), "Staking: the node is in debt, its owner cannot leave"
    found: packing.Account = ledger._resolve(id, msg.sender, state)
    shares: uint256 = found.earning + found.pending
    assert shares > 0, "Staking: you have not staked that much on this node"
    if amount != max_value(uint256):
        assert amount <= packing._value(shares, state.price), "Staking: you have not staked that much on this node"
        shares = packing._shares(amount, state.price)
    state, found = self._taken(state, found, shares, msg.sender)
    state.unbonding += shares

    index: uint256 = self.unbonding_count[msg.sender]
    release_at: uint256 = block.timestamp + terms.UNBONDING_DELAY
    self.unbonding_count[msg.sender] = index + 1
    self._unbondings[msg.sender][index] = packing._unbonding_word(
        packing.Unbonding(id=id, shares=shares, release_at=release_at)
    )
    ledger._store_account(id, msg.sender, found)
    log Unvoted(
        id=id,
        voter=msg.sender,
        amount=packing._value(shares, state.price),
        stake_after=packing._value(found.earning + found.pending, state.price),
        index=index,
        release_at=release_at,
    )
    ledger._finish(id, state, now)
    return index


@external
def withdraw(account: address, index: uint256) -> uint256:
    """
    @notice Pays out stake that an account took back, once its delay is over. Anybody may call it, so that nobody's
            stake goes on being slashable because he is away. Waits while a dispute about the node is open, but never
            longer than one more unbonding delay; the owner's waits while the node is in debt.
    @param account Who took the stake back and gets it.
    @param index As `unvote` returned it.
    @return What was paid, in wei.
    """
    entry: packing.Unbonding = packing._unbonding(self._unbondings[account][index])
    assert entry.shares > 0, "Staking: nothing to withdraw under this index"
    assert block.timestamp >= entry.release_at, "Staking: the unbonding delay is not over"
    state: packing.State = ledger._row(entry.id)
    if block.timestamp < state.frozen_until:
        is_over: bool = block.timestamp >= entry.release_at + terms.UNBONDING_DELAY
        assert is_over, "Staking: a dispute about this node is open, try again when it is over"
    assert not (state.in_debt and account == state.owner), "Staking: the node is in debt, its owner cannot withdraw"
    self._unbondings[account][index] = 0
    amount: uint256 = packing._value(entry.shares, state.price)
    ledger._lower_unbonding(entry.id, state, entry.shares)
    log Withdrawn(voter=account, index=index, amount=amount)
    terms._send(account, amount)
    return amount


@external
@view
def unbonding(account: address, index: uint256) -> Unbonding:
    """
    @param account Who took stake back.
    @param index As `unvote` returned it.
    @return The unbonding; its shares are zero once it is withdrawn, or when there is none.
    """
    entry: packing.Unbonding = packing._unbonding(self._unbondings[account][index])
    amount: uint256 = packing._value(entry.shares, ledger._row(entry.id).price)
    return Unbonding(id=entry.id, shares=entry.shares, amount=amount, release_at=entry.release_at)


@internal
def _add(id: uint256, advanced: packing.State, emitted: packing.Emission, amount: uint256):
    # State first, then the token: the token is our own and calls nobody, and the order does not rely on that.
    state: packing.State = advanced
    now: packing.Emission = emitted
    assert state.price >= RUINED, "Staking: this node is ruined, nobody can add to it"
    # Prices never exceed ONE, so this is at least the amount and never zero.
    shares: uint256 = amount * packing.ONE // state.price
    found: packing.Account = ledger._resolve(id, msg.sender, state)
    found.pending += shares
    found.pending_epoch = terms._epoch()
    state.bonded += shares
    state.pending += shares
    state.pending_epoch = found.pending_epoch
    assert state.bonded + state.unbonding <= packing.U112, "Staking: the node cannot hold that much"
    if msg.sender == state.owner:
        state.own += shares
    now.marked = True
    ledger._store_account(id, msg.sender, found)
    stake_after: uint256 = packing._value(found.earning + found.pending, state.price)
    log Voted(id=id, voter=msg.sender, amount=amount, stake_after=stake_after)
    ledger._finish(id, state, now)
    terms._collect(amount)


@internal
@pure
def _taken(
    state: packing.State, account: packing.Account, shares: uint256, holder: address
) -> (packing.State, packing.Account):
    # The node and the account after bonded shares left them: first those that do not earn yet.
    after: packing.State = state
    found: packing.Account = account
    fresh: uint256 = min(shares, found.pending)
    found.pending -= fresh
    found.earning -= shares - fresh
    after.pending -= fresh
    after.bonded -= shares
    if holder == after.owner:
        after.own -= shares
    return after, found


@internal
def _seize_unbonding(id: uint256, account: address, index: uint256, state: packing.State, amount: uint256) -> (uint256, uint256):
    # Takes up to `amount` wei out of one unbonding. Gives the shares and the wei that were taken.
    entry: packing.Unbonding = packing._unbonding(self._unbondings[account][index])
    if entry.id != id:
        return 0, 0
    taken: uint256 = min(amount, packing._value(entry.shares, state.price))
    if taken == 0:
        return 0, 0
    shares: uint256 = packing._shares(taken, state.price)
    entry.shares -= shares
    self._unbondings[account][index] = packing._unbonding_word(entry)
    return shares, taken
