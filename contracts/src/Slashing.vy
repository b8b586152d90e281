# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Slashing
@notice Slashes nodes that signed two statements which no honest node signs both of. Nothing else is decided here:
        every proof is the statements and their signatures, anybody may bring it, and nobody can refuse it.
        It proves that the node's key signed both, not which of the two was right, nor what the operator intended.
@dev Slash, bounty and jail time are read from Parameters when a proof comes. Spec: contracts/SPEC.md.
"""
from interfaces import IParameters
from interfaces import IStaking
from modules import parameter_ids as ids
from modules import respite
from modules import statements

initializes: statements
initializes: respite

exports: (respite.respite_until, respite.respite_slashed)


# A voucher with its signature.
struct SignedVoucher:
    voucher: statements.Voucher
    signature: Bytes[65]


# Two vouchers of one miner, the earlier first.
struct Rise:
    before: SignedVoucher
    after: SignedVoucher


event ProvenSlashed:
    id: indexed(uint256)
    kind: indexed(uint8)
    # What can be slashed once: the award, claim or commitment that was answered twice, the dispute's round, the boot.
    subject: bytes32
    # What the node and its voters lost, in wei, the bounty included; the rest of it burned. Little or nothing in a respite.
    slashed: uint256
    reporter: address
    # Who was paid the bounty.
    receiver: address


MINER: constant(uint8) = 1
COORDINATOR: constant(uint8) = 2
TWO_COMMITMENTS: constant(uint8) = 1
TWO_AWARDS: constant(uint8) = 2
TWO_RECEIPTS: constant(uint8) = 3
TWO_VERDICTS: constant(uint8) = 4
TWO_VOUCHERS: constant(uint8) = 5
UNDERSTATED: constant(uint8) = 6
# Miners that one proof of an understated total may name: bounds its gas.
MAX_RISES: constant(uint256) = 8

STAKING: immutable(IStaking)
PARAMETERS: immutable(IParameters)

# What a node was slashed for, by kind and subject.
proven: public(HashMap[uint256, HashMap[uint8, HashMap[bytes32, bool]]])


@deploy
def __init__(staking: address):
    """
    @param staking The Staking contract, which must connect this one before anything can be proven.
    """
    assert staking.is_contract, "Slashing: staking is not a contract"
    statements.__init__(staking)
    respite.__init__(staking)
    STAKING = IStaking(staking)
    PARAMETERS = IParameters(staticcall STAKING.parameters())


@external
def prove_two_commitments(
    first: statements.Commitment,
    second: statements.Commitment,
    first_signature: Bytes[65],
    second_signature: Bytes[65],
    receiver: address,
):
    """
    @notice A miner committed to two results for one award.
    @param first A commitment of the miner.
    @param second Another one, for the same award.
    @param first_signature The miner's signature of the first.
    @param second_signature The miner's signature of the second.
    @param receiver Who is paid the bounty.
    """
    assert first.miner == second.miner, "Slashing: the commitments are of two miners"
    assert first.award == second.award, "Slashing: the commitments are for two awards"
    digests: bytes32[2] = [statements._commitment_digest(first), statements._commitment_digest(second)]
    id: uint256 = convert(first.miner, uint256)
    self._check_pair(id, MINER, digests, first_signature, second_signature)
    self._punish(id, TWO_COMMITMENTS, first.award, receiver)


@external
def prove_two_awards(
    first: statements.Award,
    second: statements.Award,
    first_signature: Bytes[65],
    second_signature: Bytes[65],
    receiver: address,
):
    """
    @notice A coordinator gave one claim two awards.
    @param first An award of the coordinator.
    @param second Another one, for the same claim.
    @param first_signature The coordinator's signature of the first.
    @param second_signature The coordinator's signature of the second.
    @param receiver Who is paid the bounty.
    """
    assert first.coordinator == second.coordinator, "Slashing: the awards are of two coordinators"
    assert first.claim == second.claim, "Slashing: the awards are for two claims"
    digests: bytes32[2] = [statements._award_digest(first), statements._award_digest(second)]
    id: uint256 = convert(first.coordinator, uint256)
    self._check_pair(id, COORDINATOR, digests, first_signature, second_signature)
    self._punish(id, TWO_AWARDS, first.claim, receiver)


@external
def prove_two_receipts(
    first: statements.Receipt,
    second: statements.Receipt,
    first_signature: Bytes[65],
    second_signature: Bytes[65],
    receiver: address,
):
    """
    @notice A coordinator gave two different receipts for one commitment. Receipts that differ in nothing but the
            time of acceptance are one receipt: a coordinator that lost its disk in between signs again honestly.
    @param first A receipt of the coordinator.
    @param second Another one, for the same commitment.
    @param first_signature The coordinator's signature of the first.
    @param second_signature The coordinator's signature of the second.
    @param receiver Who is paid the bounty.
    """
    assert first.coordinator == second.coordinator, "Slashing: the receipts are of two coordinators"
    assert first.commitment == second.commitment, "Slashing: the receipts are for two commitments"
    digests: bytes32[2] = [statements._receipt_digest(first), statements._receipt_digest(second)]
    id: uint256 = convert(first.coordinator, uint256)
    self._check_pair(id, COORDINATOR, digests, first_signature, second_signature)
    retimed: statements.Receipt = second
    retimed.accepted = first.accepted
    assert statements._receipt_digest(retimed) != digests[0], "Slashing: the receipts differ in their time only"
    self._punish(id, TWO_RECEIPTS, first.commitment, receiver)


@external
def prove_two_verdicts(
    first: statements.Verdict,
    second: statements.Verdict,
    first_signature: Bytes[65],
    second_signature: Bytes[65],
    receiver: address,
):
    """
    @notice A juror gave two verdicts in one round of a dispute.
    @param first A verdict of the juror.
    @param second Another one, for the same dispute and round.
    @param first_signature The juror's signature of the first.
    @param second_signature The juror's signature of the second.
    @param receiver Who is paid the bounty.
    """
    assert first.juror == second.juror, "Slashing: the verdicts are of two jurors"
    assert first.dispute == second.dispute and first.round == second.round, "Slashing: the verdicts are for two rounds"
    digests: bytes32[2] = [statements._verdict_digest(first), statements._verdict_digest(second)]
    id: uint256 = convert(first.juror, uint256)
    self._check_pair(id, MINER, digests, first_signature, second_signature)
    self._punish(id, TWO_VERDICTS, keccak256(abi_encode(first.dispute, first.round)), receiver)


@external
def prove_two_vouchers(
    first: statements.Voucher,
    second: statements.Voucher,
    first_signature: Bytes[65],
    second_signature: Bytes[65],
    receiver: address,
):
    """
    @notice A coordinator gave two vouchers one place: the same sequence of the same boot. Once for each boot.
    @param first A voucher of the coordinator.
    @param second Another one, of the same boot and sequence.
    @param first_signature The coordinator's signature of the first.
    @param second_signature The coordinator's signature of the second.
    @param receiver Who is paid the bounty.
    """
    assert first.coordinator == second.coordinator, "Slashing: the vouchers are of two coordinators"
    assert first.boot == second.boot, "Slashing: the vouchers are of two boots"
    assert first.sequence == second.sequence, "Slashing: the vouchers have two sequence numbers"
    digests: bytes32[2] = [statements._voucher_digest(first), statements._voucher_digest(second)]
    id: uint256 = convert(first.coordinator, uint256)
    self._check_pair(id, COORDINATOR, digests, first_signature, second_signature)
    self._punish(id, TWO_VOUCHERS, convert(convert(first.boot, uint256), bytes32), receiver)


@external
def prove_understated(
    early: SignedVoucher, late: SignedVoucher, rises: DynArray[Rise, MAX_RISES], receiver: address
):
    """
    @notice A coordinator's total rose by less than what it promised some miners meanwhile: between two vouchers of
            one boot, the promises of the named miners rose by more than issuedTotal did, or issuedTotal fell.
            Once for each boot.
    @param early A voucher of the coordinator.
    @param late A later one of the same boot.
    @param rises For different miners, two vouchers each, none earlier than `early` and none later than `late`.
           None is needed where issuedTotal fell.
    @param receiver Who is paid the bounty.
    """
    first: statements.Voucher = early.voucher
    last: statements.Voucher = late.voucher
    id: uint256 = convert(first.coordinator, uint256)
    self._check_role(id, COORDINATOR)
    assert first.sequence < last.sequence, "Slashing: the late voucher is not later than the early one"
    self._check_voucher(early, first)
    self._check_voucher(late, first)
    risen: uint256 = 0
    seen: DynArray[uint64, MAX_RISES] = []
    for rise: Rise in rises:
        before: statements.Voucher = rise.before.voucher
        after: statements.Voucher = rise.after.voucher
        assert before.miner == after.miner, "Slashing: a rise is between two miners"
        assert before.miner not in seen, "Slashing: a miner is named twice"
        seen.append(before.miner)
        assert first.sequence <= before.sequence, "Slashing: a voucher is earlier than the early one"
        assert before.sequence < after.sequence, "Slashing: the vouchers of a rise are not in order"
        assert after.sequence <= last.sequence, "Slashing: a voucher is later than the late one"
        assert before.cumulative <= after.cumulative, "Slashing: a named promise fell; leave it out"
        self._check_voucher(rise.before, first)
        self._check_voucher(rise.after, first)
        # A promise above 2^128 wei is refused everywhere, so that the sum cannot overflow.
        assert after.cumulative <= 2 ** 128, "Slashing: a promise is at most 2^128 wei"
        risen += after.cumulative - before.cumulative
    assert first.issuedTotal <= 2 ** 128, "Slashing: a promise is at most 2^128 wei"
    assert first.issuedTotal + risen > last.issuedTotal, "Slashing: the total rose by as much as the promises"
    self._punish(id, UNDERSTATED, convert(convert(first.boot, uint256), bytes32), receiver)


@external
@view
def slash_now(id: uint256) -> uint256:
    """
    @param id The node.
    @return Basis points of its stake that a proof would slash now: little or none in a respite, none where it has none.
    """
    return self._slash_now(id)


@external
@view
def staking() -> address:
    """
    @return The Staking contract.
    """
    return STAKING.address


@external
@view
def parameters() -> address:
    """
    @return The Parameters contract.
    """
    return PARAMETERS.address


@internal
@view
def _check_pair(
    id: uint256, role: uint8, digests: bytes32[2], first_signature: Bytes[65], second_signature: Bytes[65]
):
    self._check_role(id, role)
    assert digests[0] != digests[1], "Slashing: the two statements are the same"
    self._check_signature(id, digests[0], first_signature)
    self._check_signature(id, digests[1], second_signature)


@internal
@view
def _check_voucher(signed: SignedVoucher, like: statements.Voucher):
    assert signed.voucher.coordinator == like.coordinator, "Slashing: the vouchers are of two coordinators"
    assert signed.voucher.boot == like.boot, "Slashing: the vouchers are of two boots"
    self._check_signature(
        convert(like.coordinator, uint256), statements._voucher_digest(signed.voucher), signed.signature
    )


@internal
@view
def _check_role(id: uint256, role: uint8):
    assert (staticcall STAKING.node(id)).role == role, "Slashing: the named node is not of the role that signs this"


@internal
@view
def _check_signature(id: uint256, digest: bytes32, signature: Bytes[65]):
    # The key is the node's, or was until less than the unbonding delay ago: stake that could not leave since is here.
    signer: address = statements._signer(digest, signature)
    assert signer != empty(address), "Slashing: a signature is not 65 bytes in its one valid form"
    assert staticcall STAKING.signing_id(signer) == id, "Slashing: a statement is not signed by a key of the node"


@internal
def _punish(id: uint256, kind: uint8, subject: bytes32, receiver: address):
    assert receiver != empty(address), "Slashing: the receiver is the zero address"
    assert not self.proven[id][kind][subject], "Slashing: this was proven and slashed already"
    self.proven[id][kind][subject] = True
    # A stolen key signs as many contradictions as there are numbers: they are no reason to take everything from voters.
    bps: uint256 = self._slash_now(id)
    slashed: uint256 = 0
    if bps > 0:
        slashed = extcall STAKING.slash(id, bps, receiver, staticcall PARAMETERS.value(ids.BOUNTY))
        respite._count(id, slashed)
    log ProvenSlashed(id=id, kind=kind, subject=subject, slashed=slashed, reporter=msg.sender, receiver=receiver)
    extcall STAKING.jail(id, block.timestamp + staticcall PARAMETERS.value(ids.JAIL_TIME), "proven")


@internal
@view
def _slash_now(id: uint256) -> uint256:
    return respite._left(id, respite._slashable(id), staticcall PARAMETERS.value(ids.PROVEN_SLASH))
