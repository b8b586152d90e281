"""``cuckoo stake``, ``vote``, ``unvote``, ``unbond``, ``withdraw``: stake goes in, and comes out after its delay."""

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.account import Means, acting, transact

if TYPE_CHECKING:
    from node.owner.wallet import Plan, Wallet

NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="Staking id of the node, or its key's address.")]
AmountArgument = Annotated[str, typer.Argument(metavar="AMOUNT", help="In CAI, as 25000 or 0.5.")]
PartArgument = Annotated[str, typer.Argument(metavar="AMOUNT", help="In CAI, as 25000 or 0.5; all for everything.")]


@acting
def stake(node: NodeArgument, amount: AmountArgument, means: Means) -> None:
    """Add own stake to your node. Own stake above its role's minimum is what makes a node active.

    $ cuckoo stake 4 25000 --network network.toml --keystore owner.json
    """
    _add(node, amount, means, as_owner=True)


@acting
def vote(node: NodeArgument, amount: AmountArgument, means: Means) -> None:
    """Vote for anybody's node with CAI. It weighs in draws, earns with the node, and can be slashed with it.

    $ cuckoo vote 4 1000 --network network.toml --keystore voter.json --dry-run
    """
    _add(node, amount, means, as_owner=False)


@acting
def unvote(node: NodeArgument, amount: PartArgument, means: Means) -> None:
    """Take votes back. They weigh and earn no more at once, and can be withdrawn after the unbonding delay.

    $ cuckoo unvote 4 all --network network.toml --keystore voter.json
    """
    _take_back(node, amount, means, as_owner=False)


@acting
def unbond(node: NodeArgument, amount: PartArgument, means: Means) -> None:
    """Take own stake back from your node. At or below the minimum it becomes inactive.

    $ cuckoo unbond 4 5000 --network network.toml --keystore owner.json
    """
    _take_back(node, amount, means, as_owner=True)


@acting
def withdraw(means: Means) -> None:
    """Pay out all stake that you took back and that has waited for the unbonding delay.

    $ cuckoo withdraw --network network.toml --keystore voter.json
    """
    from node.owner.plans import withdraw as plan_withdrawal

    transact(means, plan_withdrawal)


def _add(node: str, amount: str, means: Means, *, as_owner: bool) -> None:
    from node.amounts import parse_cai

    wei = parse_cai(amount, "AMOUNT")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import add_stake
        from node.owner.stakes import find_node

        return await add_stake(wallet, await find_node(wallet, node), wei, as_owner=as_owner)

    transact(means, plan)


def _take_back(node: str, amount: str, means: Means, *, as_owner: bool) -> None:
    from node.amounts import parse_cai
    from node.owner.plans import ALL, take_back

    wei = ALL if amount.strip().lower() == "all" else parse_cai(amount, "AMOUNT")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.stakes import find_node

        return await take_back(wallet, await find_node(wallet, node), wei, as_owner=as_owner)

    transact(means, plan)
