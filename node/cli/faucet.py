"""``cuckoo faucet``: CAI for trying things out, on networks where it is worth nothing."""

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.account import Means, acting, transact

if TYPE_CHECKING:
    from node.owner.wallet import Plan, Wallet


@acting
def faucet(
    means: Means,
    receiver: Annotated[str | None, typer.Option(metavar="0x…", help="Who gets it.  \\[your account]")] = None,
) -> None:
    """Take the faucet's CAI, once a day for each account. On a devnet you get something for gas as well.

    $ cuckoo faucet --network network.toml --keystore account.json
    """
    from node.addresses import checked_address
    from protocol.errors import ConfigError

    who = checked_address(receiver, "--receiver") if receiver is not None else None

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import drip

        if wallet.network.contracts.faucet is None:
            raise ConfigError("this network has no faucet: its CAI has value")
        await wallet.fill_up_on_dev_chain()
        return await drip(wallet, who or wallet.address)

    transact(means, plan)
