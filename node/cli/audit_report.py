"""An audit's report for a person, proofs and estimates apart, and for a program as one JSON line."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.cli.account import print_line
from node.moments import duration
from protocol.audit.audit import ERROR
from protocol.audit.record import RecordHead
from protocol.audit.report import Estimate, Power, Report

SHOWN_PROOFS: Final = 8
"""Proofs of one rule and coordinator that are written out; the others are counted, and stand in ``--json``."""
SHOWN_MINERS: Final = 6
"""Miners of one coordinator in the table of shares: those that are furthest from their share."""
NAMED: Final = 8
"""Coordinators that are named in a list."""
FAULTS: Final = {
    "record.signature": "messages that nobody signed as they stand",
    "record.message": "messages that no coordinator or miner can have sent",
    "record.root": "tables that do not have the root beside them",
    "record.view": "tables or beacons that contradict each other",
    "record.other_root": "messages made under another table than the record's",
    "record.no_table": "messages of epochs of which the record has no table",
    "record.network": "records whose messages are of another network",
    "record.stranger": "messages, or declines in them, by a key that is not that node's",
}
"""What cannot be believed, in words."""
TESTS: Final = {
    "draw.count": "being drawn first",
    "draw.price": "price of what one is drawn first for",
    "draw.cost": "work of what one is drawn first for",
    "draw.cancelled": "tasks cancelled before their award",
    "field.omitted": "left out of the field",
    "claims.passed_over": "drawn first and passed over",
    "claims.objected": "awards objected to",
    "leases.lost": "leases lost",
    "tasks.never_awarded": "tasks never awarded",
}
"""What each test looks at, in words."""


def print_json(report: Report, head: RecordHead) -> None:
    """Print everything on one line."""
    findings = [one for one in report.estimates if one.is_finding]
    others = [one for one in report.estimates if not one.is_finding]
    print_line(
        {
            "record": {
                "network": head.params.name,
                "network_id": head.network_id.hex(),
                "span_ms": report.span_ms,
                "views": report.views,
                "views_of_chain": report.views_of_chain,
                "faults": _plain(report.faults),
            },
            "is_clean": report.is_clean,
            "proven": {"facts": _plain(report.facts), "findings": _plain(report.proofs)},
            "estimated": {
                "error": ERROR,
                "tests": report.tests,
                "findings": _plain(findings),
                "others": _plain(others),
                "power": _plain(report.powers),
                "shares": _plain(report.shares),
            },
        }
    )


def _plain(items: Sequence[Any]) -> list[dict[str, Any]]:  # Any: fields of dataclasses
    return [asdict(item) for item in items]


def print_report(report: Report, head: RecordHead, *, is_live: bool = False) -> None:
    """Show it to a person; of an ``is_live`` one we were the recorder, and read the chain ourselves."""
    console = Console(highlight=False, markup=False, emoji=False)
    messages = sum(fact.messages for fact in report.facts)
    console.print(
        f"network {head.params.name} ({head.network_id.hex()[:16]}): {_counted(messages, 'message')} of "
        f"{_counted(len(report.facts), 'coordinator')} in {duration(report.span_ms // 1000)}"
    )
    if report.views_of_chain:
        console.print(f"tables and beacons of {report.views_of_chain} of {report.views} epochs are the chain's own")
    elif is_live:
        console.print("tables and beacons were read from the chain while we listened")
    else:
        console.print("tables and beacons are as the recorder had them: --network compares a record with the chain")
    for fault in report.faults:
        what = FAULTS[fault.rule]
        console.print(f"  {fault.count:,} {what} ({fault.rule}), left out; the first: {fault.first}", style="red")
    _heading(console, "PROVEN", "by signatures and arithmetic, whoever looks")
    _print_facts(console, report)
    _print_proofs(console, report)
    error = (
        f"in an honest network chance names somebody here in {ERROR:.0%} of audits, beside one that cheats more often; "
        f"{report.tests} comparisons"
    )
    _heading(console, "ESTIMATED", error)
    for one in report.findings:
        _print_estimate(console, one)
    if not report.findings:
        console.print("  nothing that chance does not explain")
    _print_powers(console, report.powers)
    _print_shares(console, report)
    console.print(
        "Stake decides who is asked first when GPUs are idle; when all are busy, speed decides. A coordinator can "
        "still order its own queue before it gives out numbers: only estimates show that. Who was paid is not public "
        "here."
    )


def _heading(console: Console, title: str, explained: str) -> None:
    console.print()
    console.print(Text.assemble((title, "bold"), f"  {explained}"))


def _print_facts(console: Console, report: Report) -> None:
    for fact in report.facts:
        missed = f"{fact.missed:,} more were not heard" if fact.missed else "none missed"
        numbers = f"all {fact.numbers_complete:,} numbers that can be judged are accounted for"
        if fact.numbers_unknown:
            numbers = f"{fact.numbers_unknown:,} numbers perhaps not heard, {fact.numbers_complete:,} accounted for"
        checked = max(fact.awards_checked, 1)
        said = f"{fact.messages:,} messages, {missed}"
        began = f"{_counted(fact.boots, 'boot')}, {_counted(fact.runs, 'run')}"
        when = f"{began} in {_counted(fact.epochs, 'epoch')}"
        console.print(
            f"  coordinator {fact.coordinator}: {said}; {when}; {_counted(fact.tasks, 'task')}, "
            f"{_counted(fact.offers, 'draw')} repeated; "
            f"{numbers}; {fact.awards_checked:,} awards, {fact.awards_in_field / checked:.0%} to miners in the field, "
            f"{fact.awards_first / checked:.0%} to the drawn first"
        )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _print_proofs(console: Console, report: Report) -> None:
    proofs = report.proofs
    if not any(fact.offers for fact in report.facts):
        console.print("  no draw could be repeated: this record proves nothing, neither for nor against anybody")
    elif not proofs:
        console.print("  every draw is the right function of public inputs; nothing is proven against anybody")
    shown: dict[tuple[str, int], int] = {}
    for proof in proofs:
        key = (proof.rule, proof.coordinator)
        shown[key] = shown.get(key, 0) + 1
        if shown[key] > SHOWN_PROOFS:
            continue
        console.print(Text.assemble(("  ✗ ", "red"), f"coordinator {proof.coordinator}, {proof.rule}: {proof.what}"))
        console.print(f"      expected  {proof.expected}")
        console.print(f"      seen      {proof.seen}")
        console.print(f"      evidence  {', '.join(proof.evidence)}")
    for (rule, coordinator), count in shown.items():
        if count > SHOWN_PROOFS:
            console.print(f"    {count - SHOWN_PROOFS:,} more of {rule} by coordinator {coordinator}: see --json")


def _print_estimate(console: Console, one: Estimate) -> None:
    who = f"coordinator {one.coordinator}" + (f", miner {one.miner}" if one.miner is not None else "")
    console.print(Text.assemble(("  ✗ ", "yellow"), f"{who}, {one.rule}: {one.what}"))
    is_drawn = one.rule.startswith("draw.")
    seen = f"{one.seen:+.1%}" if is_drawn else f"{one.seen:.1%}, elsewhere at most {one.expected:.1%}"
    console.print(f"      seen      {seen}, of {one.sample:,}")
    console.print(f"      chance    at most {one.chance:.1e}; counted below {one.threshold:.1e}")


def _print_powers(console: Console, powers: Sequence[Power]) -> None:
    """Say which effects nine of ten such records would have shown."""
    table = Table(box=box.SIMPLE, title="Smallest effect that nine of ten such records show", title_justify="left")
    for heading in ("test", "effect", "could not show any of"):
        table.add_column(heading)
    by_rule: dict[str, list[Power]] = {}
    for power in powers:
        by_rule.setdefault(power.rule, []).append(power)
    for rule, tested in by_rule.items():
        effects = sorted(power.detectable for power in tested if power.detectable is not None)
        blind = [str(power.coordinator) for power in tested if power.detectable is None]
        most = f" to {effects[-1]:.0%}" if effects and f"{effects[-1]:.0%}" != f"{effects[0]:.0%}" else ""
        names = ", ".join(blind[:NAMED]) + (f" and {len(blind) - NAMED} more" if len(blind) > NAMED else "")
        which = f"coordinator{'s' * (len(blind) > 1)} {names}" if blind else ""
        table.add_row(TESTS[rule], f"{effects[0]:.0%}{most}" if effects else "-", which)
    console.print(table)
    for why in sorted({power.why_not for power in powers if power.why_not}):
        console.print(f"  not tested: {why}")


def _print_shares(console: Console, report: Report) -> None:
    """Show what miners got, those first that are furthest from their share."""
    table = Table(box=box.SIMPLE, title="Shares of each miner", title_justify="left")
    for heading in ("coordinator", "miner", "stake", "by fields", "drawn first", "won", "won by price"):
        table.add_column(heading, justify="left" if heading == "coordinator" else "right", no_wrap=True)
    hidden = 0
    for fact in report.facts:
        own = [share for share in report.shares if share.coordinator == fact.coordinator]
        furthest = sorted(own, key=lambda share: -abs(share.won - share.drawn_expected))[:SHOWN_MINERS]
        hidden += len(own) - len(furthest)
        for share in sorted(furthest, key=lambda share: share.miner):
            parts = (share.stake, share.drawn_expected, share.drawn, share.won, share.won_value)
            table.add_row(str(share.coordinator), str(share.miner), *(f"{part:.1%}" for part in parts))
    if report.shares:
        console.print(table)
    if hidden:
        console.print(f"  {hidden} miners that are nearer to their share are in --json")
