# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Connections
@notice The three contracts that may act on stakes: named once by the deployer, and then never again.
"""

event Connected:
    settlement: address
    slashing: address
    disputes: address


DEPLOYER: immutable(address)

# Takes in payments, puts nodes into debt, and seizes operators' own stake for debts.
settlement: public(address)
# Slashes what signatures prove.
slashing: public(address)
# Slashes what jurors decide, and freezes while they do.
disputes: public(address)


@deploy
def __init__():
    DEPLOYER = msg.sender


@external
def connect(settlement: address, slashing: address, disputes: address):
    """
    @notice Names the contracts that may act on stakes. By the deployer, once.
    @param settlement The Settlement contract.
    @param slashing The Slashing contract.
    @param disputes The Disputes contract.
    """
    assert msg.sender == DEPLOYER, "Staking: only the deployer may connect contracts"
    assert self.settlement == empty(address), "Staking: the contracts are connected already"
    assert settlement.is_contract, "Staking: settlement is not a contract"
    assert slashing.is_contract, "Staking: slashing is not a contract"
    assert disputes.is_contract, "Staking: disputes is not a contract"
    self.settlement = settlement
    self.slashing = slashing
    self.disputes = disputes
    log Connected(settlement=settlement, slashing=slashing, disputes=disputes)


@internal
@view
def _check_settlement():
    assert msg.sender == self.settlement, "Staking: only Settlement may do this"


@internal
@view
def _check_slasher():
    is_slasher: bool = msg.sender == self.slashing or msg.sender == self.disputes
    assert is_slasher, "Staking: only Slashing and Disputes may do this"


@internal
@view
def _check_disputes():
    assert msg.sender == self.disputes, "Staking: only Disputes may do this"
