# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Parameters
@notice The numbers of the network that may change, and how: inside bounds that are code, and only after a delay that is
        at least the unbonding delay, so that whoever dislikes a change has left with his stake before it holds.
@dev The list is closed. A parameter that was never enacted has its default. Spec: contracts/SPEC.md.
"""
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

from interfaces import IParameters
from modules import parameter_ids as ids

initializes: ownable
initializes: ownable_2step[ownable := ownable]

implements: IParameters

exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    ownable_2step.renounce_ownership,
)


event Proposed:
    parameter: indexed(uint256)
    value: uint256
    ready_at: uint256

event Cancelled:
    parameter: indexed(uint256)
    value: uint256

event Enacted:
    parameter: indexed(uint256)
    before: uint256
    value: uint256


struct Limits:
    # What holds until something else is enacted.
    initial: uint256
    least: uint256
    most: uint256


struct Proposal:
    value: uint256
    # Unix seconds from which it can be enacted; 0 when nothing is proposed.
    ready_at: uint256


CAI: constant(uint256) = 10**18
HOUR: constant(uint256) = 3_600
DAY: constant(uint256) = 86_400
# Shortest unbonding delay: below it the windows, which are parts of it, have no whole seconds.
MIN_UNBONDING_DELAY: constant(uint256) = 16
# Longest unbonding delay: a typing error must not lock stakes for years.
MAX_UNBONDING_DELAY: constant(uint256) = 90 * DAY
# Longest delay of a change: a network that cannot be corrected in half a year is better corrected by leaving.
MAX_DELAY: constant(uint256) = 180 * DAY

UNBONDING_DELAY: immutable(uint256)
DELAY: immutable(uint256)

# One more than the value: 0 says that nothing was ever enacted.
_enacted: HashMap[uint256, uint256]
_proposals: HashMap[uint256, Proposal]


@deploy
def __init__(unbonding_delay: uint256, delay: uint256):
    """
    @notice The deployer becomes the owner.
    @param unbonding_delay Seconds between taking stake back and withdrawing it; Staking takes it from here.
    @param delay Seconds between proposing a change and enacting it, at least the unbonding delay.
    """
    assert MIN_UNBONDING_DELAY <= unbonding_delay, "Parameters: unbonding delay is not in 16 s to 90 days"
    assert unbonding_delay <= MAX_UNBONDING_DELAY, "Parameters: unbonding delay is not in 16 s to 90 days"
    assert unbonding_delay <= delay, "Parameters: delay is shorter than the unbonding delay"
    assert delay <= MAX_DELAY, "Parameters: delay is above 180 days"
    ownable.__init__()
    ownable_2step.__init__()
    UNBONDING_DELAY = unbonding_delay
    DELAY = delay


@external
def propose(parameter: uint256, proposed: uint256):
    """
    @notice Announces a change. Replaces an earlier proposal for the same parameter, whose time starts anew.
    @param parameter Its id.
    @param proposed Inside the bounds of the parameter.
    """
    ownable._check_owner()
    limits: Limits = self._limits(parameter)
    assert limits.least <= proposed and proposed <= limits.most, "Parameters: the value is outside the parameter's bounds"
    ready_at: uint256 = block.timestamp + DELAY
    self._proposals[parameter] = Proposal(value=proposed, ready_at=ready_at)
    log Proposed(parameter=parameter, value=proposed, ready_at=ready_at)


@external
def cancel(parameter: uint256):
    """
    @notice Takes a proposal back.
    @param parameter Its id.
    """
    ownable._check_owner()
    proposal: Proposal = self._proposals[parameter]
    assert proposal.ready_at > 0, "Parameters: nothing is proposed for this parameter"
    self._proposals[parameter] = empty(Proposal)
    log Cancelled(parameter=parameter, value=proposal.value)


@external
def enact(parameter: uint256):
    """
    @notice Makes a proposed value hold. By anybody, once its delay is over.
    @param parameter Its id.
    """
    proposal: Proposal = self._proposals[parameter]
    assert proposal.ready_at > 0, "Parameters: nothing is proposed for this parameter"
    assert block.timestamp >= proposal.ready_at, "Parameters: the delay of this proposal is not over"
    before: uint256 = self._value(parameter)
    self._proposals[parameter] = empty(Proposal)
    self._enacted[parameter] = proposal.value + 1
    log Enacted(parameter=parameter, before=before, value=proposal.value)


@external
@view
def value(parameter: uint256) -> uint256:
    """
    @param parameter Its id.
    @return What holds now.
    """
    return self._value(parameter)


@external
@view
def bounds(parameter: uint256) -> (uint256, uint256):
    """
    @param parameter Its id.
    @return The least and the greatest value that can be proposed.
    """
    limits: Limits = self._limits(parameter)
    return limits.least, limits.most


@external
@view
def pending(parameter: uint256) -> (uint256, uint256):
    """
    @param parameter Its id.
    @return The proposed value, and the unix seconds from which it can be enacted; both 0 when nothing is proposed.
    """
    proposal: Proposal = self._proposals[parameter]
    return proposal.value, proposal.ready_at


@external
@view
def delay() -> uint256:
    """
    @return Seconds between proposing a change and enacting it.
    """
    return DELAY


@external
@view
def unbonding_delay() -> uint256:
    """
    @return Seconds between taking stake back and withdrawing it.
    """
    return UNBONDING_DELAY


@internal
@view
def _value(parameter: uint256) -> uint256:
    enacted: uint256 = self._enacted[parameter]
    return enacted - 1 if enacted > 0 else self._limits(parameter).initial


@internal
@view
def _limits(parameter: uint256) -> Limits:
    # The reasons are in SPEC.md §5.
    if parameter == ids.EMISSION_RATE:
        return Limits(initial=CAI, least=0, most=32 * CAI)
    if parameter == ids.COMMISSION_MAXIMUM:
        return Limits(initial=3_000, least=1_000, most=5_000)
    if parameter == ids.PROVEN_SLASH:
        return Limits(initial=500, least=100, most=1_000)
    if parameter == ids.QUORUM_SLASH:
        return Limits(initial=200, least=50, most=500)
    if parameter == ids.BOUNTY:
        return Limits(initial=1_000, least=0, most=1_000)
    if parameter == ids.JAIL_TIME:
        return Limits(initial=min(DAY, UNBONDING_DELAY // 8), least=min(HOUR, UNBONDING_DELAY // 16), most=30 * DAY)
    if parameter == ids.DISPUTE_BOND:
        return Limits(initial=1_000 * CAI, least=CAI, most=100_000 * CAI)
    if parameter == ids.JURORS:
        return Limits(initial=5, least=3, most=15)
    if parameter == ids.APPEAL_BOND:
        return Limits(initial=5_000 * CAI, least=CAI, most=500_000 * CAI)
    if parameter == ids.VERDICT_WINDOW or parameter == ids.APPEAL_WINDOW:
        # Two rounds of verdicts and an appeal end within three quarters of the unbonding delay.
        return Limits(
            initial=min(DAY, UNBONDING_DELAY // 8),
            least=min(HOUR, UNBONDING_DELAY // 16),
            most=UNBONDING_DELAY // 4,
        )
    if parameter == ids.QUORUM_CAP:
        return Limits(initial=100, least=10, most=500)
    raise "Parameters: no parameter has this id"
