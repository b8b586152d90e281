# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Disputes
@notice Quality disputes: whether a miner's result is what it claims to be. No signature proves that, so jurors decide:
        miners drawn by stake from blocks after the report, who do the work again and sign what they found. A slash
        from here proves only that these jurors signed; its event says `QuorumSlashed`.
        One life: report, draw, vote, close, and when upheld either appeal (draw, vote, close once more) or execute.
@dev Every phase has a deadline after which anybody can end it. How jurors are drawn is in modules/jury.vy, what is paid
     at an end in modules/bonds.vy. Spec: contracts/SPEC.md.
"""
from interfaces import IParameters
from interfaces import IStaking
from modules import bonds
from modules import jury
from modules import parameter_ids as ids
from modules import respite
from modules import statements

initializes: statements
initializes: jury[statements := statements]
initializes: bonds[jury := jury]
initializes: respite

exports: (respite.respite_until, respite.respite_slashed)


# What of Staking is not for all connected contracts.
interface Totals:
    def total_unbonding() -> uint256: view


struct Dispute:
    # The miner whose result is disputed, and the node that reported it.
    accused: uint256
    reporter: uint256
    # Who paid the bonds and gets back what is left of them.
    accuser: address
    appellant: address
    # Digest of what jurors examine, off chain.
    evidence: bytes32
    # One of the constants below, or of the ends in modules/bonds.vy.
    status: uint8
    # 0, or 1 after an appeal.
    round: uint32
    # Unix seconds at which the present phase ends.
    deadline: uint256
    # In wei, until it ends.
    bond: uint256
    appeal_bond: uint256


event Reported:
    dispute: indexed(uint256)
    accused: indexed(uint256)
    reporter: indexed(uint256)
    evidence: bytes32
    seats: uint256
    deadline: uint256

event VerdictsCalled:
    # All seats are taken: jurors have until the deadline.
    dispute: indexed(uint256)
    round: uint32
    deadline: uint256

event Upheld:
    dispute: indexed(uint256)
    round: uint32
    # Unix seconds until which the accused's owner may appeal; none after an appeal.
    deadline: uint256

event Appealed:
    dispute: indexed(uint256)
    seats: uint256
    deadline: uint256

event Ended:
    dispute: indexed(uint256)
    accused: indexed(uint256)
    outcome: uint8

event QuorumSlashed:
    id: indexed(uint256)
    dispute: indexed(uint256)
    # What the node and its voters lost, in wei, with what the reporter was paid of it; the rest of it burned.
    slashed: uint256
    # The part of its stake that this is, of 10,000: less than the parameter where the day's cap left less.
    bps: uint256
    reporter: uint256


MINER: constant(uint8) = 1
DRAWING: constant(uint8) = 1
VOTING: constant(uint8) = 2
UPHELD: constant(uint8) = 3
CONFIRMED: constant(uint8) = 4
BPS: constant(uint256) = 10_000
DAY: constant(uint256) = 86_400
# A quorum can be wrong: its jail is this part of the one for proven misbehaviour.
JAIL_PART: constant(uint256) = 4

STAKING: immutable(IStaking)
PARAMETERS: immutable(IParameters)

# How many disputes there were; their numbers run from 1.
dispute_count: public(uint256)
# The dispute of a reporting node that is open against a miner, by miner and reporter; 0 when none is. One of each: of
# one for all, a friend of the miner's could keep the place until its stake is gone.
open_dispute: public(HashMap[uint256, HashMap[uint256, uint256]])
# How many are open against a miner.
open_disputes: public(HashMap[uint256, uint256])
# What quorums may slash on a day (unix seconds // 86,400), in wei, fixed by its first execution; and what they have.
day_budget: public(HashMap[uint256, uint256])
day_slashed: public(HashMap[uint256, uint256])
_disputes: HashMap[uint256, Dispute]


@deploy
def __init__(staking: address):
    """
    @param staking The Staking contract, which must connect this one before anybody can be reported.
    """
    assert staking.is_contract, "Disputes: staking is not a contract"
    statements.__init__(staking)
    jury.__init__(staking)
    bonds.__init__(staking)
    respite.__init__(staking)
    STAKING = IStaking(staking)
    PARAMETERS = IParameters(staticcall STAKING.parameters())


@external
def report(accused: uint256, reporter: uint256, evidence: bytes32) -> uint256:
    """
    @notice Reports a result of a miner. Takes the dispute bond from the caller; freezes withdrawals from the miner
            while the dispute is open, for the unbonding delay at most.
    @param accused Id of the miner.
    @param reporter Id of a node of the caller, which must be active.
    @param evidence Digest of what jurors shall examine. The reporter must keep it available to them: without it they
           cannot find the result wrong.
    @return The dispute's number.
    """
    node: IStaking.Node = staticcall STAKING.node(reporter)
    assert node.owner == msg.sender, "Disputes: only the reporting node's owner may report"
    assert node.active, "Disputes: the reporting node is not active"
    target: IStaking.Node = staticcall STAKING.node(accused)
    assert target.role == MINER, "Disputes: no miner has the accused id"
    assert target.owner != msg.sender, "Disputes: the accused miner is your own"
    assert evidence != empty(bytes32), "Disputes: the evidence has no digest"
    assert self.open_dispute[accused][reporter] == 0, "Disputes: a dispute of this node's against this miner is open"

    dispute: uint256 = self.dispute_count + 1
    self.dispute_count = dispute
    self.open_dispute[accused][reporter] = dispute
    self.open_disputes[accused] += 1
    bond: uint256 = staticcall PARAMETERS.value(ids.DISPUTE_BOND)
    seats: uint256 = staticcall PARAMETERS.value(ids.JURORS)
    deadline: uint256 = block.timestamp + self._draw_window()
    self._disputes[dispute] = Dispute(
        accused=accused,
        reporter=reporter,
        accuser=msg.sender,
        appellant=empty(address),
        evidence=evidence,
        status=DRAWING,
        round=0,
        deadline=deadline,
        bond=bond,
        appeal_bond=0,
    )
    jury._exclude(dispute, target.owner)
    jury._exclude(dispute, msg.sender)
    jury._arm(dispute, 0, seats)
    log Reported(
        dispute=dispute, accused=accused, reporter=reporter, evidence=evidence, seats=seats, deadline=deadline
    )
    extcall STAKING.freeze(accused, block.timestamp + staticcall STAKING.unbonding_delay())
    bonds._take(bond)
    return dispute


@external
def draw(dispute: uint256, tries: uint256) -> uint256:
    """
    @notice Goes on drawing jurors, by anybody. Where the seed is too old, a later one is set; but a first jury that was
            not drawn while its seed held ends the dispute as lapsed, or else a reporter would wait for a jury to his
            taste.
    @param dispute Its number.
    @param tries How many candidates to try at most, up to 128 in one call.
    @return Seats that are still free.
    """
    case: Dispute = self._disputes[dispute]
    assert case.status == DRAWING or case.status == VOTING, "Disputes: no jurors are wanted in this dispute now"
    assert block.timestamp < case.deadline, "Disputes: the deadline has passed; close the dispute"
    if case.status == DRAWING and case.round == 0 and jury._is_stale(dispute, 0):
        self._end(dispute, bonds.LAPSED)
        panel: jury.Panel = jury._panel(dispute, 0)
        return panel.seats - panel.taken
    free: uint256 = jury._draw(dispute, case.round, tries)
    if free == 0 and case.status == DRAWING:
        deadline: uint256 = block.timestamp + staticcall PARAMETERS.value(ids.VERDICT_WINDOW)
        self._disputes[dispute].status = VOTING
        self._disputes[dispute].deadline = deadline
        log VerdictsCalled(dispute=dispute, round=case.round, deadline=deadline)
    return free


@external
def vote(
    dispute: uint256,
    verdicts: DynArray[statements.Verdict, jury.MAX_SEATS],
    signatures: DynArray[Bytes[65], jury.MAX_SEATS],
):
    """
    @notice Brings signed verdicts of jurors, by anybody. A juror's first verdict counts; one whose verdict counts
            already is passed over, so that nobody can spoil the others by bringing one of them first.
    @param dispute Its number.
    @param verdicts 1 the result is wrong, 2 it is right, 3 the juror cannot judge: that seat is drawn again.
    @param signatures One for each verdict, by the juror node's key.
    """
    case: Dispute = self._disputes[dispute]
    assert case.status == VOTING, "Disputes: no verdicts are wanted in this dispute now"
    assert block.timestamp < case.deadline, "Disputes: the deadline has passed; close the dispute"
    assert len(verdicts) == len(signatures), "Disputes: as many signatures as verdicts are needed"
    for index: uint256 in range(len(verdicts), bound=jury.MAX_SEATS):
        verdict: statements.Verdict = verdicts[index]
        assert verdict.dispute == dispute and verdict.round == case.round, "Disputes: a verdict is for another round"
        jury._count(verdict, signatures[index])


@external
def close(dispute: uint256):
    """
    @notice Ends a draw that found too few jurors or a vote that is over, by anybody, and decides. Two thirds of the
            seats uphold or dismiss; anything else is undecided. A first jury for which not all was tried in time
            lapses: that was the reporter's to see to.
    @param dispute Its number.
    """
    case: Dispute = self._disputes[dispute]
    late: bool = block.timestamp >= case.deadline
    if case.status == DRAWING:
        exhausted: bool = jury._exhausted(dispute, case.round)
        lapsed: bool = case.round == 0 and not exhausted
        assert late or exhausted or (lapsed and jury._is_stale(dispute, 0)), "Disputes: jurors are still being drawn"
        self._end(dispute, bonds.LAPSED if lapsed else bonds.VOID)
        return
    assert case.status == VOTING, "Disputes: nothing is to be closed in this dispute now"
    panel: jury.Panel = jury._panel(dispute, case.round)
    assert late or panel.wrong + panel.right == panel.seats, "Disputes: the verdict window is open"
    if 3 * panel.wrong >= 2 * panel.seats:
        upheld_until: uint256 = block.timestamp
        if case.round == 0:
            upheld_until += staticcall PARAMETERS.value(ids.APPEAL_WINDOW)
        self._disputes[dispute].status = UPHELD if case.round == 0 else CONFIRMED
        self._disputes[dispute].deadline = upheld_until
        log Upheld(dispute=dispute, round=case.round, deadline=upheld_until)
    else:
        self._end(dispute, bonds.DISMISSED if 3 * panel.right >= 2 * panel.seats else bonds.UNDECIDED)


@external
def appeal(dispute: uint256):
    """
    @notice Asks for a second, final round with twice the seats and one, and other jurors. Takes the appeal bond.
            Where there are not enough independent operators for it, the dispute becomes void.
    @param dispute Its number, of an upheld dispute against the caller's miner.
    """
    case: Dispute = self._disputes[dispute]
    assert case.status == UPHELD, "Disputes: only an upheld dispute can be appealed, once"
    assert (staticcall STAKING.node(case.accused)).owner == msg.sender, "Disputes: only the accused's owner may appeal"
    assert block.timestamp < case.deadline, "Disputes: the appeal window is over"
    bond: uint256 = staticcall PARAMETERS.value(ids.APPEAL_BOND)
    seats: uint256 = 2 * jury._panel(dispute, 0).seats + 1
    deadline: uint256 = block.timestamp + self._draw_window()
    self._disputes[dispute].status = DRAWING
    self._disputes[dispute].round = 1
    self._disputes[dispute].deadline = deadline
    self._disputes[dispute].appellant = msg.sender
    self._disputes[dispute].appeal_bond = bond
    jury._arm(dispute, 1, seats)
    log Appealed(dispute=dispute, seats=seats, deadline=deadline)
    bonds._take(bond)


@external
def execute(dispute: uint256) -> uint256:
    """
    @notice Slashes and jails the accused of an upheld dispute once no appeal is possible any more, by anybody. What
            all quorums slash on one day is capped, and what they slash of one node in two unbonding delays; what the
            caps do not leave is not slashed at all. Of what the owner's bonded stake loses the reporter gets back
            what he paid the jurors and no appellant did, then the bounty, as far as nine tenths of it reach; all else
            burns.
    @param dispute Its number.
    @return What was slashed, in wei.
    """
    case: Dispute = self._disputes[dispute]
    assert case.status == UPHELD or case.status == CONFIRMED, "Disputes: the dispute is not upheld"
    assert block.timestamp >= case.deadline, "Disputes: the appeal window is open"
    day: uint256 = block.timestamp // DAY
    slashable: uint256 = respite._slashable(case.accused)
    bps: uint256 = respite._left(case.accused, slashable, staticcall PARAMETERS.value(ids.QUORUM_SLASH))
    if bps > 0:
        bps = min(bps, self._left_today(day) * BPS // slashable)
        assert bps > 0, "Disputes: nothing is left of today's cap; execute tomorrow"
    missing: uint256 = self._end(dispute, bonds.EXECUTED)
    slashed: uint256 = bonds._slash(case.accused, bps, case.accuser, missing)
    self.day_slashed[day] += slashed
    respite._count(case.accused, slashed)
    log QuorumSlashed(id=case.accused, dispute=dispute, slashed=slashed, bps=bps, reporter=case.reporter)
    jail_time: uint256 = staticcall PARAMETERS.value(ids.JAIL_TIME)
    extcall STAKING.jail(case.accused, block.timestamp + jail_time // JAIL_PART, "quorum")
    return slashed


@external
@view
def dispute(number: uint256) -> Dispute:
    """
    @param number The dispute's number.
    @return The dispute; all fields zero when there is none.
    """
    return self._disputes[number]


@external
@view
def panel(number: uint256, round: uint32) -> jury.Panel:
    """
    @param number The dispute's number.
    @param round 0, or 1 after an appeal.
    @return Seats, counts and the draw's state of that round.
    """
    return jury._panel(number, round)


@external
@view
def seat(number: uint256, juror: uint256) -> (uint256, uint8):
    """
    @param number The dispute's number.
    @param juror Id of a node.
    @return The round that it was drawn in, and 0 never drawn, 1 drawn, 2 has judged, 3 could not judge.
    """
    return jury._seat(number, juror)


@external
@view
def staking() -> address:
    """
    @return The Staking contract.
    """
    return STAKING.address


@internal
def _end(dispute: uint256, outcome: uint8) -> uint256:
    # The one way out: the reporter can report the miner again, its withdrawals thaw if this was the last open dispute,
    # the jurors are paid, and the bonds go where they belong. Gives what of the first jury's fees a reporter who was
    # right still misses.
    case: Dispute = self._disputes[dispute]
    self._disputes[dispute].status = outcome
    self._disputes[dispute].bond = 0
    self._disputes[dispute].appeal_bond = 0
    self.open_dispute[case.accused][case.reporter] = 0
    self.open_disputes[case.accused] -= 1
    log Ended(dispute=dispute, accused=case.accused, outcome=outcome)
    if self.open_disputes[case.accused] == 0:
        extcall STAKING.freeze(case.accused, block.timestamp)
    return bonds._settle(dispute, case.round, outcome, case.accuser, case.bond, case.appellant, case.appeal_bond)


@internal
def _left_today(day: uint256) -> uint256:
    # Unbonding stake counts too: it can be slashed, and a node that is leaving must not be too large for the cap.
    if self.day_budget[day] == 0:
        staked: uint256 = staticcall STAKING.total_staked() + staticcall Totals(STAKING.address).total_unbonding()
        self.day_budget[day] = staked * staticcall PARAMETERS.value(ids.QUORUM_CAP) // BPS
    return self.day_budget[day] - min(self.day_slashed[day], self.day_budget[day])


@internal
@view
def _draw_window() -> uint256:
    # Two draws, two votes and an appeal are then over within the unbonding delay, by the bounds in Parameters.
    return staticcall PARAMETERS.value(ids.VERDICT_WINDOW) // 2
