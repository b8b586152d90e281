"""``cuckoo verify``: check a receipt that was kept."""

from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.account import JsonOption, OptionalNetworkOption, print_line

MAX_RECEIPT_BYTES: Final = 256 * 1024
"""Largest receipt as JSON (bytes): its bytes twice, as text, and then some."""


def verify(
    receipt: Annotated[
        Path, typer.Argument(help="A receipt, saved from GET /v1/receipts/TASK.", metavar="RECEIPT.json")
    ],
    artifact: Annotated[Path | None, typer.Option(help="The picture that it should be for.")] = None,
    network: OptionalNetworkOption = None,
    record: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Offline: a record of gossip (cuckoo node --record), for tables and draw. Repeatable."
        ),
    ] = None,
    chain_rpc: Annotated[str | None, typer.Option(metavar="URL", help="Or: a chain to check it against.")] = None,
    staking: Annotated[str | None, typer.Option(metavar="0x…", help="Staking contract, with --chain-rpc.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a coordinator's signed receipt: for which picture it is, who signed it, and who was drawn.

    With --network both must have been registered in the epoch of the receipt, by
    the chain's own tables; with --record by those of the record, without any
    chain, and where it holds the offer the draw is repeated. --chain-rpc and
    --staking compare with the present key only. Without any of these the
    signature cannot be checked, and the exit code is 1.

    $ curl http://127.0.0.1:8000/v1/receipts/TASK > receipt.json

    $ cuckoo verify receipt.json --artifact heart.png --network network.toml

    $ cuckoo verify receipt.json --record gossip.jsonl
    """
    import json

    import trio

    from node.cli.drawn_picture import findings_view, print_findings
    from node.given_file import read_given_file
    from node.receipts import ChainToAsk, check_receipt, decode_receipt, look_up_domain
    from protocol.errors import ConfigError
    from protocol.params import MAX_ARTIFACT_BYTES

    asks_now = chain_rpc is not None or staking is not None
    if asks_now and record:
        raise ConfigError("--record: it tells more than --chain-rpc and --staking do: leave those out")
    chain = ChainToAsk.given(chain_rpc, staking) if asks_now else None
    try:
        view = json.loads(read_given_file(receipt, MAX_RECEIPT_BYTES, "receipt"))
    except (ValueError, RecursionError):
        raise ConfigError(f"{receipt}: not JSON, which a receipt from GET /v1/receipts/TASK is") from None
    picture = None
    if artifact is not None:
        picture = read_given_file(artifact, MAX_ARTIFACT_BYTES, "picture", named=f"--artifact: {artifact}")
    decoded = decode_receipt(view if isinstance(view, dict) else {})
    standing = None
    if not asks_now and (network is not None or record):
        from node.receipt_standing import standing_of

        standing = standing_of(decoded.statement, network, record or [])
        if standing.registered is None and standing.problem is None:
            # The chain has not come to that epoch's beacon yet: its present key is all that it can tell.
            chain = ChainToAsk.given(None, None, network)
    domain = key = None
    if chain is not None:
        domain, key = trio.run(look_up_domain, chain, decoded.statement.coordinator)
    findings = check_receipt(decoded, picture=picture, domain=domain, registered_key=key, standing=standing)
    if as_json:
        print_line(findings_view(findings))
    if findings.problems or not as_json:
        print_findings(findings)
    if findings.signed_by is None:
        raise typer.Exit(1)
