"""``cuckoo faucet``: CAI for trying things out, on networks where it is worth nothing."""

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.account import (
    DEFAULT_KEYSTORE,
    DEFAULT_NETWORK,
    DryRunOption,
    JsonOption,
    KeystoreOption,
    Means,
    NetworkOption,
    PasswordOption,
    transact,
)

if TYPE_CHECKING:
    from node.wallet import Plan, Wallet

DEV_COINS_WEI = 10 * 10**18
"""What a dev chain's account is filled up to for gas, in wei of the chain's own coin."""


def faucet(
    receiver: Annotated[str | None, typer.Option(metavar="0x…", help="Who gets it.  [your account]")] = None,
    network: NetworkOption = DEFAULT_NETWORK,
    keystore: KeystoreOption = DEFAULT_KEYSTORE,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take the faucet's CAI, once a day for each account. On a devnet you get something for gas as well.

    $ cuckoo faucet --network network.toml --keystore account.json
    """
    from eth_utils.address import is_address, to_checksum_address

    from protocol.errors import ConfigError

    if receiver is not None and not is_address(receiver):
        raise ConfigError(f"--receiver: {receiver!r} is no Ethereum address: write 0x and 40 hexadecimal digits")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.plans import drip

        if wallet.network.contracts.faucet is None:
            raise ConfigError("this network has no faucet: its CAI has value")
        await _fill_up(wallet)
        return await drip(wallet, to_checksum_address(receiver) if receiver else wallet.address)

    transact(Means(network, keystore, password_file, dry_run, as_json), plan)


async def _fill_up(wallet: "Wallet") -> None:
    """Give the account something for gas where the chain is a dev chain, which makes coins by request."""
    from node.adapters.chain.devchain import DEV_CHAIN_ID

    if wallet.network.chain.chain_id == DEV_CHAIN_ID and await wallet.gas_balance() == 0:
        await wallet.rpc.call("anvil_setBalance", wallet.address, hex(DEV_COINS_WEI))
