# pragma version 0.4.3
"""
@title Packing
@notice What is stored of a node, of an account on a node and of the emission, and how it lies in words of 256 bits.
@dev Pure. Widths, and why nothing outgrows them: CAI's supply is 10**27 wei, below 2**96. Shares are at most
     10**27 * 10**6 (nobody adds at a price below 10**-6), below 2**112. Accumulators rise by at most 10**27 / 10**18 for
     each wei that is paid (nothing is shared among less than MIN_EARNING), so the whole supply would have to be paid out
     10**12 times to reach 2**160. Seconds are below 2**40 for 34,000 years, numbers of epochs (4 s at least) below 2**32
     for 490 years.
"""

# Scale of prices: a share of an unslashed node is worth one wei.
ONE: constant(uint256) = 10**27
# Scale of accumulators: at 10**27 shares, one wei.
PRECISION: constant(uint256) = 10**27
# Below this many shares, or this much weight, nothing is shared: the remainder of a division would be worth more.
MIN_EARNING: constant(uint256) = 10**18
# Basis points in a whole.
WHOLE: constant(uint256) = 10_000

U96: constant(uint256) = 2**96 - 1
U112: constant(uint256) = 2**112 - 1
U160: constant(uint256) = 2**160 - 1
U40: constant(uint256) = 2**40 - 1
U32: constant(uint256) = 2**32 - 1
U16: constant(uint256) = 2**16 - 1
U8: constant(uint256) = 2**8 - 1

# Words of a node.
WORDS: constant(uint256) = 7


struct State:
    # Word 0.
    owner: address
    role: uint256
    active: bool
    in_debt: bool
    # Basis points of rewards that the operator keeps; what it will be; and from when, 0 when nothing is announced.
    commission: uint256
    next_commission: uint256
    commission_at: uint256
    # Word 1. The hot key; until when the node is jailed (0: it is not); until when its stake is frozen.
    key: address
    jailed_until: uint256
    frozen_until: uint256
    # Word 2. Value of one share; all shares that are not unbonding; up to when rewards are settled.
    price: uint256
    bonded: uint256
    settled_at: uint256
    # Word 3. The owner's part of the bonded shares; all unbonding shares.
    own: uint256
    unbonding: uint256
    # Word 4. The part of the bonded shares that does not earn yet; the epoch it came in; what the operator may claim.
    pending: uint256
    pending_epoch: uint256
    operator_due: uint256
    # Word 5. Rewards per earning share since ever; what is left of the stream.
    acc: uint256
    stream_left: uint256
    # Word 6. Emission per weight up to which this node has its part; when the stream ends.
    emission_paid: uint256
    stream_end: uint256
    # Not stored. The epoch at whose beginning `pending` began to earn, `acc` then, and what the bonded shares without
    # them were worth; 0 when that is not now.
    boundary: uint256
    boundary_acc: uint256
    boundary_stake: uint256
    # Not stored. What the sums over all nodes contain for this one.
    counted_weight: uint256
    counted_pending: uint256
    counted_bonded: uint256
    counted_unbonding: uint256


struct Account:
    # Word 0. Shares that earn; shares that do not yet; the epoch in which those came.
    earning: uint256
    pending: uint256
    pending_epoch: uint256
    # Word 1. The node's `acc` up to which `rewards` are credited; wei to claim.
    paid: uint256
    rewards: uint256


struct Emission:
    # Word 0. Earning weight of all active nodes; weight that joins at the end of the epoch; last settlement;
    # whether anybody voted in this epoch.
    weight: uint256
    pending: uint256
    settled_at: uint256
    marked: bool
    # Word 1. Emission per weight since ever; wei that is not emitted yet.
    acc: uint256
    pool: uint256
    # Wei a second.
    rate: uint256
    # Not stored. The epoch at whose beginning `acc` must be kept, and `acc` then; 0 when none.
    boundary: uint256
    boundary_acc: uint256


