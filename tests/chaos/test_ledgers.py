"""The comparison of ledgers finds what differs, and says where; whoever reads a green run relies on it."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.adapters.store import SqliteStore
from protocol.units import Wei
from tests.chaos.ledgers import Books, Escrow, OnChain, differences, read_books, rows
from tests.chaos.logs import told_wrongly, wrong_lines
from tests.support.clock import HandClock
from tests.support.records import accepted, awarded, committed, done, failed, held, issued, picture

ISSUER = Books(promised={2: 70, 3: 30}, earned={2: 70, 3: 30}, done=10)
HOLDERS = {2: Books(promised={1: 70}, earned={1: 70}), 3: Books(promised={1: 30}, earned={1: 30})}
CHAIN = {(1, 2): OnChain(70, 70), (1, 3): OnChain(30, 30)}
ESCROW = Escrow(deposited=1000, left=900, paid=100, owed=0)


def found(
    issuer: Books = ISSUER,
    holders: dict[int, Books] = HOLDERS,
    chain: dict[tuple[int, int], OnChain] = CHAIN,
    escrow: Escrow = ESCROW,
    held_by_contract: int = 900,
) -> list[str]:
    books = {"coordinator-1": issuer, **{f"miner-{number}": book for number, book in holders.items()}}
    return differences(books, rows({1: issuer}, holders, chain), {1: escrow}, held_by_contract)


def test_differences__of_ledgers_that_say_the_same__are_none() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"issuer": replace(ISSUER, promised={2: 71, 3: 30})}, "the ledgers differ"),
        ({"issuer": replace(ISSUER, earned={2: 70, 3: 29})}, "the ledgers differ"),
        ({"holders": HOLDERS | {3: replace(HOLDERS[3], promised={1: 29})}}, "the ledgers differ"),
        ({"holders": HOLDERS | {3: replace(HOLDERS[3], earned={})}}, "the ledgers differ"),
        ({"chain": CHAIN | {(1, 2): OnChain(70, 69)}}, "the ledgers differ"),
        ({"chain": CHAIN | {(1, 2): OnChain(71, 70)}}, "the ledgers differ"),
        ({"issuer": replace(ISSUER, open=1)}, "have no end"),
        ({"issuer": replace(ISSUER, rechecks=1)}, "rechecks go on"),
        ({"holders": HOLDERS | {2: replace(HOLDERS[2], unsettled=1)}}, "wait for a receipt"),
        ({"holders": HOLDERS | {2: replace(HOLDERS[2], evidence=1)}}, "evidence against honest nodes"),
        ({"escrow": replace(ESCROW, left=901), "held_by_contract": 901}, "not what was deposited"),
        ({"escrow": replace(ESCROW, owed=1)}, "not what was deposited"),
        ({"escrow": replace(ESCROW, left=899, paid=101), "held_by_contract": 899}, "to its miners"),
        ({"held_by_contract": 899}, "its escrows are"),
    ],
)
def test_differences__one_wei_or_one_task_off__say_so(changed: dict[str, object], said: str) -> None:
    problems = found(**changed)  # type: ignore[arg-type]
    assert problems
    assert said in problems[0]


async def test_read_books__of_a_coordinator__adds_up_what_its_tasks_and_vouchers_say(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, HandClock())
    async with store.opened():
        first = (accepted(1), accepted(2), accepted(3), awarded(1), picture(), done(1), failed(2))
        await store.persist((*first, issued(7, 2)))
        books = read_books(tmp_path)
    assert books.promised == {done(1).miner: 7}
    assert books.earned == {done(1).miner: accepted(1).price}
    assert (books.done, books.failed, books.open, books.unsettled) == (1, 1, 1, 0)


async def test_read_books__of_a_miner__tells_receipts_and_results_that_wait(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, HandClock())
    async with store.opened():
        await store.persist((replace(held(7, 2), earned=Wei(5)), committed(5)))
        books = read_books(tmp_path)
    assert (books.promised, books.earned) == ({held(7, 2).coordinator: 7}, {held(7, 2).coordinator: 5})
    assert books.unsettled == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"event": "peer.judged", "level": "warning", "rule": "message.signature"}', "somebody honest is blamed"),
        ('{"event": "fault", "level": "error"}', "an error"),
        ("Traceback (most recent call last):", "a line that is no note"),
        ('{"event": "task.done", "level": "info"}', None),
        ("stopping…", None),
    ],
)
def test_wrong_lines__of_a_log__are_those_that_nobody_explained(tmp_path: Path, line: str, why: str | None) -> None:
    log = tmp_path / "log"
    log.write_text(f'{line}\n{{"event": "node.ready"}}\n', encoding="utf-8")
    said = list(wrong_lines("miner-1", log))
    assert said == ([f"miner-1: {why}: {line}"] if why else [])


def test_told_wrongly__task_that_ended_twice_or_was_lost__is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    notes = [("task.accepted", "aa"), ("task.accepted", "bb"), ("task.done", "aa"), ("task.failed", "aa"), ("x", "cc")]
    log.write_text("".join(f'{{"event": "{event}", "task": "{task}"}}\n' for event, task in notes), encoding="utf-8")
    said = list(told_wrongly("coordinator-1", log, frozenset({"aa"})))
    assert said == ["coordinator-1: task aa ended 2 times", "coordinator-1: task bb was taken and is in no store"]
