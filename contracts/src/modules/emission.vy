# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Emission
@notice Gives CAI out of a pool that anybody fills: so much a second, shared by the earning weight of all active nodes.
@dev One accumulator. It is linear between two settlements, but for the beginning of an epoch, where the votes of the
     epoch before begin to earn; its value there is kept for the nodes that settle later.
"""
from modules import packing
from modules import parameter_ids as ids
from modules import terms

uses: terms


event EmissionFunded:
    funder: indexed(address)
    amount: uint256
    pool: uint256

event EmissionRateChanged:
    before: uint256
    rate: uint256


# What the accumulator was at the beginning of an epoch, where votes began to earn.
_acc_at: HashMap[uint256, uint256]
_words: uint256[2]
_rate: uint256


@deploy
def __init__():
    fresh: packing.Emission = empty(packing.Emission)
    fresh.settled_at = block.timestamp
    self._words = packing._emission_words(fresh)
    self._rate = staticcall terms.PARAMETERS.value(ids.EMISSION_RATE)


@external
def fund_emission(amount: uint256):
    """
    @notice Adds the caller's CAI to the pool out of which emission is paid. Nobody can take it back.
    @param amount In wei. Approve this contract for it first.
    """
    assert amount > 0, "Staking: amount is zero"
    now: packing.Emission = self._now()
    # Checked here for all that the pool ever holds: CAI's supply is below this.
    assert amount <= packing.U96 - now.pool, "Staking: the pool cannot hold that much"
    now.pool += amount
    self._store(now)
    log EmissionFunded(funder=msg.sender, amount=amount, pool=now.pool)
    terms._collect(amount)


@external
@view
def emission_status() -> (uint256, uint256, uint256):
    """
    @return What is left in the pool now; the rate in wei a second; the earning weight of all active nodes in wei.
    """
    now: packing.Emission = self._now()
    return now.pool, now.rate, now.weight


@internal
@view
def _now() -> packing.Emission:
    # What the emission is in this second. Stores nothing.
    now: packing.Emission = packing._emission(self._words)
    now.rate = self._rate
    next_epoch: uint256 = now.settled_at // terms.EPOCH + 1
    if next_epoch * terms.EPOCH <= block.timestamp:
        now = self._spent(now, next_epoch * terms.EPOCH)
        if now.marked:
            now.boundary = next_epoch
            now.boundary_acc = now.acc
        now.weight += now.pending
        now.pending = 0
        now.marked = False
    return self._spent(now, block.timestamp)


@internal
@pure
def _spent(emission: packing.Emission, until: uint256) -> packing.Emission:
    after: packing.Emission = emission
    if after.weight >= packing.MIN_EARNING:
        amount: uint256 = min(after.rate * (until - after.settled_at), after.pool)
        after.pool -= amount
        after.acc += amount * packing.PRECISION // after.weight
    after.settled_at = until
    return after


@internal
@view
def _at(epoch: uint256, now: packing.Emission) -> uint256:
    # The accumulator at the beginning of an epoch in which votes began to earn.
    return now.boundary_acc if now.boundary == epoch else self._acc_at[epoch]


@internal
def _store(now: packing.Emission):
    # The rate so far holds up to this second; from here on, what Parameters says.
    self._words = packing._emission_words(now)
    if now.boundary > 0:
        self._acc_at[now.boundary] = now.boundary_acc
    rate: uint256 = staticcall terms.PARAMETERS.value(ids.EMISSION_RATE)
    if rate != now.rate:
        self._rate = rate
        log EmissionRateChanged(before=now.rate, rate=rate)
