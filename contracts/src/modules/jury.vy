# pragma version 0.4.3
"""
@title Jury
@notice Draws the jurors of a round and counts their verdicts. The seed is one bit of the hash of each of some blocks
        that are mined a few blocks after the round begins: who makes one of them chooses among two juries, where the
        whole hash of one would let him choose any. Candidate j is node 1 + low half of keccak(seed, j) mod nodes; it
        is accepted with probability min(stake, cap) / cap by the high half, of the stake that was there before the
        epoch in which the seed's blocks were set. So one try costs the same however many nodes there are, and anybody
        can draw the same jury off chain.
@dev Nodes that are registered after the round begins are no candidates. Spec: contracts/SPEC.md.
"""
from interfaces import IStaking
from modules import statements

uses: statements


struct Panel:
    seats: uint256
    # Seats that are taken by jurors who have judged or still may.
    taken: uint256
    # Verdicts that count.
    wrong: uint256
    right: uint256
    # Nodes that were registered when the round began: the candidates.
    candidates: uint256
    # The last of the blocks whose hashes become the seed.
    seed_block: uint256
    # Zero until the first draw after that block.
    seed: bytes32
    # Candidates tried so far.
    tries: uint256
    # Epoch in which the seed's blocks were set: what came in it or later does not weigh.
    epoch: uint256


event SeedSet:
    dispute: indexed(uint256)
    round: uint32
    # The last of the blocks whose hashes will be the seed.
    block: uint256

event JurorDrawn:
    dispute: indexed(uint256)
    round: uint32
    juror: indexed(uint256)

event VerdictCounted:
    dispute: indexed(uint256)
    round: uint32
    juror: indexed(uint256)
    verdict: uint8


MINER: constant(uint8) = 1
WRONG: constant(uint8) = 1
RIGHT: constant(uint8) = 2
CANNOT_JUDGE: constant(uint8) = 3
# 15 seats, which is most that Parameters allows, and twice that and one after an appeal.
MAX_SEATS: constant(uint256) = 31
# Blocks between the beginning of a round and the first of its seed: nobody who begins one knows any of it.
SEED_DELAY: constant(uint256) = 4
# Blocks of a seed, a bit of each: with more, who makes one in ten of all gains no more by the bits that are his.
SEED_BITS: constant(uint256) = 16
# A block's hash can be read for so many blocks after it.
READABLE_BLOCKS: constant(uint256) = 256
# Epochs for which a seed holds: bounds how many of them are looked at for each candidate.
SEED_EPOCHS: constant(uint256) = 8
# Candidates of one call: bounds its gas.
MAX_TRIES_AT_ONCE: constant(uint256) = 128
# Candidates of one round: when so many gave too few jurors, there are not enough independent operators.
MAX_TRIES: constant(uint256) = 4096
# A node weighs in the draw at most so many miner's minimums: one large voter must not fill the jury.
CAP_IN_MINIMUMS: constant(uint256) = 10
# The half of a hash that names the candidate; the other decides its chance.
LOW_HALF: constant(uint256) = 2**128 - 1
DRAWN: constant(uint8) = 1
HAS_JUDGED: constant(uint8) = 2
COULD_NOT_JUDGE: constant(uint8) = 3

STAKING: immutable(IStaking)
CAP: immutable(uint256)
EPOCH: immutable(uint256)

_panels: HashMap[uint256, HashMap[uint32, Panel]]
# By dispute and node: 0 never drawn, else 4 * round + state.
_seats: HashMap[uint256, HashMap[uint256, uint256]]
# Owners whose nodes cannot be drawn (any more): the parties, and those who have a juror.
_excluded: HashMap[uint256, HashMap[address, bool]]
# Who has judged, by dispute, round and verdict.
_judges: HashMap[uint256, HashMap[uint32, HashMap[uint8, DynArray[uint256, MAX_SEATS]]]]


@deploy
def __init__(staking: address):
    STAKING = IStaking(staking)
    CAP = CAP_IN_MINIMUMS * staticcall IStaking(staking).minimum_stake(MINER)
    EPOCH = staticcall IStaking(staking).epoch_s()


@internal
def _exclude(dispute: uint256, owner: address):
    self._excluded[dispute][owner] = True


@internal
def _arm(dispute: uint256, round: uint32, seats: uint256):
    self._panels[dispute][round].seats = seats
    self._panels[dispute][round].candidates = staticcall STAKING.node_count()
    self._set_seed_block(dispute, round)


