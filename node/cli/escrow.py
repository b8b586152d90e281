"""``cuckoo escrow``: what a coordinator has deposited for its miners."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.account import DEFAULT_NETWORK, JsonOption, Means, NetworkOption, acting, look, print_line, transact
from node.cli.staking import AmountArgument

if TYPE_CHECKING:
    from node.owner.wallet import Plan, Wallet

escrow_commands = typer.Typer(help="Deposit for a coordinator's miners, and take deposits back.")

CoordinatorArgument = Annotated[
    str, typer.Argument(metavar="COORDINATOR", help="Its staking id, or its key's address.")
]


@escrow_commands.command("show")
def show(
    coordinator: CoordinatorArgument, network: NetworkOption = DEFAULT_NETWORK, as_json: JsonOption = False
) -> None:
    """Show what a coordinator's escrow holds, what was paid from it, and what it owes. No account is needed.

    $ cuckoo escrow show 1 --network network.toml
    """

    async def ask(wallet: "Wallet") -> "tuple[int, list[Any], int]":  # Any: what the ABI returns
        from node.owner.escrow_plans import find_coordinator

        node = await find_coordinator(wallet, coordinator)
        names = ("escrow", "pending_withdrawal", "redeemed_total", "owed", "in_debt_since")
        found = await wallet.read(*(wallet.call("Settlement", name, node.id) for name in names))
        return node.id, found, await wallet.now()

    number, (held, (asked, release_at), redeemed, owed, since), now = look(network, ask)
    if as_json:
        print_line(
            {
                "coordinator": number,
                "escrow_wei": str(held),
                "pending_withdrawal": {"amount_wei": str(asked), "release_at": release_at},
                "redeemed_wei": str(redeemed),
                "owed_wei": str(owed),
                "in_debt_since": since,
            }
        )
        return
    from node.amounts import format_cai
    from node.moments import moment

    print(f"coordinator {number}: {format_cai(held)} in escrow, {format_cai(redeemed)} paid to miners")
    if asked:
        print(f"  withdrawal of {format_cai(asked)} asked for, from {moment(release_at, now)} on")
    if owed:
        print(f"  owes {format_cai(owed)} since {moment(since, now)}: deposit it, or the operator's stake pays")


@escrow_commands.command("deposit")
@acting
def deposit(coordinator: CoordinatorArgument, amount: AmountArgument, means: Means) -> None:
    """Deposit CAI for a coordinator's miners. What they were promised is paid from it.

    $ cuckoo escrow deposit 1 10000 --network network.toml --keystore owner.json
    """
    from node.amounts import parse_cai

    wei = parse_cai(amount, "AMOUNT")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.escrow_plans import deposit as plan_deposit
        from node.owner.escrow_plans import find_coordinator

        return await plan_deposit(wallet, await find_coordinator(wallet, coordinator), wei)

    transact(means, plan)


@escrow_commands.command("request")
@acting
def request(coordinator: CoordinatorArgument, amount: AmountArgument, means: Means) -> None:
    """Ask for a part of your escrow back. It is yours after the notice, in which miners redeem what they hold.

    $ cuckoo escrow request 1 5000 --network network.toml --keystore owner.json
    """
    from node.amounts import parse_cai

    wei = parse_cai(amount, "AMOUNT")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.escrow_plans import find_coordinator, request_withdrawal

        return await request_withdrawal(wallet, await find_coordinator(wallet, coordinator), wei)

    transact(means, plan)


@escrow_commands.command("cancel")
@acting
def cancel(coordinator: CoordinatorArgument, means: Means) -> None:
    """Take the request back: the escrow counts as a whole again.

    $ cuckoo escrow cancel 1 --network network.toml --keystore owner.json
    """

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.escrow_plans import cancel_withdrawal, find_coordinator

        return await cancel_withdrawal(wallet, await find_coordinator(wallet, coordinator))

    transact(means, plan)


@escrow_commands.command("withdraw")
@acting
def withdraw(coordinator: CoordinatorArgument, means: Means) -> None:
    """Take what you asked for, once the notice is over.

    $ cuckoo escrow withdraw 1 --network network.toml --keystore owner.json
    """

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.escrow_plans import find_coordinator
        from node.owner.escrow_plans import withdraw as plan_withdrawal

        return await plan_withdrawal(wallet, await find_coordinator(wallet, coordinator))

    transact(means, plan)
