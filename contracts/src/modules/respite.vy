# pragma version 0.4.3
"""
@title Respite
@notice How much of a node's stake one contract may slash now. After a slash a node has a respite, in which no more than
        one slash is taken of what is on it and was on it: its voters have the time to notice and to go.
@dev Counted in wei: a slash of a node that is empty saves nothing of one that is full. A further slash makes the respite
     longer by its weight: else one of next to nothing, again and again, would keep a node safe for ever.
     Spec: contracts/SPEC.md.
"""
from interfaces import IStaking


# What of Staking is not for all connected contracts.
interface Shares:
    def standing(id: uint256) -> Standing: view


# As Staking.standing gives it: what of a node is not in its row.
struct Standing:
    price: uint256
    bonded_shares: uint256
    own_shares: uint256
    unbonding_shares: uint256
    commission: uint256
    next_commission: uint256
    next_commission_at: uint256
    jailed_until: uint256
    frozen_until: uint256
    in_debt: bool
    stream_left: uint256
    stream_end: uint256


BPS: constant(uint256) = 10_000
# Scale of Staking's prices.
PRICE_ONE: constant(uint256) = 10 ** 27
# How many unbonding delays a respite lasts: one to notice a slash, one to be out.
RESPITE: constant(uint256) = 2

STAKING: immutable(IStaking)
LENGTH: immutable(uint256)

# Unix seconds at which a node's respite ends; 0 before its first slash by this contract.
respite_until: public(HashMap[uint256, uint256])
# What this contract took of it in that respite, in wei.
respite_slashed: public(HashMap[uint256, uint256])


@deploy
def __init__(staking: address):
    STAKING = IStaking(staking)
    LENGTH = RESPITE * staticcall IStaking(staking).unbonding_delay()


@internal
@view
def _slashable(id: uint256) -> uint256:
    # Bonded and unbonding stake: what a slash reaches.
    standing: Standing = staticcall Shares(STAKING.address).standing(id)
    return (standing.bonded_shares + standing.unbonding_shares) * standing.price // PRICE_ONE


@internal
@view
def _left(id: uint256, slashable: uint256, slash: uint256) -> uint256:
    # Basis points of what is on the node now; none where nothing is.
    if slashable == 0:
        return 0
    if block.timestamp >= self.respite_until[id]:
        return slash
    taken: uint256 = self.respite_slashed[id]
    most: uint256 = (slashable + taken) * slash // BPS
    return (most - min(taken, most)) * BPS // slashable


@internal
def _count(id: uint256, slashed: uint256):
    # The respite lasts on for the mean of what is left of it and of a whole one, weighed by what was taken.
    if slashed == 0:
        return
    rest: uint256 = max(self.respite_until[id], block.timestamp) - block.timestamp
    taken: uint256 = self.respite_slashed[id] if rest > 0 else 0
    self.respite_slashed[id] = taken + slashed
    self.respite_until[id] = block.timestamp + (taken * rest + slashed * LENGTH) // (taken + slashed)