struct Unbonding:
    id: uint256
    shares: uint256
    release_at: uint256


@internal
@pure
def _state(words: uint256[WORDS]) -> State:
    state: State = empty(State)
    state.owner = convert(convert(words[0] & U160, uint160), address)
    state.role = (words[0] >> 160) & U8
    state.active = (words[0] >> 168) & 1 == 1
    state.in_debt = (words[0] >> 169) & 1 == 1
    state.commission = (words[0] >> 176) & U16
    state.next_commission = (words[0] >> 192) & U16
    state.commission_at = words[0] >> 208
    state.key = convert(convert(words[1] & U160, uint160), address)
    state.jailed_until = (words[1] >> 160) & U40
    state.frozen_until = words[1] >> 200
    state.price = words[2] & U96
    state.bonded = (words[2] >> 96) & U112
    state.settled_at = words[2] >> 208
    state.own = words[3] & U112
    state.unbonding = words[3] >> 112
    state.pending = words[4] & U112
    state.pending_epoch = (words[4] >> 112) & U32
    state.operator_due = words[4] >> 144
    state.acc = words[5] & U160
    state.stream_left = words[5] >> 160
    state.emission_paid = words[6] & U160
    state.stream_end = words[6] >> 160
    return state


@internal
@pure
def _state_words(state: State) -> uint256[WORDS]:
    flags: uint256 = (1 if state.active else 0) | (2 if state.in_debt else 0)
    terms: uint256 = (state.commission << 176) | (state.next_commission << 192) | (state.commission_at << 208)
    return [
        convert(state.owner, uint256) | (state.role << 160) | (flags << 168) | terms,
        convert(state.key, uint256) | (state.jailed_until << 160) | (state.frozen_until << 200),
        state.price | (state.bonded << 96) | (state.settled_at << 208),
        state.own | (state.unbonding << 112),
        state.pending | (state.pending_epoch << 112) | (state.operator_due << 144),
        state.acc | (state.stream_left << 160),
        state.emission_paid | (state.stream_end << 160),
    ]


@internal
@pure
def _account(words: uint256[2]) -> Account:
    return Account(
        earning=words[0] & U112,
        pending=(words[0] >> 112) & U112,
        pending_epoch=words[0] >> 224,
        paid=words[1] & U160,
        rewards=words[1] >> 160,
    )


@internal
@pure
def _account_words(account: Account) -> uint256[2]:
    return [
        account.earning | (account.pending << 112) | (account.pending_epoch << 224),
        account.paid | (account.rewards << 160),
    ]


@internal
@pure
def _emission(words: uint256[2]) -> Emission:
    emission: Emission = empty(Emission)
    emission.weight = words[0] & U96
    emission.pending = (words[0] >> 96) & U96
    emission.settled_at = (words[0] >> 192) & U40
    emission.marked = words[0] >> 232 == 1
    emission.acc = words[1] & U160
    emission.pool = words[1] >> 160
    return emission


@internal
@pure
def _emission_words(emission: Emission) -> uint256[2]:
    mark: uint256 = 1 if emission.marked else 0
    return [
        emission.weight | (emission.pending << 96) | (emission.settled_at << 192) | (mark << 232),
        emission.acc | (emission.pool << 160),
    ]


@internal
@pure
def _unbonding(word: uint256) -> Unbonding:
    return Unbonding(id=word >> 152, shares=word & U112, release_at=(word >> 112) & U40)


@internal
@pure
def _unbonding_word(entry: Unbonding) -> uint256:
    return entry.shares | (entry.release_at << 112) | (entry.id << 152)


@internal
@pure
def _value(shares: uint256, price: uint256) -> uint256:
    return shares * price // ONE


@internal
@pure
def _shares(amount: uint256, price: uint256) -> uint256:
    # Rounded up: whoever takes wei out gives at least as much.
    return (amount * ONE + price - 1) // price
