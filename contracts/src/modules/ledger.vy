# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Ledger
@notice The nodes, the accounts on them, and what they earn.
@dev Stake is shares of a node, worth `price` each. Slashing lowers the price and nothing else moves it, so it reaches
     everybody at once. Rewards never touch the price: they go to accounts by an accumulator per node.
     Every operation is: `_now` of emission, `_advance` the node, `_resolve` the account, change them, then store.
"""
from modules import emission
from modules import packing
from modules import terms

uses: terms
uses: emission


event NodeChanged:
    id: indexed(uint256)
    owner: address
    key: address
    role: uint8
    effective_stake: uint256
    self_stake: uint256
    active: bool

event RewardsClaimed:
    id: indexed(uint256)
    account: indexed(address)
    amount: uint256


# Nodes whose rewards one call claims.
MAX_CLAIMS: constant(uint256) = 32

# How many nodes were ever registered; ids run from 1 to this number.
node_count: public(uint256)

_nodes: HashMap[uint256, uint256[packing.WORDS]]
_accounts: HashMap[uint256, HashMap[address, uint256[2]]]
# A node's accumulator at the beginning of an epoch, where votes on it began to earn; and from bit 160 on, one more than
# its effective stake then without those votes.
_acc_at: HashMap[uint256, HashMap[uint256, uint256]]
# Sum of all effective stakes, and above bit 128 the sum of all unbonding stake.
_totals: uint256


@external
def poke(id: uint256):
    """
    @notice Settles a node's rewards up to now. Nobody needs it: every claim does it.
    @param id The node.
    """
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = self._begin(id)
    emission._store(now)
    self._store(id, state)


@external
def claim(id: uint256) -> uint256:
    """
    @notice Pays out what the caller has earned on a node, as its voter and as its owner.
    @param id The node.
    @return What was paid, in wei.
    """
    amount: uint256 = self._take_rewards(id, msg.sender)
    assert amount > 0, "Staking: nothing to claim on this node"
    terms._send(msg.sender, amount)
    return amount


@external
def claim_many(ids: DynArray[uint256, MAX_CLAIMS]) -> uint256:
    """
    @notice Pays out what the caller has earned on several nodes.
    @param ids The nodes, at most 32.
    @return What was paid, in wei.
    """
    amount: uint256 = 0
    for id: uint256 in ids:
        amount += self._take_rewards(id, msg.sender)
    assert amount > 0, "Staking: nothing to claim on these nodes"
    terms._send(msg.sender, amount)
    return amount


@external
@view
def earned(id: uint256, account: address) -> uint256:
    """
    @param id The node.
    @param account A voter of it, or its owner.
    @return What `claim` would pay the account in this second, in wei.
    """
    state: packing.State = self._advance(id, emission._now())
    due: uint256 = self._resolve(id, account, state).rewards
    return due + state.operator_due if account == state.owner else due


@external
@view
def stake_of(id: uint256, account: address) -> uint256:
    """
    @param id The node.
    @param account Its owner or a voter.
    @return What the account's shares are worth, in wei, without those that are unbonding.
    """
    found: packing.Account = packing._account(self._accounts[id][account])
    return packing._value(found.earning + found.pending, (self._nodes[id][2] & packing.U96))


@external
@view
def stake_before(id: uint256, epoch: uint256) -> uint256:
    """
    @notice For draws whose outcome can be foreseen: whoever fills a node when he knows that it will be drawn gains
            nothing by it. Of several epochs, the least for each of them is what came before the first.
    @param id The node.
    @param epoch Its number.
    @return What is left of its effective stake, in wei, without what came in that epoch or in the latest one after it.
    """
    state: packing.State = packing._state(self._nodes[id])
    if state.pending_epoch >= epoch:
        state.bonded -= state.pending
    # Nothing is kept of an epoch in which nothing came: below zero that is more than anybody has.
    before: uint256 = unsafe_sub(self._acc_at[id][epoch + 1] >> 160, 1)
    return min(packing._value(state.bonded, state.price), before)


@external
@view
def shares_of(id: uint256, account: address) -> (uint256, uint256):
    """
    @param id The node.
    @param account Its owner or a voter.
    @return Shares that earn now, and shares that earn from the next epoch on.
    """
    found: packing.Account = self._resolve(id, account, self._advance(id, emission._now()))
    return found.earning, found.pending


@external
@view
def total_staked() -> uint256:
    """
    @return Sum of all effective stakes, in wei.
    """
    return self._totals & (2**128 - 1)


@external
@view
def total_unbonding() -> uint256:
    """
    @return Sum of all that is taken back and not withdrawn, in wei.
    """
    return self._totals >> 128


@internal
@view
def _begin(id: uint256) -> (packing.Emission, packing.State):
    # Emission and node in this second.
    now: packing.Emission = emission._now()
    state: packing.State = self._advance(id, now)
    assert state.owner != empty(address), "Staking: no node has this id"
    return now, state


@internal
@view
def _begin_as_owner(id: uint256) -> (packing.Emission, packing.State):
    now: packing.Emission = emission._now()
    state: packing.State = self._advance(id, now)
    assert state.owner == msg.sender, "Staking: only the node's owner may do this"
    return now, state


@internal
@view
def _advance(id: uint256, now: packing.Emission) -> packing.State:
    # The node in this second, with all its rewards shared out. Stores nothing.
    state: packing.State = packing._state(self._nodes[id])
    first: uint256 = state.pending_epoch + 1
    if state.pending > 0 and first * terms.EPOCH <= block.timestamp:
        state = self._shared(state, emission._at(first, now), first * terms.EPOCH)
        state.boundary = first
        state.boundary_acc = state.acc
        state.boundary_stake = packing._value(state.bonded - state.pending, state.price)
        state.pending = 0
    state = self._shared(state, now.acc, block.timestamp)
    if state.commission_at > 0 and state.commission_at <= block.timestamp:
        state.commission = state.next_commission
        state.commission_at = 0
    state.counted_bonded = packing._value(state.bonded, state.price)
    state.counted_unbonding = packing._value(state.unbonding, state.price)
    if state.active:
        state.counted_weight = packing._value(state.bonded - state.pending, state.price)
        state.counted_pending = state.counted_bonded - state.counted_weight
    return state


@internal
@pure
def _shared(before: packing.State, emission_acc: uint256, until: uint256) -> packing.State:
    # Shares out what the node earned between its last settlement and `until`, in which its shares did not change.
    state: packing.State = before
    earning: uint256 = state.bonded - state.pending
    due: uint256 = 0
    if state.active:
        weight: uint256 = packing._value(earning, state.price)
        due = weight * (emission_acc - state.emission_paid) // packing.PRECISION
    state.emission_paid = emission_acc
    if state.stream_left > 0:
        part: uint256 = state.stream_left
        if until < state.stream_end:
            part = state.stream_left * (until - state.settled_at) // (state.stream_end - state.settled_at)
        state.stream_left -= part
        due += part
    state.settled_at = until
    if due > 0:
        if earning >= packing.MIN_EARNING:
            rise: uint256 = (due - due * state.commission // packing.WHOLE) * packing.PRECISION // earning
            state.acc += rise
            # What rounding leaves of the voters' part is the operator's, but for the fraction of a wei that their
            # accounts may add up to a whole one later: hence rounded up.
            due -= (rise * earning + packing.PRECISION - 1) // packing.PRECISION
        state.operator_due += due
    return state


@internal
@view
def _resolve(id: uint256, account: address, state: packing.State) -> packing.Account:
    # The account in this second, with what its shares have earned. Stores nothing.
    found: packing.Account = packing._account(self._accounts[id][account])
    found.rewards += found.earning * (state.acc - found.paid) // packing.PRECISION
    first: uint256 = found.pending_epoch + 1
    if found.pending > 0 and first * terms.EPOCH <= block.timestamp:
        since: uint256 = state.boundary_acc if state.boundary == first else self._acc_at[id][first] & packing.U160
        found.rewards += found.pending * (state.acc - since) // packing.PRECISION
        found.earning += found.pending
        found.pending = 0
    found.paid = state.acc
    return found


@internal
def _take_rewards(id: uint256, account: address) -> uint256:
    now: packing.Emission = emission._now()
    state: packing.State = self._advance(id, now)
    found: packing.Account = self._resolve(id, account, state)
    amount: uint256 = found.rewards
    found.rewards = 0
    if account == state.owner:
        amount += state.operator_due
        state.operator_due = 0
    if amount == 0:
        return 0
    emission._store(now)
    self._store(id, state)
    self._store_account(id, account, found)
    log RewardsClaimed(id=id, account=account, amount=amount)
    return amount


@internal
@view
def _row(id: uint256) -> packing.State:
    # What is up to date without settling: all of the node but its rewards, which are not read.
    words: uint256[packing.WORDS] = empty(uint256[packing.WORDS])
    for place: uint256 in range(4):
        words[place] = self._nodes[id][place]
    return packing._state(words)


@internal
def _store(id: uint256, state: packing.State):
    self._nodes[id] = packing._state_words(state)
    if state.boundary > 0:
        self._acc_at[id][state.boundary] = state.boundary_acc | ((state.boundary_stake + 1) << 160)


@internal
def _store_account(id: uint256, account: address, found: packing.Account):
    self._accounts[id][account] = packing._account_words(found)


@internal
def _change_totals(bonded_before: uint256, bonded: uint256, unbonding_before: uint256, unbonding: uint256):
    totals: uint256 = self._totals + bonded + (unbonding << 128)
    self._totals = totals - bonded_before - (unbonding_before << 128)


@internal
def _finish(id: uint256, changed: packing.State, now: packing.Emission):
    # Every change of a row ends here, so that `active`, the sums and the event are never forgotten.
    state: packing.State = changed
    role: uint8 = convert(state.role, uint8)
    own: uint256 = packing._value(state.own, state.price)
    effective: uint256 = packing._value(state.bonded, state.price)
    unbonding: uint256 = packing._value(state.unbonding, state.price)
    state.active = own > terms._minimum(role) and state.jailed_until == 0 and not state.in_debt
    weight: uint256 = 0
    pending: uint256 = 0
    if state.active:
        weight = packing._value(state.bonded - state.pending, state.price)
        pending = effective - weight
    after: packing.Emission = now
    after.weight = after.weight + weight - state.counted_weight
    after.pending = after.pending + pending - state.counted_pending
    emission._store(after)
    self._store(id, state)
    self._change_totals(state.counted_bonded, effective, state.counted_unbonding, unbonding)
    log NodeChanged(
        id=id,
        owner=state.owner,
        key=state.key,
        role=role,
        effective_stake=effective,
        self_stake=own,
        active=state.active,
    )


@internal
def _lower_unbonding(id: uint256, row: packing.State, shares: uint256):
    # Unbonding shares have left the node. They neither weigh nor earn, so nothing else changes.
    left: uint256 = row.unbonding - shares
    self._nodes[id][3] = row.own | (left << 112)
    self._change_totals(0, 0, packing._value(row.unbonding, row.price), packing._value(left, row.price))
