"""``cuckoo node``: one node of any role, until it is told to stop."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from node.compose import NodeInfo
    from node.settings import Settings


def node(
    config: Annotated[Path | None, typer.Option(help="TOML file with this node's settings; flags win.")] = None,
    role: Annotated[str | None, typer.Option(help="bootstrap, coordinator or miner.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the node's own state.  [~/.cuckoo/ROLE]")] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The network's file: chain, contracts, entry points.  [CUCKOO_NETWORK without --config]",
        ),
    ] = None,
    params: Annotated[str | None, typer.Option(help="Network: mainnet, testnet, minimal or FILE.toml.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="Model catalog to add to the packaged one.")] = None,
    bootstrap: Annotated[
        list[str] | None, typer.Option(metavar="MULTIADDR", help="Entry point: /ip4/…/tcp/…/p2p/PEER_ID. Repeatable.")
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="MULTIADDR", help="Where to listen, as /ip4/0.0.0.0/tcp/4001. Repeatable."),
    ] = None,
    announce: Annotated[
        list[str] | None, typer.Option(metavar="MULTIADDR", help="What to tell others instead. Repeatable.")
    ] = None,
    chain_rpc: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="JSON-RPC address of the chain. Repeatable: fail-over.")
    ] = None,
    chain_id: Annotated[int | None, typer.Option(help="Id of the chain; another one is refused.")] = None,
    staking: Annotated[str | None, typer.Option(metavar="0x…", help="Address of the staking contract.")] = None,
    start_block: Annotated[int | None, typer.Option(help="Block of the contract's deployment.")] = None,
    keystore: Annotated[Path | None, typer.Option(help="The node's encrypted key.  [DATA/key.json]")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with its password; else you are asked.")] = None,
    http_host: Annotated[str | None, typer.Option(help="Coordinator: address of the API.  [127.0.0.1]")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Coordinator: port of the API, 0 for a free one.  [8000]")
    ] = None,
    require_key: Annotated[
        bool, typer.Option("--require-key", help="Coordinator: serve known API keys only, also here.")
    ] = False,
    keys_file: Annotated[Path | None, typer.Option(help="Coordinator: what cuckoo apikey writes.")] = None,
    engine: Annotated[str | None, typer.Option(help="Miner: diffusion, or instant for tests.  \\[diffusion]")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Miner: model to serve. Repeatable.  \\[pocket-emoji]")
    ] = None,
    model_folder: Annotated[
        list[str] | None, typer.Option(metavar="MODEL=FOLDER", help="Miner: where a model lies. Repeatable.")
    ] = None,
    models_folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Miner: where pulled models lie.  [~/.cuckoo/models]")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Miner: CPU threads of the engine, 0 for automatic.")] = None,
    device: Annotated[str | None, typer.Option(help="Miner: auto, cpu, cuda, cuda:1.  \\[auto]")] = None,
    delay_ms: Annotated[int | None, typer.Option(help="Miner: time of a picture with --engine instant.")] = None,
    places: Annotated[int | None, typer.Option(help="Miner: pictures at once with --engine instant.  [1]")] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write public gossip down, for cuckoo audit: 4 files of 256 MB.")
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Logs as JSON lines, also on a terminal.")] = False,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.  \\[info]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="When ready, print one JSON line about the node.")] = False,
    exit_with_stdin: Annotated[
        bool, typer.Option("--exit-with-stdin", help="Stop when standard input closes: for supervised children.")
    ] = False,
) -> None:
    """Run one node until Ctrl-C.

    What is not given comes from the --config file, which cuckoo config example begins, or the --network file.

      $ cuckoo node --config miner.toml

      $ cuckoo node --role miner --network network.toml --keystore key.json

      $ cuckoo node --role bootstrap --listen /ip4/0.0.0.0/tcp/4001 --chain-rpc http://127.0.0.1:8545
        --chain-id 31337 --staking 0x… --params minimal

      $ cuckoo node --role miner --config miner.toml --bootstrap /ip4/203.0.113.7/tcp/4001/p2p/16Uiu2HA…
    """
    from node import garbage

    garbage.let_pile_up()

    from node.config.configuration import load_settings, model_folders_from

    settings = load_settings(
        config,
        {
            "role": role,
            "data": data,
            "network": network,
            "params": params,
            "catalog": catalog,
            "exit_with_stdin": exit_with_stdin or None,
            "chain.rpc_urls": chain_rpc,
            "chain.chain_id": chain_id,
            "chain.staking": staking,
            "chain.start_block": start_block,
            "overlay.listen": listen,
            "overlay.announce": announce,
            "overlay.bootstrap": bootstrap,
            "key.keystore": keystore,
            "key.password_file": password_file,
            "http.host": http_host,
            "http.port": http_port,
            "http.require_key": require_key or None,
            "http.keys_file": keys_file,
            "engine.kind": engine,
            "engine.models": model,
            "engine.model_folders": model_folders_from(model_folder),
            "engine.pulled_models": models_folder,
            "engine.threads": threads,
            "engine.device": device,
            "engine.delay_ms": delay_ms,
            "engine.places": places,
            "record.file": record,
            "logs.format": "json" if json_logs else None,
            "logs.level": log_level,
        },
    )
    raise typer.Exit(run_settings(settings, as_json=as_json))


GAS_KEY_FLAG: Final = "chain.gas_password_file"
"""What sets the file with the password of the gas key."""


def run_settings(settings: "Settings", *, as_json: bool) -> int:
    """Run the node that the settings describe; give the exit code."""
    from node import garbage, keystore
    from node.cli.running import run_until_stopped
    from node.descriptors import make_room
    from node.journal import configure_logging

    configure_logging(settings.logs.format, settings.logs.level)
    missing = make_room(settings.overlay.max_connections)
    if missing:
        less = "raise the limit of open files (ulimit -Hn, LimitNOFILE), or set overlay.max_connections lower"
        print(f"warning: {missing:,} descriptors are missing for overlay.max_connections: {less}", file=sys.stderr)
    secret = keystore.unlock(settings.keystore, settings.key.password_file)
    chain, gas_key = settings.chain, None
    if chain.gas_keystore is not None:
        gas_key = keystore.unlock(chain.gas_keystore, chain.gas_password_file, flag=GAS_KEY_FLAG)

    info: NodeInfo | None = None

    async def drain() -> None:
        if info is not None:
            await info.drain()

    async def run() -> None:
        import trio

        from node.compose import run_node

        nonlocal info
        async with trio.open_nursery() as nursery:
            info = ready = await nursery.start(run_node, settings, secret, gas_key)
            garbage.collect_from_here_on()  # again: what it restored and loaded since is there for long, too
            print(ready_line(ready) if as_json else ready_text(ready, has_gas_key=gas_key is not None), flush=True)

    return run_until_stopped(
        run, exit_with_stdin=settings.exit_with_stdin, drain=drain, drain_seconds=settings.http.drain_s
    )


def ready_line(info: "NodeInfo") -> str:
    """Say on one JSON line what a program needs to know of a node that is ready."""
    return json.dumps(
        {
            "event": "ready",
            "role": info.role.value,
            "peer_id": info.peer_id,
            "address": info.address,
            "addresses": info.addresses,
            "staking_id": info.staking_id,
            "http_url": info.http_url,
            "access": info.access,
            "metrics_url": info.metrics_url,
        }
    )


def ready_text(info: "NodeInfo", *, has_gas_key: bool = True) -> str:
    """Say to a person that a node is ready, what to give to others, and what it cannot do."""
    lines = [f"{info.role} {info.peer_id} is ready; its key is {info.address}"]
    lines += [f"  reached at  {address}" for address in info.addresses]
    if info.http_url:
        lines.append(f"  API at      {info.http_url}")
        lines.append(f"  it serves   {info.access}")
    if info.metrics_url:
        lines.append(f"  metrics at  {info.metrics_url}")
    if info.staking_id is None and info.role != "bootstrap":
        lines.append("  not (yet) active in the stake table: be registered with a stake above the minimum;")
        lines.append("  what is new there takes part in the next epoch but one, which is told here (node.active)")
    if info.role == "miner" and not has_gas_key:
        lines.append("  no gas key: it keeps its vouchers and does not redeem them; set chain.gas_keystore to be paid")
    return "\n".join(lines)
