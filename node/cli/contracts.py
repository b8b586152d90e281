"""``cuckoo contracts``: put a network's contracts on a chain, and check those that lie there."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from node.cli.account import (
    DEFAULT_KEYSTORE,
    DEFAULT_NETWORK,
    JsonOption,
    KeystoreOption,
    NetworkOption,
    PasswordOption,
    look,
    print_line,
)

if TYPE_CHECKING:
    from node.deployment import Finding
    from node.owner.wallet import Wallet

contract_commands = typer.Typer(help="Deploy a network's contracts, or check them.")


@contract_commands.command("example")
def example() -> None:
    """Print a commented network file to begin with.

    $ cuckoo contracts example > network.toml
    """
    import importlib.resources

    text = importlib.resources.files("configs").joinpath("networks", "network.toml").read_text(encoding="utf-8")
    print(text, end="")


@contract_commands.command("deploy")
def deploy(
    network: NetworkOption = DEFAULT_NETWORK,
    keystore: KeystoreOption = DEFAULT_KEYSTORE,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy what is not deployed yet and write the addresses beside the network's file. Safe to run again.

    The account pays the gas, gets all CAI, and owns Parameters until it hands that over.

      $ cuckoo contracts deploy --network network.toml --keystore deployer.json
    """
    import trio

    from node import keystore as store
    from node.cli.progress import Reporter
    from node.deployment import deploy_network, read_plan

    path = Path(network)
    read_plan(path)  # first, so that nobody types a password for a file with a mistake
    secret = store.unlock(keystore.expanduser(), password_file)
    reporter = Reporter()
    with reporter.shown():
        deployed = trio.run(deploy_network, path, secret, reporter.say)
    contracts = deployed.contracts.model_dump(exclude_none=True)
    if as_json:
        print_line({"chain_id": deployed.chain.chain_id, **contracts})
    else:
        print("\n".join(f"{name:<11} {address}" for name, address in contracts.items()))


@contract_commands.command("verify")
def verify(network: NetworkOption = DEFAULT_NETWORK, as_json: JsonOption = False) -> None:
    """Check that the contracts on the chain are those of this version, connected, and with the network's numbers.

    The exit code is 1 when something is wrong.

      $ cuckoo contracts verify --network network.toml
    """
    from node.network_file import read_network

    described = read_network(network)

    async def ask(wallet: "Wallet") -> "list[Finding]":
        from node.deployment import params_of, verify_network

        return await verify_network(wallet, params_of(described, Path(network)))

    findings = look(network, ask)
    if as_json:
        print_line(
            {
                "right": all(finding.is_right for finding in findings),
                "findings": [
                    {"what": finding.what, "right": finding.is_right, "detail": finding.detail} for finding in findings
                ],
            }
        )
    else:
        for finding in findings:
            print(f"{'ok   ' if finding.is_right else 'WRONG'} {finding.what}: {finding.detail}")
    if not all(finding.is_right for finding in findings):
        raise typer.Exit(1)
