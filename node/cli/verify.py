"""``cuckoo verify``: check a receipt that was kept."""

from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.account import OptionalNetworkOption

MAX_RECEIPT_BYTES: Final = 256 * 1024
"""Largest receipt as JSON (bytes): its bytes twice, as text, and then some."""


def verify(
    receipt: Annotated[
        Path, typer.Argument(help="A receipt, saved from GET /v1/receipts/TASK.", metavar="RECEIPT.json")
    ],
    artifact: Annotated[Path | None, typer.Option(help="The picture that it should be for.")] = None,
    network: OptionalNetworkOption = None,
    chain_rpc: Annotated[str | None, typer.Option(metavar="URL", help="Or: a chain to check it against.")] = None,
    staking: Annotated[str | None, typer.Option(metavar="0x…", help="Staking contract, with --chain-rpc.")] = None,
) -> None:
    """Check a coordinator's signed receipt: for which picture it is, and who signed it.

    Without --network, or --chain-rpc and --staking, the signature cannot be checked, and the exit code is 1.

    $ curl http://127.0.0.1:8000/v1/receipts/TASK > receipt.json

    $ cuckoo verify receipt.json --artifact heart.png --network network.toml
    """
    import json

    import trio

    from node.cli.submit import print_findings
    from node.given_file import read_given_file
    from node.receipts import ChainToAsk, check_receipt, decode_receipt, look_up_domain
    from protocol.errors import ConfigError
    from protocol.params import MAX_ARTIFACT_BYTES

    chain = ChainToAsk.given(chain_rpc, staking, network)
    try:
        view = json.loads(read_given_file(receipt, MAX_RECEIPT_BYTES, "receipt"))
    except (ValueError, RecursionError):
        raise ConfigError(f"{receipt}: not JSON, which a receipt from GET /v1/receipts/TASK is") from None
    picture = None
    if artifact is not None:
        picture = read_given_file(artifact, MAX_ARTIFACT_BYTES, "picture", named=f"--artifact: {artifact}")
    decoded = decode_receipt(view if isinstance(view, dict) else {})
    domain = key = None
    if chain is not None:
        domain, key = trio.run(look_up_domain, chain, decoded.statement.coordinator)
    findings = check_receipt(decoded, picture=picture, domain=domain, registered_key=key)
    print_findings(findings)
    if findings.signed_by is None:
        raise typer.Exit(1)
