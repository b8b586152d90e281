# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Settlement
@notice Place of the escrow and voucher contract.
"""

STAKING: immutable(address)


@deploy
def __init__(staking: address, notice_s: uint256):
    """
    @param staking The Staking contract.
    @param notice_s Seconds between asking an escrow back and getting it.
    """
    assert staking.is_contract, "Settlement: staking is not a contract"
    assert notice_s > 0, "Settlement: notice is zero"
    STAKING = staking


@external
@view
def staking() -> address:
    """
    @return The Staking contract.
    """
    return STAKING
