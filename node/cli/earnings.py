"""``cuckoo earnings`` and ``cuckoo spend``: what a node was promised or promised, and what of it the chain has paid."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from node.cli.account import NOBODY, JsonOption, look, print_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.accounts import Account, Accounts
    from node.owner.wallet import Wallet

EXIT_DISAGREE: Final = 1
"""The store says something else than the chain."""

DaysOption = Annotated[int, typer.Option("--days", min=1, help="How many days to show, the latest.")]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Compare with the chain now; the exit code is 1 where it says otherwise.")
]
ChainOption = Annotated[
    Path | None,
    typer.Option(
        "--network", metavar="FILE", help="The network's file: which chain --check asks.", envvar="CUCKOO_NETWORK"
    ),
]


def earnings(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FOLDER", help="The miner's data folder.  [~/.cuckoo/miner]")
    ] = None,
    days: DaysOption = 14,
    check: CheckOption = False,
    network: ChainOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what coordinators promised a miner, what was redeemed, and what is still to come.

    Read from the store of the node, whether it runs or not; with --check compared with the chain.

    $ cuckoo earnings --data ~/.cuckoo/miner

    $ cuckoo earnings --check --network network.toml --json
    """
    from node.accounts import earnings_of

    folder = (data or Path.home() / ".cuckoo" / "miner").expanduser()
    accounts = earnings_of(folder)
    told = _ask_chain(accounts, network, is_miner=True) if check else None
    if as_json:
        print_line(_described(accounts, "coordinator") | _compared(told))
    else:
        _print_earnings(accounts, days)
        _print_comparison(told)
    _leave(told)


def spend(
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="The coordinator's data folder.  [~/.cuckoo/coordinator]"),
    ] = None,
    days: DaysOption = 14,
    check: CheckOption = False,
    network: ChainOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a coordinator promised its miners, what they redeemed, and what its escrow still covers.

    $ cuckoo spend --data ~/.cuckoo/coordinator

    $ cuckoo spend --check --network network.toml --json
    """
    from node.accounts import spending_of

    folder = (data or Path.home() / ".cuckoo" / "coordinator").expanduser()
    accounts = spending_of(folder)
    told = _ask_chain(accounts, network, is_miner=False) if check else None
    if as_json:
        print_line(_described(accounts, "miner") | _escrow_of(accounts) | _compared(told))
    else:
        _print_spending(accounts, days)
        _print_comparison(told)
    _leave(told)


def _described(accounts: "Accounts", party: str) -> dict[str, Any]:  # Any: what JSON holds
    """Say what a program wants to know; amounts are texts, since they do not fit a double."""
    return {
        "node": accounts.own,
        "block": accounts.block,
        "promised_wei": str(accounts.promised),
        "redeemed_wei": str(accounts.redeemed),
        "pending_wei": str(accounts.pending),
        f"{party}s": [
            {
                party: one.party,
                "promised_wei": str(one.promised),
                "redeemed_wei": str(one.redeemed),
                "pending_wei": str(one.pending),
                "owed_wei": str(one.owed),
                **({"under_way": one.is_under_way, "refused": one.refused} if party == "coordinator" else {}),
            }
            for one in accounts.accounts
        ],
        "days": [
            {
                "date": _date(day.day),
                "promised_wei": str(day.promised),
                "vouchers": day.vouchers,
                "redeemed_wei": str(day.redeemed),
                "payments": day.payments,
            }
            for day in accounts.days
        ],
    }


def _escrow_of(accounts: "Accounts") -> dict[str, Any]:  # Any: what JSON holds
    """Say what is in the coordinator's own escrow."""
    if not accounts.escrows:
        return {"escrow": None, "unfinished_wei": str(accounts.unfinished)}
    (escrow,) = accounts.escrows
    return {
        "escrow": {
            "deposited_wei": str(escrow.deposited),
            "withdrawing_wei": str(escrow.withdrawing),
            "owed_wei": str(escrow.owed),
            "free_wei": str(max(escrow.usable - accounts.pending - accounts.unfinished, 0)),
        },
        "unfinished_wei": str(accounts.unfinished),
    }


def _date(day: int) -> str | None:
    """Write a day; None for what an older release did not date."""
    from datetime import date, timedelta

    return (date(1970, 1, 1) + timedelta(days=day)).isoformat() if day else None


# The chain


