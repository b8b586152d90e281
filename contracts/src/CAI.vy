# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title CAI
@notice The token of the network: ERC-20 with EIP-2612 permit.
        All 1,000,000,000 CAI exist from the first block and no function can make more; holders can burn.
@dev snekmate's `mint`, `set_minter` and ownership functions are not exported, so the deployer keeps no power.
"""
from snekmate.auth import ownable
from snekmate.tokens import erc20

initializes: ownable
initializes: erc20[ownable := ownable]

exports: (
    erc20.name,
    erc20.symbol,
    erc20.decimals,
    erc20.totalSupply,
    erc20.balanceOf,
    erc20.allowance,
    erc20.transfer,
    erc20.transferFrom,
    erc20.approve,
    erc20.burn,
    erc20.burn_from,
    erc20.permit,
    erc20.nonces,
    erc20.DOMAIN_SEPARATOR,
    erc20.eip712Domain,
)

MAX_SUPPLY: public(constant(uint256)) = 1_000_000_000 * 10**18


@deploy
def __init__(treasury: address):
    """
    @notice Gives the whole supply to the treasury.
    @param treasury Receives 1,000,000,000 CAI.
    """
    assert treasury != empty(address), "CAI: treasury is the zero address"
    ownable.__init__()
    erc20.__init__("Cuckoo AI", "CAI", 18, "Cuckoo AI", "1")
    ownable._transfer_ownership(empty(address))
    erc20.is_minter[msg.sender] = False
    erc20._mint(treasury, MAX_SUPPLY)
