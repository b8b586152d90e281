"""``cuckoo audit``: what public gossip proves of coordinators, and what it only suggests."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from node.cli.account import JsonOption

if TYPE_CHECKING:
    from protocol.audit.record import Entry, RecordHead
    from protocol.stake.table import EpochView
    from protocol.units import Epoch

CHARTS: Final = (".svg", ".png")
"""Suffixes of charts."""


def audit(
    record: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RECORD…", help="Record of a node that ran with --record; several, if it has rotated."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Listen to the network for a while instead.")] = False,
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="With --live: for how long, a day at most.")] = 120,
    keep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --live: keep what was heard, to look at it again.")
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The network's file: for --live, and to take tables and beacons from the chain, not from the record.",
            envvar="CUCKOO_NETWORK",
        ),
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw share won against share of stake: FILE.svg or FILE.png.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check what coordinators published: were draws, fields and awards as they should be?

    PROVEN is what signatures and arithmetic show: every draw is repeated from
    public inputs; names, numbers, boots, double offers and awards are checked.

    ESTIMATED is what numbers suggest: dear tasks for a friend, miners left out
    of the field, claims ignored. In an honest network chance names somebody
    there in one audit of a hundred; beside a coordinator that cheats, an honest
    one is named more often. What the record could have shown is said too.

    Exit code 0: nothing is proven; 1: something is, or the record was tampered
    with; 2: there is no record, or an option is wrong.

      $ cuckoo node --role bootstrap --network network.toml --keystore key.json --record gossip.jsonl

      $ cuckoo audit gossip.jsonl --chart shares.svg

      $ cuckoo audit gossip.jsonl.1 gossip.jsonl --json

      $ cuckoo audit --live --seconds 600 --network network.toml
    """
    from node.audit_chart import check_can_draw, draw_chart
    from node.cli.audit_live import listen
    from node.record_file import MAX_LINES, RecordFiles
    from protocol.audit.audit import audit as audit_entries
    from protocol.errors import ConfigError

    if live and record:
        raise ConfigError("RECORD: name the record of a node, or listen with --live, not both")
    if not (live or record):
        raise ConfigError("RECORD: name the record of a node, or listen with --live")
    if keep is not None and not live:
        raise ConfigError("--keep: only --live hears what could be kept: leave it out")
    if chart is not None and chart.suffix not in CHARTS:
        raise ConfigError(f"--chart: {chart} ends in none of {', '.join(CHARTS)}, which say what to draw")
    if chart is not None:
        check_can_draw()  # before a day of listening, not after it
    if live:
        with listen(network, seconds, keep) as heard:
            files = RecordFiles([heard])
            # Its tables are those that our own node read just now. A part beats nothing, as it may be gone after this.
            report = audit_entries(files.head, files.entries(only_what_fits=True))
    else:
        files = RecordFiles(record or [])
        entries = list(files.entries())
        chain = _views_of_chain(files.head, entries, network) if network is not None else None
        report = audit_entries(files.head, entries, chain)
    if not report.facts and not report.faults:
        where = "--live" if live else str((record or [Path()])[0])
        more = ": listen for longer, while a coordinator has tasks" if live else ""
        raise ConfigError(f"{where}: no coordinator said anything, so there is nothing to audit{more}")
    if files.left_out:
        print(f"more was heard than fits into an audit: the first {MAX_LINES:,} lines of it count", file=sys.stderr)
    if as_json:
        from node.cli.audit_report import print_json

        print_json(report, files.head)
    else:
        from node.cli.audit_report import print_report

        print_report(report, files.head, is_live=live)
    if chart is not None:
        draw_chart(report, chart)
        if not as_json:
            print(f"chart: {chart}")
    raise typer.Exit(0 if report.is_clean else 1)


def _views_of_chain(head: "RecordHead", entries: "list[Entry]", network: Path) -> "dict[Epoch, EpochView]":
    """Read the tables and beacons of a record's epochs from the chain of the network that was named."""
    import trio

    from node.chain_views import views_of_chain
    from node.config.configuration import load_params
    from node.network_file import read_network
    from protocol.audit.record import ViewSeen
    from protocol.errors import ConfigError

    described = read_network(network)
    params = load_params(described.params, network.absolute().parent)
    if (described.chain.chain_id, described.staking_address, params) != (head.chain_id, head.contract, head.params):
        raise ConfigError(f"--network: the record is not of the network that {network} describes")
    epochs = {entry.view.epoch for entry in entries if isinstance(entry, ViewSeen)}
    return trio.run(views_of_chain, described, params, epochs)
