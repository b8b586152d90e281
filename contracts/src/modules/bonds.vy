# pragma version 0.4.3
"""
@title Bonds
@notice Who is paid what when a dispute ends: of its bonds, and of what the accused's owner lost by a slash. Jurors first,
        then whoever was right is made whole by whoever was wrong, and the rest burns.
@dev Knows verdicts, outcomes and sums; when a dispute ends, and how, is its caller's. Spec: contracts/SPEC.md.
"""
from ethereum.ercs import IERC20
from interfaces import IParameters
from interfaces import IStaking
from modules import jury
from modules import parameter_ids as ids

uses: jury


interface Burnable:
    def burn(amount: uint256): nonpayable


# How a dispute ends; what it is before is its caller's.
VOID: constant(uint8) = 5
DISMISSED: constant(uint8) = 6
UNDECIDED: constant(uint8) = 7
EXECUTED: constant(uint8) = 8
LAPSED: constant(uint8) = 9
# The part of what the accused's owner loses that may make the reporter good, most that Staking lets go: whoever reports
# himself loses the rest also where all jurors are his friends.
MADE_GOOD: constant(uint256) = 9_000

TOKEN: immutable(IERC20)
STAKING: immutable(IStaking)
PARAMETERS: immutable(IParameters)


@deploy
def __init__(staking: address):
    STAKING = IStaking(staking)
    TOKEN = IERC20(staticcall IStaking(staking).token())
    PARAMETERS = IParameters(staticcall IStaking(staking).parameters())


@internal
def _take(amount: uint256):
    assert extcall TOKEN.transferFrom(msg.sender, self, amount), "Disputes: transfer failed"


@internal
def _settle(
    dispute: uint256,
    round: uint32,
    outcome: uint8,
    accuser: address,
    accusers_bond: uint256,
    appellant: address,
    appellants_bond: uint256,
) -> uint256:
    # Pays the jurors, and the bonds to where they belong. Gives what of the first jury's fees an accuser who was right
    # still misses.
    # Whoever judges is paid the same in both rounds, a third of the first bond by seats: so that this bond reaches for
    # all whom its reporter is to make good, a jury of twice the seats and one, and a third of the first that was right.
    seats: uint256 = jury._panel(dispute, 0).seats
    fee: uint256 = accusers_bond // (3 * seats)
    contradicted: uint8 = 0
    if round == 1 and outcome == EXECUTED:
        contradicted = jury.RIGHT
    elif round == 1 and outcome == DISMISSED:
        contradicted = jury.WRONG
    first: uint256 = self._pay_jurors(dispute, 0, fee, contradicted)
    second: uint256 = self._pay_jurors(dispute, 1, min(fee, appellants_bond // (2 * seats + 1)), 0)
    bond: uint256 = accusers_bond - first
    appeal_bond: uint256 = appellants_bond - second
    # Whoever was wrong makes good what whoever was right paid jurors, and the rest of his bond burns.
    if outcome == EXECUTED:
        made_good: uint256 = min(first, appeal_bond)
        self._pay(accuser, bond + made_good)
        self._burn(appeal_bond - made_good)
        return first - made_good
    if outcome == DISMISSED or outcome == LAPSED:
        made_good: uint256 = min(second, bond)
        self._pay(appellant, appeal_bond + made_good)
        self._burn(bond - made_good)
        return 0
    # Seats of which nobody judged cost the reporter as much: else reports on which nobody can judge would cost nothing,
    # but jurors their gas.
    unpaid: uint256 = seats * fee - first if outcome == UNDECIDED else 0
    self._pay(accuser, bond - unpaid)
    self._pay(appellant, appeal_bond)
    self._burn(unpaid)
    return 0


@internal
def _slash(accused: uint256, bps: uint256, accuser: address, missing: uint256) -> uint256:
    # Slashes, and makes the accuser good of what the owner lost: what he paid the jurors and still misses, as far as it
    # reaches, since who was right does not pay those who found so; a bounty comes after. Gives what was slashed.
    held: uint256 = staticcall TOKEN.balanceOf(self)
    slashed: uint256 = extcall STAKING.slash(accused, bps, self, MADE_GOOD)
    taken: uint256 = staticcall TOKEN.balanceOf(self) - held
    fees: uint256 = min(missing, taken)
    bounty: uint256 = min(taken * staticcall PARAMETERS.value(ids.BOUNTY) // MADE_GOOD, taken - fees)
    self._pay(accuser, fees + bounty)
    self._burn(taken - fees - bounty)
    return slashed


@internal
def _pay_jurors(dispute: uint256, round: uint32, fee: uint256, contradicted: uint8) -> uint256:
    # Each who judged, but those whom the second jury contradicts. Gives what was paid.
    paid: uint256 = 0
    for verdict: uint8 in [jury.WRONG, jury.RIGHT]:
        jurors: DynArray[uint256, jury.MAX_SEATS] = jury._judges_who_said(dispute, round, verdict)
        if verdict == contradicted:
            continue
        for juror: uint256 in jurors:
            self._pay((staticcall STAKING.node(juror)).owner, fee)
            paid += fee
    return paid


@internal
def _burn(amount: uint256):
    if amount > 0:
        extcall Burnable(TOKEN.address).burn(amount)


@internal
def _pay(receiver: address, amount: uint256):
    if amount > 0:
        assert extcall TOKEN.transfer(receiver, amount), "Disputes: transfer failed"
