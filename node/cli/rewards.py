"""``cuckoo rewards`` and ``cuckoo claim``: what stake has earned, and taking it."""

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.account import (
    DEFAULT_KEYSTORE,
    DEFAULT_NETWORK,
    AccountOption,
    JsonOption,
    KeystoreOption,
    Means,
    NetworkOption,
    acting,
    address_in,
    look,
    print_line,
    transact,
)

if TYPE_CHECKING:
    from node.owner.slashes import Slash
    from node.owner.stakes import Position, Unbonding
    from node.owner.wallet import Plan, Wallet


def rewards(
    account: AccountOption = None,
    network: NetworkOption = DEFAULT_NETWORK,
    keystore: KeystoreOption = DEFAULT_KEYSTORE,
    as_json: JsonOption = False,
) -> None:
    """Show an account's stake, what it has earned, what is unbonding, and slashes of its nodes. No password is needed.

    $ cuckoo rewards --network network.toml --keystore voter.json

    $ cuckoo rewards --network network.toml --account 0x…
    """
    who = address_in(keystore, account)

    async def ask(wallet: "Wallet") -> "tuple[list[Position], list[Unbonding], list[Slash], int, int]":
        from node.owner.slashes import slashes_of
        from node.owner.stakes import positions, unbondings

        (balance,) = await wallet.read(wallet.call("CAI", "balanceOf", wallet.address))
        held, waiting = await positions(wallet), await unbondings(wallet)
        nodes = [*(item.node.id for item in held), *(item.id for item in waiting)]
        return held, waiting, await slashes_of(wallet, nodes), balance, await wallet.now()

    held, waiting, slashes, balance, now = look(network, ask, who)
    if as_json:
        print_line(
            {
                "account": who,
                "balance_wei": str(balance),
                "positions": [
                    {"node": item.node.id, "stake_wei": str(item.stake_wei), "earned_wei": str(item.earned_wei)}
                    for item in held
                ],
                "unbonding": [
                    {
                        "index": item.index,
                        "node": item.id,
                        "value_wei": str(item.value_wei),
                        "release_at": item.release_at,
                    }
                    for item in waiting
                ],
                "slashes": [
                    {
                        "node": slash.node,
                        "reason": slash.reason,
                        "slashed_wei": str(slash.slashed_wei),
                        "at": slash.at,
                        "transaction": slash.transaction,
                    }
                    for slash in slashes
                ],
            }
        )
        return
    _print(who, held, waiting, balance, now)
    for slash in slashes:
        _print_slash(slash, now)


@acting
def claim(
    means: Means,
    nodes: Annotated[list[str] | None, typer.Argument(metavar="[NODE]…", help="Only on these nodes.")] = None,
) -> None:
    """Take what your stake has earned, on all nodes or on some.

    $ cuckoo claim --network network.toml --keystore voter.json

    $ cuckoo claim 4 7 --dry-run
    """

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import claim as plan_claim
        from node.owner.stakes import find_node

        return await plan_claim(wallet, [await find_node(wallet, node) for node in nodes or []])

    transact(means, plan)


def _print_slash(slash: "Slash", now: int) -> None:
    """Say what happened to a node, and where that can be looked up."""
    from node.amounts import format_cai
    from node.moments import moment

    lost = f"lost {format_cai(slash.slashed_wei)} of all stake on it" if slash.slashed_wei else "was jailed"
    why = slash.why if slash.kind is None else f"its key signed {slash.why}"
    print(f"node {slash.node} {lost}, {moment(slash.at, now)}: {why}")
    print(f"  {'by' if slash.kind is None else 'proven by'} transaction {slash.transaction}")


def _print(who: str, held: "list[Position]", waiting: "list[Unbonding]", balance: int, now: int) -> None:
    """Show it to a person."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from node.amounts import format_cai, format_number
    from node.moments import moment
    from node.own_command import shown_command

    console = Console(highlight=False, markup=False, emoji=False)  # a node names itself as it likes
    console.print(f"{who}: {format_cai(balance)}")
    if held:
        table = Table(box=box.SIMPLE)
        for heading in ("node", "name", "state"):
            table.add_column(heading, no_wrap=heading != "name")
        table.add_column("stake CAI", justify="right", no_wrap=True)
        table.add_column("earned CAI", justify="right", no_wrap=True)
        for item in held:
            node = item.node
            table.add_row(
                str(node.id),
                node.profile.get("name", ""),
                node.state(),
                format_number(item.stake_wei),
                format_number(item.earned_wei),
            )
        console.print(table)
        for node in (item.node for item in held if item.node.jailed_until):
            since = f" from {moment(node.jailed_until, now)} on" if node.jailed_until > now else ""
            console.print(
                f"node {node.id} earns nothing while it is jailed; its owner may end that{since}: "
                f"{shown_command()} unjail {node.id}"
            )
    else:
        console.print(f"no stake and no rewards: {shown_command()} status --stakes lists the nodes to vote for")
    for entry in waiting:
        release = moment(entry.release_at, now)
        word = "until" if entry.release_at > now else "can be withdrawn since"
        console.print(f"unbonding {format_cai(entry.value_wei)} of node {entry.id}: {word} {release}")
