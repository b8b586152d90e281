"""What the commands of stakers and owners share: whose account, on which network, and from a plan to transactions."""

import inspect
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from node.network_file import NetworkFile
    from node.owner.wallet import Plan, Preview, Wallet

NetworkOption = Annotated[
    Path, typer.Option("--network", metavar="FILE", help="The network's file.", envvar="CUCKOO_NETWORK")
]
OptionalNetworkOption = Annotated[
    Path | None,
    typer.Option("--network", metavar="FILE", help="The network's file: it tells who signed.", envvar="CUCKOO_NETWORK"),
]
KeystoreOption = Annotated[
    Path, typer.Option("--keystore", metavar="FILE", help="Your account's encrypted key.", envvar="CUCKOO_KEYSTORE")
]
PasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file", help="File with its password (chmod 600); else you are asked.", envvar="CUCKOO_PASSWORD_FILE"
    ),
]
AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="0x…", help="Look at this account.  \\[that of --keystore]")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show gas and effect, send nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON line.")]

DEFAULT_NETWORK = Path("network.toml")
DEFAULT_KEYSTORE = Path("account.json")
NOBODY = "0x" + "00" * 20
"""Who looks where it does not matter who does."""
WEI_PER_COIN = 10**18

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Means:
    """How a command reaches the chain, and as whom."""

    network: Path
    keystore: Path
    password_file: Path | None
    dry_run: bool
    as_json: bool


def _means(
    network: NetworkOption = DEFAULT_NETWORK,
    keystore: KeystoreOption = DEFAULT_KEYSTORE,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> Means:
    """Take the options of every command that acts."""
    return Means(network, keystore, password_file, dry_run, as_json)


def acting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, beside its own options, those of every command that acts: it gets them as ``means``."""
    options = inspect.signature(_means).parameters
    own = [one for one in inspect.signature(command).parameters.values() if one.name != "means"]

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 what typer read
        command(means=_means(**{name: given.pop(name) for name in options}), **given)

    parameters = [*own, *options.values()]
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def transact(means: Means, make_plan: "Callable[[Wallet], Awaitable[Plan]]") -> None:
    """Make a plan, show what it does, and carry it out, unless it is a dry run.

    Args:
        means: Account and network.
        make_plan: Looks at the chain and says what to do.

    Raises:
        ConfigError, TransactionRefused, Unavailable: It cannot be done; the text says why.
    """
    import trio

    from node import keystore
    from node.network_file import read_network

    network = read_network(means.network)
    secret = keystore.unlock(means.keystore.expanduser(), means.password_file)
    trio.run(_transact, means, network, secret, make_plan)


async def _transact(
    means: Means, network: "NetworkFile", secret: bytes, make_plan: "Callable[[Wallet], Awaitable[Plan]]"
) -> None:
    """Plan, try out, and send."""
    from node.cli.progress import Reporter
    from node.owner.wallet import open_wallet, require_gas

    reporter = Reporter()
    async with open_wallet(network, secret=secret) as wallet:
        with reporter.shown():
            reporter.say("asking the chain")
            plan = await make_plan(wallet)
            preview = await wallet.preview(plan)
            if not means.dry_run:
                require_gas(preview, wallet.address)
                try:
                    await wallet.carry_out(plan, reporter.say)
                except KeyboardInterrupt:
                    reporter.stop()
                    print("stopped waiting: what was sent may still be mined", file=sys.stderr)
                    raise
    _show(plan, preview, means)


def look(network: Path, question: "Callable[[Wallet], Awaitable[T]]", who: str = NOBODY) -> T:
    """Ask the chain something as an account, without its key.

    Args:
        network: The network's file.
        question: What to ask.
        who: Hex address of the account.
    """
    import trio

    from node.network_file import read_network
    from node.owner.wallet import open_wallet

    described = read_network(network)

    async def ask() -> T:
        async with open_wallet(described, address=who) as wallet:
            return await question(wallet)

    return trio.run(ask)


def address_in(keystore: Path, account: str | None) -> str:
    """Give the address to look at: the one that was named, else that of a keystore, which need not be opened for it.

    Raises:
        ConfigError: There is neither.
    """
    from node.addresses import checked_address
    from node.keystore import address_of

    return address_of(keystore.expanduser()) if account is None else checked_address(account, "--account")


def print_line(values: dict[str, Any]) -> None:  # Any: what JSON holds
    """Print one JSON line."""
    print(json.dumps(values))


def _show(plan: "Plan", preview: "Preview", means: Means) -> None:
    """Say what was done, or would be."""
    from node.own_command import with_shown_command

    if means.as_json:
        print_line(
            {
                "done": not means.dry_run,
                "plan": plan.title,
                "transactions": [step.text for step in plan.steps],
                "gas": preview.gas,
                "fee_wei": preview.fee_wei,
                "effects": [{"what": what, "before": was, "after": then} for what, was, then in preview.effects],
                "notes": (*plan.notes, *plan.advice),
            }
        )
    else:
        print(f"{'would' if means.dry_run else 'done:'} {plan.title}")
        width = max((len(what) for what, _, _ in preview.effects), default=0)
        for what, was, then in preview.effects:
            print(f"  {what:<{width}}  {was} → {then}" if was != then else f"  {what:<{width}}  {was}")
        for note in (*plan.notes, *(plan.advice if means.dry_run else ())):
            print(f"  {with_shown_command(note)}")
        count = "1 transaction" if len(plan.steps) == 1 else f"{len(plan.steps)} transactions"
        print(f"  gas {preview.gas:,} in {count}, about {_coins(preview.fee_wei)}")
    if preview.leaves_little:
        left = _coins(preview.balance_wei - (0 if means.dry_run else preview.fee_wei))
        print(f"warning: little is left for gas: {left}; send this account some", file=sys.stderr)


def _coins(wei: int) -> str:
    """Write an amount of the chain's own coin."""
    return f"{max(0, wei) / WEI_PER_COIN:.6f} of the chain's coin"
