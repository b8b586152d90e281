"""``cuckoo status``: the network as its contracts show it, or a node that runs on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from node.cli.account import DEFAULT_NETWORK, JsonOption, NetworkOption, look, print_line

if TYPE_CHECKING:
    from node.owner.stakes import NodeStake
    from node.owner.wallet import Wallet


def status(
    stakes: Annotated[bool, typer.Option("--stakes", help="List every node with its stake.")] = False,
    node: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Show the node that runs here with this data folder instead."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, in place; with --json a line each time.  Ctrl-C ends it.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="With --watch: how often (s).")] = 2.0,
    network: NetworkOption = DEFAULT_NETWORK,
    as_json: JsonOption = False,
) -> None:
    """Show what is staked on the network, what it earns, and with --stakes on which nodes.

    With --node, show a node that runs on this machine: who it is, whether it works, of a miner how many
    pixel-steps a second each model was measured to draw, by pictures together, and how well each coordinator
    stands with it, 0 to 100, and why; of a coordinator the same of each miner.

      $ cuckoo status --stakes --network network.toml

      $ cuckoo status --node ~/.cuckoo/miner

      $ cuckoo status --node ~/.cuckoo/miner --watch

      $ cuckoo status --node ~/.cuckoo/coordinator --watch --every 60 --json >> status.jsonl
    """
    if watch:
        from node.cli.status_watch import watch_node

        watch_node(node, every, as_json=as_json)
        return
    if node is not None:
        _show_node(node, as_json=as_json)
        return
    if network == DEFAULT_NETWORK and not network.exists():
        from protocol.errors import ConfigError

        raise ConfigError(
            "--network or --node is missing: name the network's file, as a devnet prints it, or the data folder of a "
            "node that runs here, as --node ~/.cuckoo/miner"
        )

    async def ask(wallet: "Wallet") -> "tuple[list[NodeStake], list[Any], int]":  # Any: what the ABI returns
        from node.owner.stakes import all_nodes

        names = ("node_count", "total_staked", "total_unbonding", "emission_status")
        totals = await wallet.read(*(wallet.call("Staking", name) for name in names))
        return await all_nodes(wallet) if stakes or as_json else [], totals, await wallet.now()

    nodes, (count, staked, unbonding, (pool, rate, _)), now = look(network, ask)
    if as_json:
        print_line(
            {
                "total_staked_wei": str(staked),
                "total_unbonding_wei": str(unbonding),
                "emission": {"pool_wei": str(pool), "wei_per_second": str(rate)},
                "nodes": [_described(node) for node in nodes],
            }
        )
        return
    _print(nodes, count, staked, unbonding, pool, rate, now)


_DIALLED: Final = {
    "public": "others can dial it where it listens",
    "private": "nobody could dial it where it listens: open its port, or name relays in overlay.relays",
}


def _show_node(folder: Path, *, as_json: bool) -> None:
    """Show a node that runs on this machine."""
    from node.adapters.control import ask
    from node.cli.miner import show_service

    said = ask(folder.expanduser().absolute(), {"command": "status"})
    if as_json:
        print_line(said)
        return
    number = said["staking_id"]
    print(f"{said['role']} {said['peer_id']}")
    print(f"  key       {said['address']}{_standing(said['role'], number)}")
    for address in said["addresses"]:
        print(f"  reached   {address}")
    if said["reach"] != "unknown":
        print(f"  dialled   {_DIALLED[said['reach']]}")
    if said["http_url"]:
        print(f"  API       {said['http_url']}")
    if "service" in said:
        show_service(said)
    for coordinator, why in said.get("refused", {}).items():
        print(f"  refused   coordinator {coordinator} gets no work: {why}")
    for dispute in said.get("disputes", ()):
        from node.disputes.own_disputes import in_words as dispute_in_words
        from node.own_command import with_shown_command

        print(f"  {with_shown_command(dispute_in_words(dispute))}")
    if any(said.get(kind) for kind in ("miners", "coordinators", "few_witnesses")):
        from node.standings import in_words, payer_in_words, witnesses_in_words

        for model in said.get("few_witnesses", ()):
            print(f"  rechecks  {witnesses_in_words(model)}")
        for miner in said.get("miners", ()):
            print(f"  {in_words(miner)}")
        for coordinator in said.get("coordinators", ()):
            print(f"  {payer_in_words(coordinator)}")


def _standing(role: str, number: int | None) -> str:
    """Say as what a key is registered; entry points need not be."""
    if number is not None:
        return f", node {number}"
    return "" if role == "bootstrap" else ", not active in the present stake table"


def _described(node: "NodeStake") -> dict[str, Any]:  # Any: what JSON holds
    """Say what a program wants to know of a node."""
    return {
        "id": node.id,
        "role": node.role.name.lower(),
        "state": node.state(),
        "owner": node.owner,
        "key": node.key,
        "own_wei": str(node.own_wei),
        "effective_wei": str(node.effective_wei),
        "commission_bps": node.commission_bps,
        "next_commission_bps": node.next_commission_bps,
        "next_commission_at": node.next_commission_at,
        "jailed_until": node.jailed_until,
        "frozen_until": node.frozen_until,
        "profile": node.profile,
    }


def _print(listed: "list[NodeStake]", count: int, staked: int, unbonding: int, pool: int, rate: int, now: int) -> None:
    """Show it to a person."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from node.amounts import format_cai, format_number
    from node.moments import duration, span

    console = Console(highlight=False, markup=False, emoji=False)  # a node names itself as it likes
    console.print(f"{count} nodes, {format_cai(staked)} staked, {format_cai(unbonding)} unbonding")
    if pool and rate:
        console.print(f"emission: {format_cai(rate * 86_400)} a day, for at most {duration(pool // rate)} more")
    else:
        console.print("emission: none")
    if not listed:
        return
    table = Table(box=box.SIMPLE)
    for heading in ("id", "role", "name", "state"):
        table.add_column(heading, no_wrap=heading not in {"name", "state"}, overflow="fold")
    for heading in ("own CAI", "weight CAI", "keeps"):
        table.add_column(heading, justify="right", no_wrap=True)
    for node in sorted(listed, key=lambda node: (-node.role, -node.effective_wei)):
        commission = f"{node.commission_bps / 100:g} %"
        if node.next_commission_at:
            commission += f" ({node.next_commission_bps / 100:g} % {span(node.next_commission_at - now)})"
        state = node.state()
        if node.jailed_until > now:
            state += f", free {span(node.jailed_until - now)}"
        table.add_row(
            str(node.id),
            node.role.name.lower(),
            node.profile.get("name", ""),
            state,
            format_number(node.own_wei),
            format_number(node.effective_wei),
            commission,
        )
    console.print(table)
