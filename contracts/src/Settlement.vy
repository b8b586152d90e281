# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Settlement
@notice Pays miners what coordinators promised them. A coordinator keeps an escrow here; a miner, or anybody for it,
        redeems the cumulative voucher that the coordinator's hot key signed, up to the escrow. What the escrow does
        not cover is a debt: it jails the coordinator, and after the unbonding delay it is met from the operator's
        own stake, never from its voters'.
@dev Invariant: the escrows of all coordinators together are what this contract holds. Spec: contracts/SPEC.md.
"""
from ethereum.ercs import IERC20
from interfaces import IStaking
from modules import statements

initializes: statements


struct Withdrawal:
    # In wei; 0 when none is asked for.
    amount: uint256
    # Unix seconds from which it can be taken.
    ready_at: uint256


event Deposited:
    coordinator: indexed(uint256)
    payer: indexed(address)
    amount: uint256
    escrow_after: uint256

event WithdrawalRequested:
    coordinator: indexed(uint256)
    amount: uint256
    ready_at: uint256

event WithdrawalCancelled:
    coordinator: indexed(uint256)

event Withdrawn:
    coordinator: indexed(uint256)
    amount: uint256
    escrow_after: uint256

event Redeemed:
    coordinator: indexed(uint256)
    miner: indexed(uint256)
    # What was paid now, in wei.
    amount: uint256
    # Highest promise shown so far, in wei.
    acknowledged: uint256
    # What of it is still to be paid, in wei.
    unpaid: uint256
    escrow_after: uint256

event InDebt:
    coordinator: indexed(uint256)
    # What it owes all miners together, in wei.
    owed: uint256

event OutOfDebt:
    coordinator: indexed(uint256)

event DebtMet:
    coordinator: indexed(uint256)
    # What came from the operator's own stake, in wei.
    amount: uint256
    escrow_after: uint256


MINER: constant(uint8) = 1
COORDINATOR: constant(uint8) = 2
# Vouchers that one transaction may redeem: bounds its gas.
MAX_VOUCHERS: constant(uint256) = 64
# Unbondings that one `meet_debt` may name, as Staking.seize takes them.
MAX_UNBONDINGS: constant(uint256) = 16
# No promise is above this, in wei: far more CAI than there will be, and sums of it cannot overflow. Without a bound
# one absurd promise would make every later one overflow, and so keep honest miners from redeeming.
MAX_PROMISE: constant(uint256) = 2 ** 128
# Longest notice that can be deployed: a typing error must not lock escrows for years.
MAX_NOTICE: constant(uint256) = 90 * 86_400

TOKEN: immutable(IERC20)
STAKING: immutable(IStaking)
NOTICE: immutable(uint256)

# What a coordinator has here for its miners, in wei.
escrow: public(HashMap[uint256, uint256])
# The one withdrawal that its owner has asked for.
pending_withdrawal: public(HashMap[uint256, Withdrawal])
# Highest promise of a coordinator to a miner that was shown here, in wei.
acknowledged: public(HashMap[uint256, HashMap[uint256, uint256]])
# What of it was paid, in wei.
redeemed: public(HashMap[uint256, HashMap[uint256, uint256]])
# What a coordinator has paid all miners, in wei.
redeemed_total: public(HashMap[uint256, uint256])
# What was shown and is not paid, over all miners, in wei: above zero means in debt.
owed: public(HashMap[uint256, uint256])
# Unix seconds since when a coordinator is in debt; 0 while it is not.
in_debt_since: public(HashMap[uint256, uint256])


@deploy
def __init__(staking: address, notice: uint256):
    """
    @param staking The Staking contract, which must connect this one before anything can be redeemed.
    @param notice Seconds between asking for a withdrawal of escrow and taking it: the time that miners have to redeem.
    """
    assert staking.is_contract, "Settlement: staking is not a contract"
    assert 0 < notice and notice <= MAX_NOTICE, "Settlement: notice is not in 1 s to 90 days"
    statements.__init__(staking)
    STAKING = IStaking(staking)
    TOKEN = IERC20(staticcall STAKING.token())
    NOTICE = notice
    # Staking.pay takes each payment from here.
    assert extcall TOKEN.approve(staking, max_value(uint256)), "Settlement: approval failed"


@external
def deposit(coordinator: uint256, amount: uint256):
    """
    @notice Adds the caller's CAI to a coordinator's escrow. It is the coordinator's from then on.
    @param coordinator Id of the coordinator.
    @param amount In wei. Approve this contract for it first.
    """
    assert (staticcall STAKING.node(coordinator)).role == COORDINATOR, "Settlement: no coordinator has this id"
    assert amount > 0, "Settlement: amount is zero"
    after: uint256 = self.escrow[coordinator] + amount
    self.escrow[coordinator] = after
    log Deposited(coordinator=coordinator, payer=msg.sender, amount=amount, escrow_after=after)
    assert extcall TOKEN.transferFrom(msg.sender, self, amount), "Settlement: transfer failed"


@external
def request_withdrawal(coordinator: uint256, amount: uint256):
    """
    @notice Announces that the owner will take escrow back. Replaces an earlier request, and its clock starts again.
            Miners no longer count on what is announced.
    @param coordinator Id of the caller's coordinator.
    @param amount In wei, at most the escrow.
    """
    self._only_owner(coordinator)
    assert amount > 0, "Settlement: amount is zero"
    assert amount <= self.escrow[coordinator], "Settlement: the escrow is less than that"
    ready_at: uint256 = block.timestamp + NOTICE
    self.pending_withdrawal[coordinator] = Withdrawal(amount=amount, ready_at=ready_at)
    log WithdrawalRequested(coordinator=coordinator, amount=amount, ready_at=ready_at)


@external
def cancel_withdrawal(coordinator: uint256):
    """
    @notice Takes the announcement back.
    @param coordinator Id of the caller's coordinator.
    """
    self._only_owner(coordinator)
    assert self.pending_withdrawal[coordinator].amount > 0, "Settlement: no withdrawal is requested"
    self.pending_withdrawal[coordinator] = empty(Withdrawal)
    log WithdrawalCancelled(coordinator=coordinator)


@external
def withdraw(coordinator: uint256):
    """
    @notice Pays the owner what was announced, or what is left of the escrow if that is less.
    @param coordinator Id of the caller's coordinator.
    """
    self._only_owner(coordinator)
    request: Withdrawal = self.pending_withdrawal[coordinator]
    assert request.amount > 0, "Settlement: no withdrawal is requested"
    assert block.timestamp >= request.ready_at, "Settlement: the notice is not over"
    assert self.owed[coordinator] == 0, "Settlement: the coordinator is in debt; its miners redeem first"
    amount: uint256 = min(request.amount, self.escrow[coordinator])
    after: uint256 = self.escrow[coordinator] - amount
    self.pending_withdrawal[coordinator] = empty(Withdrawal)
    self.escrow[coordinator] = after
    log Withdrawn(coordinator=coordinator, amount=amount, escrow_after=after)
    assert extcall TOKEN.transfer(msg.sender, amount), "Settlement: transfer failed"


@external
def redeem(voucher: statements.Voucher, signature: Bytes[65]) -> uint256:
    """
    @notice Pays a miner what the voucher promises beyond what was paid, up to the escrow; the rest becomes a debt.
            Anybody may send it. The payment is streamed to the miner's node by Staking.
    @param voucher What the coordinator signed; the latest voucher replaces all before it.
    @param signature Its 65 bytes, by the coordinator's key or one that was retired less than the unbonding delay ago.
           Not read where as much was shown before.
    @return What was paid now, in wei.
    """
    news: bool = False
    paid: uint256 = 0
    news, paid = self._redeem(voucher, signature)
    assert news, "Settlement: this voucher adds nothing to what was shown and paid"
    self._settle_debt(convert(voucher.coordinator, uint256))
    self._pay(voucher.miner, paid)
    return paid


@external
def redeem_many(
    vouchers: DynArray[statements.Voucher, MAX_VOUCHERS], signatures: DynArray[Bytes[65], MAX_VOUCHERS]
) -> uint256:
    """
    @notice Redeems up to 64 vouchers, of any coordinators and miners. One that adds nothing is passed over, so that
            nobody can spoil the others by redeeming one of them first; one that is not valid refuses the whole.
    @param vouchers What coordinators signed.
    @param signatures One for each voucher, in the same order.
    @return What was paid now, in wei.
    """
    assert len(vouchers) == len(signatures), "Settlement: as many signatures as vouchers are needed"
    total: uint256 = 0
    due: uint256 = 0
    news: bool = False
    paid: uint256 = 0
    last: uint256 = len(vouchers)
    for index: uint256 in range(last, bound=MAX_VOUCHERS):
        news, paid = self._redeem(vouchers[index], signatures[index])
        total += paid
        due += paid
        # Once for a run of vouchers of one coordinator: a debt that a later voucher pays is none.
        is_last: bool = index + 1 == last
        if is_last or vouchers[index + 1].coordinator != vouchers[index].coordinator:
            self._settle_debt(convert(vouchers[index].coordinator, uint256))
        # Once for a run of vouchers to one miner: what several coordinators owe it comes as one payment.
        if is_last or vouchers[index + 1].miner != vouchers[index].miner:
            self._pay(vouchers[index].miner, due)
            due = 0
    return total


@external
def meet_debt(coordinator: uint256, unbondings: DynArray[uint256, MAX_UNBONDINGS]) -> uint256:
    """
    @notice Moves what a coordinator owes and its escrow does not cover from the operator's own stake into its
            escrow, once it is in debt for the unbonding delay. Its miners then redeem the same vouchers again.
            Anybody may send it.
    @param coordinator Id of the coordinator.
    @param unbondings Indices of the owner's unbondings from this node, taken when its bonded stake is not enough.
    @return What was moved, in wei.
    """
    since: uint256 = self.in_debt_since[coordinator]
    assert since > 0, "Settlement: the coordinator is not in debt"
    delay: uint256 = staticcall STAKING.unbonding_delay()
    assert block.timestamp >= since + delay, "Settlement: the coordinator still has time to deposit"
    owed: uint256 = self.owed[coordinator]
    held: uint256 = self.escrow[coordinator]
    assert held < owed, "Settlement: the escrow covers the debt; redeem the vouchers"
    amount: uint256 = extcall STAKING.seize(coordinator, owed - held, unbondings)
    assert amount > 0, "Settlement: the operator has no stake left under this node and these unbondings"
    self.escrow[coordinator] = held + amount
    log DebtMet(coordinator=coordinator, amount=amount, escrow_after=held + amount)
    return amount


@external
@view
def notice() -> uint256:
    """
    @return Seconds between asking for a withdrawal of escrow and taking it.
    """
    return NOTICE


@external
@view
def token() -> address:
    """
    @return The CAI token.
    """
    return TOKEN.address


@external
@view
def staking() -> address:
    """
    @return The Staking contract.
    """
    return STAKING.address


@internal
def _redeem(voucher: statements.Voucher, signature: Bytes[65]) -> (bool, uint256):
    # Gives whether anything changed, and what the miner is to be paid. The caller settles the debt, and pays.
    coordinator: uint256 = convert(voucher.coordinator, uint256)
    miner: uint256 = convert(voucher.miner, uint256)
    known: uint256 = self.acknowledged[coordinator][miner]
    # What was shown is owed, and needs no signature again: one that counted then may count no more when a debt is met.
    if voucher.cumulative > known:
        assert voucher.issuedTotal <= MAX_PROMISE, "Settlement: a promise is at most 2^128 wei"
        assert voucher.cumulative <= voucher.issuedTotal, "Settlement: one miner is promised more than all miners are"
        signer: address = statements._signer(statements._voucher_digest(voucher), signature)
        assert signer != empty(address), "Settlement: the signature is not 65 bytes in its one valid form"
        assert coordinator != 0 and staticcall STAKING.signing_id(signer) == coordinator, (
            "Settlement: not signed by a key of the coordinator"
        )
        assert (staticcall STAKING.node(coordinator)).role == COORDINATOR, "Settlement: the signer is not a coordinator"
        assert (staticcall STAKING.node(miner)).role == MINER, "Settlement: the payee is not a registered miner"

    promised: uint256 = max(known, voucher.cumulative)
    unpaid: uint256 = promised - self.redeemed[coordinator][miner]
    held: uint256 = self.escrow[coordinator]
    amount: uint256 = min(unpaid, held)
    if promised == known and amount == 0:
        return False, 0
    self.acknowledged[coordinator][miner] = promised
    self.redeemed[coordinator][miner] += amount
    self.redeemed_total[coordinator] += amount
    self.escrow[coordinator] = held - amount
    self.owed[coordinator] = self.owed[coordinator] + (promised - known) - amount
    log Redeemed(
        coordinator=coordinator,
        miner=miner,
        amount=amount,
        acknowledged=promised,
        unpaid=unpaid - amount,
        escrow_after=held - amount,
    )
    return True, amount


@internal
def _pay(miner: uint64, amount: uint256):
    if amount > 0:
        extcall STAKING.pay(convert(miner, uint256), amount)


@internal
def _settle_debt(coordinator: uint256):
    # A coordinator is in debt exactly while it owes something that was shown.
    owed: uint256 = self.owed[coordinator]
    was_in_debt: bool = self.in_debt_since[coordinator] > 0
    if owed > 0 and not was_in_debt:
        self.in_debt_since[coordinator] = block.timestamp
        log InDebt(coordinator=coordinator, owed=owed)
        extcall STAKING.set_debt(coordinator, True)
    elif owed == 0 and was_in_debt:
        self.in_debt_since[coordinator] = 0
        log OutOfDebt(coordinator=coordinator)
        extcall STAKING.set_debt(coordinator, False)


@internal
@view
def _only_owner(coordinator: uint256):
    assert (staticcall STAKING.node(coordinator)).owner == msg.sender, "Settlement: only the coordinator's owner may do this"