def _ask_chain(accounts: "Accounts", network: Path | None, *, is_miner: bool) -> "list[tuple[Account, int, int]]":
    """Ask the contract what it has paid and acknowledged of each pair."""
    from protocol.errors import ConfigError

    if network is None:
        raise ConfigError("--check: name the network's file with --network, or in CUCKOO_NETWORK")
    own = accounts.own
    if own is None or not accounts.accounts:
        return []

    async def ask(wallet: "Wallet") -> list[int]:
        pairs = [(one.party, own) if is_miner else (own, one.party) for one in accounts.accounts]
        calls = [wallet.call("Settlement", view, *pair) for pair in pairs for view in ("redeemed", "acknowledged")]
        return await wallet.read(*calls)

    answers = look(network, ask, NOBODY)
    return [(one, answers[2 * place], answers[2 * place + 1]) for place, one in enumerate(accounts.accounts)]


def _agrees(account: "Account", redeemed: int, acknowledged: int) -> bool:
    """Say whether the store and the contract mean the same of a pair."""
    return account.redeemed == redeemed and account.owed == acknowledged - redeemed and acknowledged <= account.promised


def _compared(told: "list[tuple[Account, int, int]] | None") -> dict[str, Any]:  # Any: what JSON holds
    if told is None:
        return {}
    return {
        "chain": {
            "redeemed_wei": str(sum(redeemed for _, redeemed, _ in told)),
            "agrees": all(_agrees(*one) for one in told),
        }
    }


def _print_comparison(told: "list[tuple[Account, int, int]] | None") -> None:
    from node.amounts import format_cai

    if told is None:
        return
    for account, redeemed, acknowledged in told:
        if not _agrees(account, redeemed, acknowledged):
            print(
                f"the chain says otherwise of {account.party}: {format_cai(redeemed)} redeemed of "
                f"{format_cai(acknowledged)} that were shown; a node that runs reads on with every block"
            )
    if all(_agrees(*one) for one in told):
        print("the chain says the same")


def _leave(told: "list[tuple[Account, int, int]] | None") -> None:
    """End with an exit code of its own where the chain says otherwise."""
    if told is not None and not all(_agrees(*one) for one in told):
        raise typer.Exit(EXIT_DISAGREE)


# For people


def _print_earnings(accounts: "Accounts", days: int) -> None:
    from node.amounts import format_cai

    print(f"{format_cai(accounts.promised)} promised to {_named('miner', accounts)}")
    _print_accounts("coordinator", accounts)
    for one in accounts.accounts:
        remarks = "; ".join(_remarks(one))
        if remarks:
            print(f"coordinator {one.party}: {remarks}")
    _print_days(accounts, days)


def _remarks(account: "Account") -> "Iterator[str]":
    """Say what is special about an account."""
    from node.amounts import format_cai

    if account.owed:
        yield f"its escrow is {format_cai(account.owed)} short"
    if account.refused is not None:
        yield f"it gets no more work: {account.refused}"
    if account.is_under_way:
        yield "being redeemed"


def _print_accounts(party: str, accounts: "Accounts") -> None:
    from node.amounts import format_number

    _print_table(
        (party, "promised CAI", "redeemed CAI", "pending CAI"),
        [
            (str(one.party), format_number(one.promised), format_number(one.redeemed), format_number(one.pending))
            for one in accounts.accounts
        ],
    )


def _print_spending(accounts: "Accounts", days: int) -> None:
    from node.amounts import format_cai

    print(f"{format_cai(accounts.promised)} promised by {_named('coordinator', accounts)}")
    for escrow in accounts.escrows:
        free = max(escrow.usable - accounts.pending - accounts.unfinished, 0)
        print(f"{format_cai(escrow.deposited)} in escrow, {format_cai(free)} of it not promised and not under way")
        if escrow.withdrawing:
            print(f"{format_cai(escrow.withdrawing)} of it are to be withdrawn")
        if escrow.owed:
            print(f"{format_cai(escrow.owed)} are owed and not in escrow: deposit them, or the operator's stake pays")
    _print_accounts("miner", accounts)
    _print_days(accounts, days)


def _named(role: str, accounts: "Accounts") -> str:
    """Name the node, and say up to which block it knows the chain."""
    if accounts.own is None:
        return f"this {role}, which has not read the chain yet"
    return f"{role} {accounts.own}; the chain is read up to block {accounts.block}"


def _print_days(accounts: "Accounts", days: int) -> None:
    from node.amounts import format_number

    _print_table(
        ("day (UTC)", "promised CAI", "vouchers", "redeemed CAI", "payments"),
        [
            (
                _date(day.day) or "before",
                format_number(day.promised),
                str(day.vouchers),
                format_number(day.redeemed),
                str(day.payments),
            )
            for day in accounts.days[-days:]
        ],
    )


def _print_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print columns of numbers; nothing without rows."""
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)
