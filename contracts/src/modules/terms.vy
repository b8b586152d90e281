# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Terms
@notice What a staking contract is deployed with and nobody can ever change.
"""
from ethereum.ercs import IERC20

from interfaces import IParameters

MINER: constant(uint8) = 1
COORDINATOR: constant(uint8) = 2
# Shortest and longest epoch, as in the protocol's parameters.
MIN_EPOCH: constant(uint256) = 4
MAX_EPOCH: constant(uint256) = 86_400
# Longest stream: a payment that takes longer than a month to arrive pays nobody's electricity.
MAX_STREAM: constant(uint256) = 30 * 86_400

TOKEN: immutable(IERC20)
PARAMETERS: immutable(IParameters)
MINER_MINIMUM: immutable(uint256)
COORDINATOR_MINIMUM: immutable(uint256)
UNBONDING_DELAY: immutable(uint256)
EPOCH: immutable(uint256)
STREAM: immutable(uint256)


@deploy
def __init__(
    token: address,
    parameters: address,
    miner_minimum: uint256,
    coordinator_minimum: uint256,
    epoch_s: uint256,
    stream_s: uint256,
):
    assert token.is_contract, "Staking: token is not a contract"
    assert parameters.is_contract, "Staking: parameters is not a contract"
    assert 0 < miner_minimum and miner_minimum <= coordinator_minimum, "Staking: minimums are zero or swapped"
    assert MIN_EPOCH <= epoch_s and epoch_s <= MAX_EPOCH, "Staking: epoch is not in 4 s to 1 day"
    assert 0 < stream_s and stream_s <= MAX_STREAM, "Staking: stream is not in 1 s to 30 days"
    TOKEN = IERC20(token)
    PARAMETERS = IParameters(parameters)
    MINER_MINIMUM = miner_minimum
    COORDINATOR_MINIMUM = coordinator_minimum
    # Taken from there, so that the two can never differ.
    UNBONDING_DELAY = staticcall IParameters(parameters).unbonding_delay()
    EPOCH = epoch_s
    STREAM = stream_s


@external
@view
def token() -> address:
    """
    @return The CAI token.
    """
    return TOKEN.address


@external
@view
def parameters() -> address:
    """
    @return The contract that holds the numbers that may change.
    """
    return PARAMETERS.address


@external
@view
def minimum_stake(role: uint8) -> uint256:
    """
    @param role 1 for a miner, 2 for a coordinator.
    @return Own stake in wei that a node of this role must exceed to be active.
    """
    return self._minimum(role)


@external
@view
def unbonding_delay() -> uint256:
    """
    @return Seconds between taking stake back and withdrawing it.
    """
    return UNBONDING_DELAY


@external
@view
def epoch_s() -> uint256:
    """
    @return Length of an epoch in seconds: a vote earns from the next one.
    """
    return EPOCH


@external
@view
def stream_s() -> uint256:
    """
    @return Seconds over which a payment reaches a node and its voters.
    """
    return STREAM


@internal
@view
def _minimum(role: uint8) -> uint256:
    return COORDINATOR_MINIMUM if role == COORDINATOR else MINER_MINIMUM


@internal
@view
def _epoch() -> uint256:
    return block.timestamp // EPOCH


@internal
def _send(receiver: address, amount: uint256):
    assert extcall TOKEN.transfer(receiver, amount), "Staking: transfer failed"


@internal
def _collect(amount: uint256):
    assert extcall TOKEN.transferFrom(msg.sender, self, amount), "Staking: transfer failed"
