# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Penalties
@notice What the connected contracts may do to a node, and no more: pay it, slash it, jail it, freeze its withdrawals,
        put it into debt and take its owner's own stake for that debt.
@dev The limits hold whatever those contracts ask for.
"""
from modules import connections
from modules import emission
from modules import ledger
from modules import packing
from modules import terms
from modules import votes

uses: terms
uses: emission
uses: ledger
uses: votes
uses: connections


interface Burnable:
    def burn(amount: uint256): nonpayable


event Paid:
    id: indexed(uint256)
    amount: uint256
    stream: uint256
    ends_at: uint256

event Slashed:
    id: indexed(uint256)
    bps: uint256
    price: uint256
    slashed: uint256
    bounty: uint256
    receiver: address

event Jailed:
    id: indexed(uint256)
    until: uint256
    reason: String[32]

event Unjailed:
    id: indexed(uint256)

event Frozen:
    id: indexed(uint256)
    until: uint256

event DebtChanged:
    id: indexed(uint256)
    in_debt: bool

event Seized:
    id: indexed(uint256)
    amount: uint256


# Most that one slash takes, in basis points.
MAX_SLASH: constant(uint256) = 1_000
# Most of what an owner loses by a slash that goes to its reporter, in basis points: reporting oneself must cost him far
# more than it brings.
MAX_BOUNTY: constant(uint256) = 1_000
# Most of it that goes to the calling contract itself, which pays with it whom it must: a tenth burns always.
MAX_KEPT: constant(uint256) = 9_000
# Longest that a node is jailed at once.
MAX_JAIL: constant(uint256) = 30 * 86_400
# Unbondings that one seizure reaches.
MAX_SEIZED: constant(uint256) = 16


@external
def pay(id: uint256, amount: uint256):
    """
    @notice Takes CAI from the caller for a node, which streams to its operator and voters. By Settlement only.
    @dev What is left of the stream and the new amount go on together for the mean of their times, weighed by amount:
         a small payment cannot hold up a large one. To the nearest second: rounded up, many of a wei could.
    @param id The node.
    @param amount In wei.
    """
    connections._check_settlement()
    assert amount > 0, "Staking: amount is zero"
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    left: uint256 = state.stream_left
    total: uint256 = left + amount
    assert total <= packing.U96, "Staking: the stream cannot hold that much"
    remaining: uint256 = 0 if left == 0 else state.stream_end - block.timestamp
    seconds: uint256 = (left * remaining + amount * terms.STREAM + total // 2) // total
    state.stream_left = total
    state.stream_end = block.timestamp + seconds
    emission._store(now)
    ledger._store(id, state)
    log Paid(id=id, amount=amount, stream=total, ends_at=state.stream_end)
    terms._collect(amount)


@external
def slash(id: uint256, bps: uint256, receiver: address, bounty_bps: uint256) -> uint256:
    """
    @notice Lowers the price of a node's shares, bonded and unbonding alike. By Slashing and Disputes only.
    @param id The node.
    @param bps Basis points of its stake; more than 1,000 counts as 1,000.
    @param receiver Gets the bounty; with the zero address everything burns.
    @param bounty_bps Basis points of what the owner's bonded stake lost; more than 1,000 counts as 1,000, or more than
           9,000 as 9,000 where the receiver is the caller. Nothing of what voters lose: an operator could report
           himself, and be paid out of theirs.
    @return What was slashed, in wei, bounty included.
    """
    connections._check_slasher()
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    shares: uint256 = state.bonded + state.unbonding
    share: uint256 = min(bps, MAX_SLASH)
    before: uint256 = packing._value(shares, state.price)
    own: uint256 = packing._value(state.own, state.price)
    # Unchecked, for size: a part is no more than the whole, and the price has 96 bits.
    state.price = unsafe_div(unsafe_mul(state.price, unsafe_sub(packing.WHOLE, share)), packing.WHOLE)
    slashed: uint256 = unsafe_sub(before, packing._value(shares, state.price))
    bounty: uint256 = 0
    if receiver != empty(address):
        most: uint256 = MAX_KEPT if receiver == msg.sender else MAX_BOUNTY
        bounty = (own - packing._value(state.own, state.price)) * min(bounty_bps, most) // packing.WHOLE
    log Slashed(id=id, bps=share, price=state.price, slashed=slashed, bounty=bounty, receiver=receiver)
    ledger._finish(id, state, now)
    extcall Burnable(terms.TOKEN.address).burn(slashed - bounty)
    if bounty > 0:
        terms._send(receiver, bounty)
    return slashed


@external
def jail(id: uint256, until: uint256, reason: String[32]):
    """
    @notice Makes a node inactive until its owner unjails it, at the earliest when the time is over. By Slashing and
            Disputes only. A second sentence never shortens the first.
    @param id The node.
    @param until Unix seconds; at most 30 days from now count.
    @param reason A word for people.
    """
    connections._check_slasher()
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    # Never 0, which means that it is not jailed.
    state.jailed_until = max(max(state.jailed_until, block.timestamp), min(until, block.timestamp + MAX_JAIL))
    log Jailed(id=id, until=state.jailed_until, reason=reason)
    ledger._finish(id, state, now)


@external
def unjail(id: uint256):
    """
    @notice Ends the jailing of the caller's node, once its time is over.
    @param id The node.
    """
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin_as_owner(id)
    assert state.jailed_until > 0, "Staking: the node is not jailed"
    assert block.timestamp >= state.jailed_until, "Staking: the node's jail time is not over"
    assert not state.in_debt, "Staking: the node is in debt, pay it first"
    own: uint256 = packing._value(state.own, state.price)
    enough: bool = own > terms._minimum(convert(state.role, uint8))
    assert enough, "Staking: own stake must be above the minimum, vote for your node first"
    state.jailed_until = 0
    log Unjailed(id=id)
    ledger._finish(id, state, now)


@external
def freeze(id: uint256, until: uint256):
    """
    @notice Holds withdrawals from a node. By Disputes only. Replaces an earlier freeze; a past time lifts it.
    @param id The node.
    @param until Unix seconds; at most one unbonding delay from now counts.
    """
    connections._check_disputes()
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    state.frozen_until = min(until, block.timestamp + terms.UNBONDING_DELAY)
    emission._store(now)
    ledger._store(id, state)
    log Frozen(id=id, until=state.frozen_until)


@external
def set_debt(id: uint256, in_debt: bool):
    """
    @notice Says whether a node owes more than its escrow pays. In debt it is inactive, and its owner can neither unvote
            nor withdraw from it; voters can. By Settlement only.
    @param id The node.
    @param in_debt Whether it does.
    """
    connections._check_settlement()
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    state.in_debt = in_debt
    log DebtChanged(id=id, in_debt=in_debt)
    ledger._finish(id, state, now)


@external
def seize(id: uint256, amount: uint256, indices: DynArray[uint256, MAX_SEIZED]) -> uint256:
    """
    @notice Takes the owner's own stake for the node's debt: bonded stake first, then the named unbondings of his from
            this node. Never anybody else's. By Settlement only, which gets the CAI.
    @param id The node.
    @param amount Most to take, in wei.
    @param indices Unbondings of the owner, at most 16; those of other nodes are passed over.
    @return What was taken, in wei.
    """
    connections._check_settlement()
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin(id)
    taken: uint256 = min(amount, packing._value(state.own, state.price))
    if taken > 0:
        found: packing.Account = ledger._resolve(id, state.owner, state)
        state, found = votes._taken(state, found, packing._shares(taken, state.price), state.owner)
        ledger._store_account(id, state.owner, found)
    for index: uint256 in indices:
        shares: uint256 = 0
        part: uint256 = 0
        shares, part = votes._seize_unbonding(id, state.owner, index, state, amount - taken)
        state.unbonding -= shares
        taken += part
    log Seized(id=id, amount=taken)
    ledger._finish(id, state, now)
    if taken > 0:
        terms._send(msg.sender, taken)
    return taken