@internal
def _draw(dispute: uint256, round: uint32, tries: uint256) -> uint256:
    # Gives how many seats are still free.
    panel: Panel = self._panels[dispute][round]
    assert tries > 0, "Disputes: tries is zero"
    assert panel.taken < panel.seats, "Disputes: all seats are taken"
    if self._is_stale(dispute, round):
        self._set_seed_block(dispute, round)
        return panel.seats - panel.taken
    if panel.seed == empty(bytes32):
        assert block.number > panel.seed_block, "Disputes: the seed's blocks are not all mined yet"
        bits: uint256 = 0
        for before: uint256 in range(SEED_BITS):
            bits = (bits << 1) | (convert(blockhash(panel.seed_block - before), uint256) & 1)
        panel.seed = keccak256(abi_encode(bits, dispute, round))
        self._panels[dispute][round].seed = panel.seed
    last: uint256 = min(panel.tries + min(tries, MAX_TRIES_AT_ONCE), MAX_TRIES)
    assert panel.tries < last, "Disputes: no tries are left; close the dispute"
    for _: uint256 in range(MAX_TRIES_AT_ONCE):
        if panel.tries == last or panel.taken == panel.seats:
            break
        word: uint256 = convert(keccak256(abi_encode(panel.seed, panel.tries)), uint256)
        panel.tries += 1
        juror: uint256 = 1 + (word & LOW_HALF) % panel.candidates
        if self._is_eligible(dispute, juror, word >> 128, panel.epoch):
            panel.taken += 1
            self._seats[dispute][juror] = 4 * convert(round, uint256) + convert(DRAWN, uint256)
            self._excluded[dispute][(staticcall STAKING.node(juror)).owner] = True
            log JurorDrawn(dispute=dispute, round=round, juror=juror)
    self._panels[dispute][round].tries = panel.tries
    self._panels[dispute][round].taken = panel.taken
    return panel.seats - panel.taken


@internal
def _count(verdict: statements.Verdict, signature: Bytes[65]):
    juror: uint256 = convert(verdict.juror, uint256)
    seat: uint256 = self._seats[verdict.dispute][juror]
    held: uint256 = 4 * convert(verdict.round, uint256)
    assert seat > held, "Disputes: a verdict is not by a juror of this round"
    if seat != held + convert(DRAWN, uint256):
        return
    signer: address = statements._signer(statements._verdict_digest(verdict), signature)
    assert signer != empty(address), "Disputes: a signature is not 65 bytes in its one valid form"
    assert staticcall STAKING.signing_id(signer) == juror, "Disputes: a verdict is not signed by a key of the juror"
    if verdict.verdict == CANNOT_JUDGE:
        self._seats[verdict.dispute][juror] = held + convert(COULD_NOT_JUDGE, uint256)
        self._panels[verdict.dispute][verdict.round].taken -= 1
    else:
        assert verdict.verdict == WRONG or verdict.verdict == RIGHT, "Disputes: a verdict is 1 wrong, 2 right or 3"
        self._seats[verdict.dispute][juror] = held + convert(HAS_JUDGED, uint256)
        self._judges[verdict.dispute][verdict.round][verdict.verdict].append(juror)
        if verdict.verdict == WRONG:
            self._panels[verdict.dispute][verdict.round].wrong += 1
        else:
            self._panels[verdict.dispute][verdict.round].right += 1
    log VerdictCounted(dispute=verdict.dispute, round=verdict.round, juror=juror, verdict=verdict.verdict)


@internal
def _set_seed_block(dispute: uint256, round: uint32):
    seed_block: uint256 = block.number + SEED_DELAY + SEED_BITS - 1
    self._panels[dispute][round].seed_block = seed_block
    self._panels[dispute][round].seed = empty(bytes32)
    self._panels[dispute][round].epoch = block.timestamp // EPOCH
    log SeedSet(dispute=dispute, round=round, block=seed_block)


@internal
@view
def _is_eligible(dispute: uint256, juror: uint256, chance: uint256, epoch: uint256) -> bool:
    # With a stake from CAP on, every chance is enough. An owner who has or had a juror here is excluded, so nobody is
    # drawn twice. Stake that came since the seed's blocks were set does not weigh: it may have come when the seed
    # was known. It is read last, since it costs more than the row, which refuses most.
    node: IStaking.Node = staticcall STAKING.node(juror)
    return (
        chance * CAP < node.effective_stake << 128
        and node.role == MINER
        and node.active
        and not self._excluded[dispute][node.owner]
        and chance * CAP < self._stake_before(juror, epoch) << 128
    )


@internal
@view
def _stake_before(id: uint256, epoch: uint256) -> uint256:
    # The least over all epochs since: stake must have been there before the first of them.
    stake: uint256 = max_value(uint256)
    for passed: uint256 in range(SEED_EPOCHS):
        if epoch + passed > block.timestamp // EPOCH:
            break
        stake = min(stake, staticcall STAKING.stake_before(id, epoch + passed))
    return stake


@internal
@view
def _is_stale(dispute: uint256, round: uint32) -> bool:
    # A seed that nobody stored while its block could be read, or one that was set too long ago.
    panel: Panel = self._panels[dispute][round]
    first: uint256 = panel.seed_block - (SEED_BITS - 1)
    is_lost: bool = panel.seed == empty(bytes32) and block.number > first + READABLE_BLOCKS
    return is_lost or block.timestamp // EPOCH >= panel.epoch + SEED_EPOCHS


@internal
@view
def _exhausted(dispute: uint256, round: uint32) -> bool:
    return self._panels[dispute][round].tries == MAX_TRIES


@internal
@view
def _panel(dispute: uint256, round: uint32) -> Panel:
    return self._panels[dispute][round]


@internal
@view
def _judges_who_said(dispute: uint256, round: uint32, verdict: uint8) -> DynArray[uint256, MAX_SEATS]:
    return self._judges[dispute][round][verdict]


@internal
@view
def _seat(dispute: uint256, juror: uint256) -> (uint256, uint8):
    seat: uint256 = self._seats[dispute][juror]
    return seat // 4, convert(seat % 4, uint8)
