# pragma version 0.4.3
"""
@title A Staking and Parameters in one, whose token strikes back at every payment and freeze.
@notice Node 1 is a coordinator, the others are miners, and the token owns them all.
"""
from ethereum.ercs import IERC20
from interfaces import IStaking


TOKEN: immutable(address)


@deploy
def __init__(token: address):
    TOKEN = token


@external
@view
def token() -> address:
    return TOKEN


@external
@view
def parameters() -> address:
    return self


@external
@view
def value(parameter: uint256) -> uint256:
    return 100


@external
@view
def node(id: uint256) -> IStaking.Node:
    return IStaking.Node(
        owner=TOKEN if id < 3 else self,
        key=TOKEN,
        role=2 if id == 1 else 1,
        active=True,
        self_stake=10**24,
        effective_stake=10**24,
    )


@external
@view
def node_count() -> uint256:
    return 4


@external
@view
def epoch_s() -> uint256:
    return 100


@external
@view
def minimum_stake(role: uint8) -> uint256:
    return 10**20


@external
@view
def signing_id(key: address) -> uint256:
    return 1


@external
@view
def unbonding_delay() -> uint256:
    return 0


@external
def pay(id: uint256, amount: uint256):
    extcall IERC20(TOKEN).transfer(self, 0)


@external
def set_debt(id: uint256, in_debt: bool):
    extcall IERC20(TOKEN).transfer(self, 0)


@external
def seize(id: uint256, amount: uint256, indices: DynArray[uint256, 16]) -> uint256:
    extcall IERC20(TOKEN).transfer(self, 0)
    return amount


@external
def freeze(id: uint256, until: uint256):
    extcall IERC20(TOKEN).transfer(self, 0)
