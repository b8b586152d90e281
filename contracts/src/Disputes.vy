# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Disputes
@notice Place of the contract.
"""

STAKING: immutable(address)


@deploy
def __init__(staking: address):
    """
    @param staking The Staking contract.
    """
    assert staking.is_contract, "Disputes: staking is not a contract"
    STAKING = staking


@external
@view
def staking() -> address:
    """
    @return The Staking contract.
    """
    return STAKING
