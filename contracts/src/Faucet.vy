# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Faucet
@notice Gives everybody the same amount of CAI once a day. For development and test networks, where CAI is worth nothing.
@dev Holds its own CAI: whoever wants it to go on sends it more.
"""
from ethereum.ercs import IERC20

event Dripped:
    receiver: indexed(address)
    amount: uint256

DAY: constant(uint256) = 86_400
ETHEREUM_MAINNET: constant(uint256) = 1

TOKEN: immutable(IERC20)
DRIP: immutable(uint256)

next_drip_at: public(HashMap[address, uint256])


@deploy
def __init__(token: address, drip: uint256):
    """
    @param token The CAI token.
    @param drip What one address gets a day, in wei.
    """
    assert chain.id != ETHEREUM_MAINNET, "Faucet: only for development and test networks"
    assert token.is_contract, "Faucet: token is not a contract"
    assert drip > 0, "Faucet: drip is zero"
    TOKEN = IERC20(token)
    DRIP = drip


@external
@view
def token() -> address:
    """
    @return The CAI token.
    """
    return TOKEN.address


@external
@view
def drip_amount() -> uint256:
    """
    @return What one address gets a day, in wei.
    """
    return DRIP


@external
def drip(receiver: address = msg.sender):
    """
    @notice Sends the daily amount to the receiver. Anybody may pay the gas for it.
    @param receiver Gets the CAI; the caller when left out.
    """
    assert receiver != empty(address), "Faucet: receiver is the zero address"
    assert block.timestamp >= self.next_drip_at[receiver], "Faucet: this address was served in the last 24 hours"
    assert staticcall TOKEN.balanceOf(self) >= DRIP, "Faucet: empty, send it CAI"
    self.next_drip_at[receiver] = block.timestamp + DAY
    log Dripped(receiver=receiver, amount=DRIP)
    assert extcall TOKEN.transfer(receiver, DRIP), "Faucet: transfer failed"
