"""What a node earned or spent, from its store: running, stopped, old, new, or none. SPEC.md §11."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from node.accounts import earnings_of, spending_of
from node.adapters.store import SqliteStore
from node.cli.node import ready_text
from node.compose import NodeInfo
from node.settings import NodeRole
from protocol.chain_records import ChainStep, ContractCall, Payment, RowChange, SettlementRead, TransactionRequested
from protocol.errors import ConfigError
from protocol.records import Record
from protocol.stake.table import StakeRow
from protocol.units import CAI, DAY_MS, Address, BlockNumber, PeerId, Role, StakingId, UnixMillis, Wei
from tests.support.clock import HandClock
from tests.support.records import (
    NOW,
    accepted,
    contradicting,
    done,
    escrow,
    failed,
    held,
    issued,
    payment,
    settlement_read,
)

MINE = "31337/0xsettlement/7/9"
Cuckoo = Callable[..., tuple[int, str, str]]


def read(*payments: Payment, block: int = 5, escrows: tuple = (), anew: bool = False) -> SettlementRead:
    return settlement_read(*payments, block=block, contract=MINE, escrows=escrows, anew=anew)


async def keep(folder: Path, *days: tuple[Record, ...]) -> None:
    """Write each of these on a day of its own."""
    clock = HandClock(NOW)
    store = SqliteStore(folder, clock)
    async with store.opened():
        for number, records in enumerate(days):
            clock.moment = UnixMillis(NOW + number * DAY_MS)
            await store.persist(records)


async def keep_registered(folder: Path, role: Role) -> None:
    """Write that the chain was read, and that this node is registered there."""
    store = SqliteStore(folder, HandClock(NOW))
    row = StakeRow(StakingId(9), Address(bytes([9]) * 20), role, Wei(30_000 * CAI), active=True)
    async with store.opened():
        await store.persist((read(escrows=(escrow(90 * CAI),)),))
        await store.keep_chain_step(
            "0xstaking", ChainStep(BlockNumber(-1), BlockNumber(3), changes=(RowChange(BlockNumber(2), row),))
        )


def held_by(coordinator: int, cai: float, sequence: int) -> Record:
    return replace(held(int(cai * CAI), sequence, coordinator), issued_total=Wei(int(cai * CAI)))


async def test_earnings__vouchers_and_payments_of_days__add_up_to_the_wei(tmp_path: Path) -> None:
    first, second = payment(3 * CAI, coordinator=4), replace(payment(CAI + 1, coordinator=4, block=9), at=NOW + DAY_MS)
    second = replace(second, acknowledged=Wei(4 * CAI + 1))
    wish = TransactionRequested("redeem/1", ContractCall("Settlement", "redeem_many", (((6, 9, 1, 1, 1, 1),), (b"s",))))
    await keep(
        tmp_path,
        (held_by(4, 2, 1), held_by(4, 5, 2), held_by(6, 1, 1), read(first, escrows=(escrow(50 * CAI),), anew=True)),
        (held_by(4, 5, 2), held_by(4, 7, 3), read(second, block=9), wish),
    )
    told = earnings_of(tmp_path)
    assert (told.own, told.block) == (9, 9)
    assert [(one.party, one.promised, one.redeemed, one.pending) for one in told.accounts] == [
        (4, 7 * CAI, 4 * CAI + 1, 3 * CAI - 1),
        (6, CAI, 0, CAI),
    ]
    assert (told.promised, told.redeemed, told.pending) == (8 * CAI, 4 * CAI + 1, 4 * CAI - 1)
    assert [(one.is_under_way, one.refused) for one in told.accounts] == [(False, None), (True, "uncovered")]
    assert [(day.promised, day.vouchers, day.redeemed, day.payments) for day in told.days] == [
        (6 * CAI, 3, 3 * CAI, 1),
        (2 * CAI, 1, CAI + 1, 1),
    ]


async def test_earnings__debt_and_contradiction__say_why_a_coordinator_gets_no_more_work(tmp_path: Path) -> None:
    short = replace(payment(2 * CAI, coordinator=6), acknowledged=Wei(5 * CAI), unpaid=Wei(3 * CAI))
    poor = replace(escrow(0, coordinator=6), owed=Wei(3 * CAI))
    await keep(tmp_path, (held_by(4, 1, 1), held_by(6, 5, 1), contradicting(), read(short, escrows=(escrow(), poor))))
    false, debtor = earnings_of(tmp_path).accounts
    assert (false.refused, false.owed) == ("contradicted", 0)
    assert (debtor.refused, debtor.owed, debtor.redeemed) == ("uncovered", 3 * CAI, 2 * CAI)


async def test_earnings__store_put_back_from_an_old_copy__counts_what_was_shown_to_the_contract(tmp_path: Path) -> None:
    await keep(tmp_path, (held_by(4, 2, 1), read(payment(5 * CAI, coordinator=4))))
    (account,) = earnings_of(tmp_path).accounts
    assert (account.promised, account.pending) == (5 * CAI, 0)


async def test_earnings__chain_read_anew__has_no_payment_twice(tmp_path: Path) -> None:
    paid = payment(CAI, coordinator=4)
    await keep(tmp_path, (held_by(4, 2, 1), read(paid)), (read(paid, block=9, anew=True),), (read(paid, block=9),))
    told = earnings_of(tmp_path)
    assert (told.redeemed, sum(day.redeemed for day in told.days)) == (CAI, CAI)


async def test_spending__promises_payments_and_unfinished_tasks__stand_against_the_escrow(tmp_path: Path) -> None:
    price = accepted(1).price
    mine = (replace(issued(3 * CAI, 1, miner=9)), issued(2 * CAI, 2, miner=10))
    tasks = (accepted(1), accepted(2), accepted(3), done(2), failed(3))
    await keep(tmp_path, (*mine, *tasks, read(payment(CAI, miner=10), escrows=(escrow(90 * CAI, redeemed=CAI),))))
    told = spending_of(tmp_path)
    assert [(one.party, one.promised, one.pending) for one in told.accounts] == [
        (9, 3 * CAI, 3 * CAI),
        (10, 2 * CAI, CAI),
    ]
    assert told.unfinished == price


def test_accounts__no_store__is_one_line(cuckoo: Cuckoo, tmp_path: Path) -> None:
    for command in ("earnings", "spend"):
        code, _, err = cuckoo(command, "--data", str(tmp_path))
        assert code == 2
        assert err.startswith("error: --data: no node has kept anything in ")


@pytest.mark.parametrize(
    ("role", "wrong", "right"), [(Role.MINER, "spend", "earnings"), (Role.COORDINATOR, "earnings", "spend")]
)
def test_accounts__node_of_the_other_role__names_the_command_for_it(
    cuckoo: Cuckoo, tmp_path: Path, role: Role, wrong: str, right: str
) -> None:
    import trio

    trio.run(keep_registered, tmp_path, role)
    assert cuckoo(right, "--data", str(tmp_path))[0] == 0
    code, out, err = cuckoo(wrong, "--data", str(tmp_path))
    assert (code, out) == (2, "")
    assert f"is a {role.name.lower()}: ask with " in err
    assert err.endswith(f"cuckoo {right}\n")


def test_dispute_found__folder_of_a_miner__says_who_reports(cuckoo: Cuckoo, tmp_path: Path) -> None:
    import trio

    trio.run(keep_registered, tmp_path, Role.MINER)
    code, out, err = cuckoo("dispute", "found", "--data", str(tmp_path))
    assert (code, out, err) == (
        2,
        "",
        f"error: --data: the node in {tmp_path} is a miner: only coordinators report pictures\n",
    )


@pytest.mark.parametrize(("version", "words"), [(5, "an older release"), (99, "a newer release")])
async def test_accounts__store_of_another_release__is_named(tmp_path: Path, version: int, words: str) -> None:
    await keep(tmp_path, (held_by(4, 1, 1),))
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (version,))
    with pytest.raises(ConfigError, match=words):
        earnings_of(tmp_path)


async def test_accounts__while_the_node_runs__are_read_and_nothing_is_changed(cuckoo: Cuckoo, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, HandClock(NOW))
    async with store.opened():
        await store.persist((held_by(4, 2, 1), read(payment(CAI), escrows=(escrow(),))))
        code, out, _ = cuckoo("earnings", "--data", str(tmp_path), "--json")
        await store.persist((held_by(4, 3, 2),))
    told = json.loads(out)
    assert code == 0
    assert (told["node"], told["block"], told["pending_wei"]) == (9, 5, str(CAI))
    assert told["coordinators"] == [
        {
            "coordinator": 4,
            "promised_wei": str(2 * CAI),
            "redeemed_wei": str(CAI),
            "pending_wei": str(CAI),
            "owed_wei": "0",
            "under_way": False,
            "refused": None,
        }
    ]
    assert told["days"][0]["date"] == "2027-01-15"


async def test_accounts__for_people__name_amounts_debts_and_what_is_left(cuckoo: Cuckoo, tmp_path: Path) -> None:
    owing = replace(payment(2 * CAI, coordinator=6), acknowledged=Wei(5 * CAI), unpaid=Wei(3 * CAI))
    await keep(tmp_path / "miner", (held_by(6, 5, 1), read(owing, escrows=(escrow(0, coordinator=6),))))
    _, out, _ = cuckoo("earnings", "--data", str(tmp_path / "miner"))
    assert "5 CAI promised to miner 9; the chain is read up to block 5" in out
    assert "coordinator 6: its escrow is 3 CAI short; it gets no more work: uncovered" in out
    mine = (issued(3 * CAI, 1, miner=9), read(escrows=(escrow(90 * CAI, withdrawing=10 * CAI),)))
    await keep(tmp_path / "coordinator", mine)
    _, out, _ = cuckoo("spend", "--data", str(tmp_path / "coordinator"))
    assert "90 CAI in escrow, 77 CAI of it not promised and not under way" in out
    assert "10 CAI of it are to be withdrawn" in out


def test_accounts__check_without_a_network__names_the_flag(cuckoo: Cuckoo, tmp_path: Path) -> None:
    import trio

    trio.run(keep, tmp_path, (held_by(4, 1, 1),))
    code, _, err = cuckoo("earnings", "--data", str(tmp_path), "--check")
    assert (code, "--network" in err) == (2, True)


@pytest.mark.parametrize(("role", "has_gas_key", "says_so"), [("miner", False, True), ("miner", True, False)])
def test_ready_text__miner_without_gas_key__says_how_to_be_paid(role: str, has_gas_key: bool, says_so: bool) -> None:
    info = NodeInfo(NodeRole(role), PeerId("16Uiu2"), "0x00", (), StakingId(1), None)
    assert ("set chain.gas_keystore to be paid" in ready_text(info, has_gas_key=has_gas_key)) == says_so
