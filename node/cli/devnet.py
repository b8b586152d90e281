"""``cuckoo devnet``: a whole network on this machine until Ctrl-C."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from node.devnet import Devnet

STOP_SECONDS = 4.7
"""How long (s) everything may take to stop: children have 3.5 of it, then the chain goes."""


def devnet(
    coordinators: Annotated[int, typer.Option(help="Coordinators, each with an API.")] = 1,
    miners: Annotated[int, typer.Option(help="Miners, with different stakes.")] = 3,
    model: Annotated[list[str] | None, typer.Option(help="Model that all miners serve. Repeatable.")] = None,
    engine: Annotated[str, typer.Option(help="diffusion, or instant: tiny pictures without work.")] = "diffusion",
    delay_ms: Annotated[int, typer.Option(help="Time of a picture with --engine instant.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of each miner's engine, 0 for automatic.")] = 0,
    places: Annotated[int, typer.Option(help="Pictures at once of each miner with --engine instant.")] = 1,
    escrow: Annotated[float, typer.Option(help="CAI that each coordinator has in escrow for its miners.")] = 100_000.0,
    port: Annotated[int, typer.Option(help="Port of the first coordinator's API; 0 for free ones.")] = 8000,
    require_key: Annotated[bool, typer.Option("--require-key", help="Ask for an API key, which is printed.")] = False,
    trace: Annotated[
        str | None, typer.Option(metavar="URL", help="Collector of OpenTelemetry spans: each task as one trace.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="New folder for keys, settings and logs; it is kept.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="Only the chain and the registrations: print how to start each node.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Once ready, print one JSON line with every address.")
    ] = False,
) -> None:
    """Run a whole network here until Ctrl-C: a chain, a bootstrap, coordinators and miners.

    Each node is a `cuckoo node` process of its own that is told nothing but the bootstrap's address.

      $ cuckoo devnet

      $ cuckoo devnet --miners 8 --engine instant --port 9000

      $ cuckoo submit "a red heart" --out heart.png          (in another terminal)
    """
    from node.cli.progress import Reporter
    from node.cli.running import run_until_stopped
    from node.devnet import devnet as run_devnet
    from node.devnet_plan import DevnetOptions
    from node.settings import DEFAULT_MODEL

    options = DevnetOptions(
        coordinators=coordinators,
        miners=miners,
        models=tuple(model or (DEFAULT_MODEL,)),
        engine=engine,
        delay_ms=delay_ms,
        threads=threads,
        places=places,
        escrow_cai=escrow,
        port=port,
        require_key=require_key,
        trace=trace,
        data=data,
        keep=keep,
    )

    async def run_chain_only() -> None:
        import trio

        from node.devnet import by_hand as run_by_hand

        with Reporter().shown() as reporter:
            async with run_by_hand(options, reporter.say) as (network, configs):
                reporter.stop()
                print(steps_by_hand(network, configs), flush=True)
                await trio.sleep_forever()

    async def run() -> None:
        import trio

        with Reporter().shown() as reporter:
            async with run_devnet(options, reporter.say) as running:
                reporter.stop()
                print(json.dumps(running.describe()) if as_json else welcome(running), flush=True)
                await trio.sleep_forever()

    raise typer.Exit(run_until_stopped(run_chain_only if by_hand else run, stop_seconds=STOP_SECONDS))


def steps_by_hand(network: "Devnet", configs: tuple[Path, ...]) -> str:
    """Say which command starts each node of a network whose chain runs."""
    from node.own_command import shown_command

    cuckoo = shown_command()
    commands = "\n".join(f"  {cuckoo} node --config {shlex.quote(str(config))}" for config in configs)
    return f"""The chain runs at {network.chain_url}, and every node is registered.
Start each node in a terminal of its own, the bootstrap first:

{commands}

To stake and vote: export CUCKOO_NETWORK={shlex.quote(str(network.network_path))}, then {cuckoo} status --stakes

The coordinator prints the address of its API. Ctrl-C here stops the chain."""


def welcome(network: "Devnet") -> str:
    """Say how to use a network that serves."""
    from node.own_command import shown_command

    url = network.api_urls[0]
    file = shlex.quote(str(network.network_path))
    folder = shlex.quote(str(network.folder))
    submit = f'{shown_command()} submit "a red heart" --out heart.png --api {url} --network {file}'
    if network.api_key:
        submit += f" --api-key {network.api_key}"
    key = f"\n    -H 'Authorization: Bearer {network.api_key}' \\" if network.api_key else ""
    nodes = "\n".join(
        f"  {member.name:<14} pid {member.child.pid if member.child else 0:<8}"
        + (f" stake {member.stake_cai:>9,} CAI" if member.stake_cai else "")
        for member in network.members
    )
    return f"""The network serves:
{nodes}

Page:  {url}/   (the network live, a picture to try, staking with a browser's wallet)
API:   {"  ".join(network.api_urls)}   (documentation at {url}/docs)
Logs:  {network.folder}/*/log
Chain: {network.chain_url}, staking contract {network.contracts.deployed.staking}
Stake: export CUCKOO_NETWORK={file}, then {shown_command()} status --stakes
Pay:   {shown_command()} earnings --data {folder}/miner-1, {shown_command()} spend --data {folder}/coordinator-1

Try it:
  curl {url}/v1/images/generations \\{key}
    -H 'Content-Type: application/json' -d '{{"prompt": "a red heart", "response_format": "url"}}'
  {submit}

Ctrl-C stops everything."""
