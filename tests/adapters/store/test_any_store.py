"""What every store promises, checked on the real one and on the one in memory alike."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from node.adapters.memory.store import MemoryStore
from node.adapters.store import SqliteStore
from node.ports import Store
from protocol.chain_records import (
    ChainPlace,
    ChainStep,
    Confirmed,
    ContractCall,
    ContractEvent,
    Failed,
    Header,
    RowChange,
    SettlementRead,
    SignedTransaction,
    Transaction,
    TransactionRequested,
    TransactionSettled,
)
from protocol.records import (
    BootStarted,
    InputsShared,
    InputStored,
    RecheckKept,
    Record,
    ResultSettled,
    TaskAccepted,
    VerdictKept,
)
from protocol.units import BlockNumber, Digest, UnixMillis, Wei
from tests.support.clock import HandClock
from tests.support.networks import ALICE, BOB, row
from tests.support.records import (
    NOW,
    accepted,
    awarded,
    claim,
    committed,
    contradicting,
    done,
    drawing,
    escrow,
    failed,
    held,
    issued,
    left_paid,
    payer,
    payment,
    picture,
    recheck,
    reputation,
    settlement_read,
    steps_kept,
    task_id,
    verdict,
)


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path: Path) -> Store:
    return SqliteStore(tmp_path, HandClock()) if request.param == "sqlite" else MemoryStore()


async def test_load__second_run__gives_what_is_unfinished(store: Store):
    kept = (BootStarted(5), accepted(1, key="k"), awarded(1, 0), awarded(1, 1), issued(10, 1), committed(3), held(7, 2))
    async with store.opened():
        await store.persist(kept)
        await store.persist((accepted(2), accepted(4), claim(3)))
        await store.persist((failed(2), done(4)))
    async with store.opened():
        restored = await store.load()
    assert set(kept) <= set(restored)
    assert done(4) in restored
    assert not {accepted(2), accepted(4), failed(2)} & set(restored)


async def test_persist__second_end__raises_and_the_first_stands(store: Store):
    async with store.opened():
        await store.persist((accepted(1),))
        await store.persist((done(1, receipt=b"first"),))
        for second in (done(1, receipt=b"second"), failed(1)):
            with pytest.raises(ValueError, match="ended"):
                await store.persist((accepted(2), second))
        found = await store.task(task_id(1))
        assert found is not None
        assert (found.done, found.failed) == (done(1, receipt=b"first"), None)
        assert await store.task(task_id(2)) is None


async def test_persist__failed_task_is_paid__once_and_its_receipt_comes_back(store: Store):
    async with store.opened():
        await store.persist((accepted(1), accepted(2), accepted(3)))
        with pytest.raises(ValueError, match="paid"):
            await store.persist((picture(), left_paid(1), issued(9, 1)))
        await store.persist((failed(1), left_paid(1), issued(9, 1)))
        await store.persist((failed(2), done(3)))
        await store.persist((picture(), left_paid(2)))
        for again in (left_paid(1, receipt=b"second"), left_paid(3)):
            with pytest.raises(ValueError, match="paid"):
                await store.persist((again,))
        found = await store.task(task_id(1))
        assert found is not None
        assert (found.done, found.failed) == (None, failed(1)), "for its app it has failed"
    async with store.opened():
        assert {left_paid(1), left_paid(2), done(3), issued(9, 1)} <= set(await store.load())


async def test_spent__tasks_of_one_account_since_a_moment__without_those_that_failed_unpaid(store: Store):
    def task(number: int, account: str, at: int) -> TaskAccepted:
        return replace(accepted(number, at=UnixMillis(at)), account=account)

    async with store.opened():
        await store.persist((task(1, "key:a", 999), task(2, "key:a", 1000), task(3, "key:a", 2000)))
        await store.persist((task(4, "key:b", 2000), task(5, "key:a", 2000), task(6, "key:a", 3000)))
        await store.persist((failed(5), done(6)))
        assert await store.spent("key:a", UnixMillis(1000)) == sum(accepted(n).price for n in (2, 3, 6))
        assert await store.spent("key:b", UnixMillis(1000)) == accepted(4).price
        assert await store.spent("key:c", UnixMillis(0)) == 0
        await store.persist((left_paid(5),))
        assert await store.spent("key:a", UnixMillis(1000)) == sum(accepted(n).price for n in (2, 3, 5, 6))


async def test_persist__settled_result__is_not_restored(store: Store):
    async with store.opened():
        await store.persist((claim(1), committed(1), claim(2), committed(2)))
        await store.persist((ResultSettled(committed(1).award), ResultSettled(committed(9).award)))
        restored = await store.load()
    assert committed(2) in restored
    assert committed(1) not in restored


async def test_persist__recheck_again__is_as_it_was_left_and_costs_are_known_for_a_day(store: Store):
    over = recheck(3, drawing(3), drawing(4, miner=8), drawing(5, miner=7), outcome="odd_one_out", odd=(8, 7), far=(7,))
    old = recheck(6, at=UnixMillis(NOW - 86_400_001), outcome="agreed")
    begun = recheck(1)
    async with store.opened():
        await store.persist((begun, recheck(3), old))
        await store.persist((replace(begun, pending=task_id(2), tries=1),))
        await store.persist((over,))
        known = {record for record in await store.load() if isinstance(record, RecheckKept)}
        assert known - {old} == {replace(begun, pending=task_id(2), tries=1), over}


async def test_persist__drawing_whose_steps_were_asked_for__is_kept_with_its_answer(store: Store):
    begun = recheck(1, drawing(1), drawing(2, miner=8))
    shown = replace(begun, drawings=tuple(replace(one, steps="opened", opened=b"answer") for one in begun.drawings))
    async with store.opened():
        await store.persist((begun,))
        await store.persist((shown,))
        assert await store.load() == (shown,)


async def test_persist__steps_of_pictures__are_kept_for_a_day_and_the_oldest_comes_first(store: Store):
    old = steps_kept(3, at=UnixMillis(NOW - 86_400_000))
    later = steps_kept(1, at=UnixMillis(NOW + 1))
    async with store.opened():
        await store.persist((old,))
        await store.persist((steps_kept(2), later))
        assert await store.load() == (old, steps_kept(2), later)
        await store.expire(NOW)
        assert await store.load() == (steps_kept(2), later)


async def test_persist__reputation_again__replaces_what_was_thought(store: Store):
    later = reputation(doubt=9.0, until=NOW + 5)
    async with store.opened():
        await store.persist((reputation(), reputation(3, at=UnixMillis(NOW - 1))))
        await store.persist((later,))
        assert set(await store.load()) == {later, reputation(3, at=UnixMillis(NOW - 1))}


async def test_persist__payer_again__replaces_what_was_thought_and_is_forgotten_in_time(store: Store):
    later, old = payer(lost=0), payer(3, at=UnixMillis(NOW - 9))
    async with store.opened():
        await store.persist((payer(), old))
        await store.persist((later,))
        assert set(await store.load()) == {later, old}
        await store.forget(NOW)
        assert set(await store.load()) == {later}


async def test_forget__rechecks_and_reputations_of_long_ago__are_gone(store: Store):
    left_out = reputation(4, at=UnixMillis(NOW - 9), until=NOW + 5)
    async with store.opened():
        await store.persist((recheck(1, at=UnixMillis(NOW - 9)), reputation(3, at=UnixMillis(NOW - 9)), left_out))
        await store.persist((recheck(2), reputation(5)))
        await store.forget(NOW)
        assert set(await store.load()) == {recheck(2), left_out, reputation(5)}


async def test_persist__receipts_in_any_order__keeps_the_highest_voucher_and_the_highest_sum(store: Store):
    async with store.opened():
        await store.persist((held(20, 2, earned=12),))
        await store.persist((held(9, 1, earned=20),))
        await store.persist((held(20, 2, earned=15),))
    async with store.opened():
        assert await store.load() == (held(20, 2, earned=20),)


async def test_load__after_reads_of_the_settlement__gives_all_escrows_and_the_last_payment_of_each_pair(store: Store):
    first, second, other = payment(7), payment(3, block=8, acknowledged=10), payment(4, block=8, place=1, coordinator=6)
    async with store.opened():
        assert await store.settlement_read("contract") is None
        await store.persist((settlement_read(first, escrows=(escrow(90), escrow(50, coordinator=6)), anew=True),))
        await store.persist((settlement_read(second, other, block=8, escrows=(escrow(80, redeemed=10),)),))
    async with store.opened():
        (known,) = [record for record in await store.load() if isinstance(record, SettlementRead)]
        assert known == await store.settlement_read("contract")
        assert await store.settlement_read("another contract") is None
    assert (known.block, known.hash, known.anew) == (8, settlement_read(block=8).hash, True)
    assert set(known.escrows) == {escrow(80, redeemed=10), escrow(50, coordinator=6)}
    assert set(known.payments) == {second, other}


@pytest.mark.parametrize("read", [settlement_read(block=9, anew=True), settlement_read(block=9, contract="another")])
async def test_persist__settlement_read_anew_or_another_one__forgets_what_was_known(store: Store, read: SettlementRead):
    async with store.opened():
        await store.persist((settlement_read(payment(7), escrows=(escrow(),)),))
        await store.persist((read,))
        (known,) = [record for record in await store.load() if isinstance(record, SettlementRead)]
    assert known == replace(read, anew=True)


async def test_load__evidence_and_open_transactions__come_back(store: Store):
    wish, settled = TransactionRequested("redeem/1", CALL), TransactionRequested("redeem/2", CALL)
    async with store.opened():
        await store.persist((contradicting(), wish, settled))
        await store.persist((contradicting(), TransactionSettled("redeem/2")))
    async with store.opened():
        restored = await store.load()
    assert [record for record in restored if record == contradicting()] == [contradicting()]
    assert wish in restored
    assert settled not in restored


async def test_find__by_id_key_and_digest__or_nothing(store: Store):
    async with store.opened():
        await store.persist((accepted(1, key="k"), picture(b"abc")))
        by_id, by_key = await store.task(task_id(1)), await store.task_by_key("k")
        assert by_id is not None
        assert by_id == by_key
        assert by_id.accepted == accepted(1, key="k")
        assert await store.artifact(picture(b"abc").digest) == b"abc"
        assert await store.task(task_id(2)) is None
        assert await store.task_by_key("other") is None
        assert await store.artifact(picture(b"other").digest) is None


async def test_addresses__seen_again__latest_first(store: Store):
    async with store.opened():
        for moment, address in enumerate(("/a", "/b", "/a")):
            await store.remember_address(address, UnixMillis(NOW + moment))
        assert await store.addresses() == ("/a", "/b")


async def test_addresses__word_of_an_older_moment__does_not_make_an_address_older(store: Store):
    async with store.opened():
        for address, moment in (("/a", 30), ("/b", 20), ("/a", 10)):
            await store.remember_address(address, UnixMillis(NOW + moment))
        assert await store.addresses() == ("/a", "/b")


# The chain's place

FIRST, SECOND = "1/0x11/0", "1/0x22/0"


def block(number: int, fork: int = 0) -> Header:
    return Header(BlockNumber(number), bytes([fork] * 32), bytes(32), UnixMillis(number * 1000))


def change(number: int, node: int, stake: int = 5, *, active: bool = True) -> RowChange:
    of_node = row(ALICE if node == 1 else BOB, node, stake=stake, active=active)
    return RowChange(BlockNumber(number), replace(of_node, owner=ALICE.address if node == 1 else None))


def step(
    kept: int, *anchors: Header, changes: tuple[RowChange, ...] = (), settled: int = -1, dropped: tuple[int, ...] = ()
):
    return ChainStep(BlockNumber(kept), BlockNumber(settled), anchors, changes, frozenset(map(BlockNumber, dropped)))


async def test_chain_place__nothing_kept__is_none(store: Store):
    async with store.opened():
        assert await store.chain_place(FIRST) is None


async def test_keep_chain_step__steps_and_a_roll_back__give_the_place_after_them(store: Store):
    async with store.opened():
        await store.keep_chain_step(FIRST, step(-1, block(4), block(9), changes=(change(3, 1), change(9, 2))))
        await store.keep_chain_step(FIRST, step(9, block(12), changes=(change(10, 1, 6), change(12, 2, 2**200))))
    async with store.opened():
        both = (change(3, 1), change(9, 2), change(10, 1, 6), change(12, 2, 2**200))
        assert await store.chain_place(FIRST) == ChainPlace(BlockNumber(-1), (block(4), block(9), block(12)), both)
        new = change(11, 1, 7, active=False)
        await store.keep_chain_step(FIRST, step(9, block(11, fork=1), changes=(new,), dropped=(4,)))
        expected = ChainPlace(BlockNumber(-1), (block(9), block(11, fork=1)), (*both[:2], new))
        assert await store.chain_place(FIRST) == expected


async def test_keep_chain_step__settled__keeps_only_the_newest_row_of_each_node_up_to_there(store: Store):
    changes = (change(1, 1, 1), change(2, 1, 2), change(3, 2, 3), change(4, 1, 4), change(6, 1, 6), change(7, 1, 7))
    async with store.opened():
        await store.keep_chain_step(FIRST, step(-1, block(7), changes=changes))
        await store.keep_chain_step(FIRST, step(7, block(5), settled=5))
        kept = (change(3, 2, 3), change(4, 1, 4), change(6, 1, 6), change(7, 1, 7))
        assert await store.chain_place(FIRST) == ChainPlace(BlockNumber(5), (block(5), block(7)), kept)


async def test_keep_chain_step__everything_taken_back__begins_anew(store: Store):
    async with store.opened():
        await store.keep_chain_step(FIRST, step(-1, block(7), changes=(change(1, 1),), settled=1))
        await store.keep_chain_step(FIRST, step(-1, block(2), changes=(change(2, 2),)))
        assert await store.chain_place(FIRST) == ChainPlace(BlockNumber(-1), (block(2),), (change(2, 2),))


async def test_keep_chain_step__of_another_contract__forgets_the_first(store: Store):
    async with store.opened():
        await store.keep_chain_step(FIRST, step(-1, block(7), changes=(change(1, 1),)))
        await store.keep_chain_step(SECOND, step(7, block(8)))
        assert await store.chain_place(FIRST) is None
        assert await store.chain_place(SECOND) == ChainPlace(BlockNumber(-1), (block(8),), ())


# Transactions

CALL = ContractCall("Settlement", "redeem", (True, 2**255, "text", b"bytes", ((1, b"a"), ()), -3))
VERSION = SignedTransaction(Digest(b"h" * 32), b"raw", Wei(2**100), Wei(7), 21_000, NOW)
NEWER = SignedTransaction(Digest(b"i" * 32), b"raw2", Wei(2**101), Wei(8), 21_000, UnixMillis(NOW + 1))
DONE = Confirmed(
    BlockNumber(7),
    Digest(b"h" * 32),
    (ContractEvent("CAI", "Transfer", {"to": b"\x01" * 20, "n": 2**200}),),
    Wei(2**70),
)


def requested(number: int) -> TransactionRequested:
    return TransactionRequested(f"t{number}", CALL)


async def test_transaction__through_its_life__is_given_as_it_was_kept(store: Store):
    async with store.opened():
        await store.persist((requested(1), BootStarted(1)))
        assert await store.transaction("t1") == Transaction("t1", CALL)
        assert await store.transaction("t2") is None
        for versions, outcome in (((VERSION,), None), ((VERSION, NEWER), None), ((VERSION, NEWER), DONE)):
            kept = Transaction("t1", CALL, 5, versions, outcome)
            await store.keep_transactions([kept])
            assert await store.transaction("t1") == kept
            assert await store.open_transactions(9) == (kept,)
        await store.persist((TransactionSettled("t1"),))
    async with store.opened():
        assert await store.open_transactions(9) == ()
        assert await store.transaction("t1") == Transaction("t1", CALL, 5, (VERSION, NEWER), DONE, settled=True)


async def test_transaction__requested_again__is_the_same_wish(store: Store):
    async with store.opened():
        await store.persist((requested(1),))
        await store.keep_transactions([Transaction("t1", CALL, 5, (VERSION,), Failed("refused", "no"))])
        await store.persist((TransactionSettled("t1"),))
        await store.persist((requested(1),))
        found = await store.transaction("t1")
        assert found is not None
        assert (found.outcome, found.settled) == (Failed("refused", "no"), True)


async def test_transaction__another_call_under_its_key__raises_and_nothing_of_the_batch_is_kept(store: Store):
    async with store.opened():
        await store.persist((requested(1),))
        with pytest.raises(ValueError, match="another call"):
            await store.persist((accepted(2), TransactionRequested("t1", ContractCall("CAI", "transfer", ()))))
        assert await store.task(task_id(2)) is None


async def test_open_transactions__more_than_asked_for__those_with_a_nonce_come_first(store: Store):
    async with store.opened():
        await store.persist(tuple(requested(number) for number in range(5)))
        await store.keep_transactions([Transaction("t3", CALL, 5, (VERSION,))])
        assert [one.key for one in await store.open_transactions(3)] == ["t3", "t0", "t1"]


async def test_keep_transactions__begun_anew__has_no_version_left(store: Store):
    async with store.opened():
        await store.persist((requested(1),))
        await store.keep_transactions([Transaction("t1", CALL, 5, (VERSION, NEWER))])
        await store.keep_transactions([Transaction("t1", CALL)])
        assert await store.transaction("t1") == Transaction("t1", CALL)


async def test_forget__transactions_settled_before__are_gone_and_open_ones_stay(tmp_path: Path):
    clock = HandClock()
    store = SqliteStore(tmp_path, clock)
    async with store.opened():
        await store.persist((requested(1), requested(2), requested(3)))
        await store.keep_transactions([Transaction("t1", CALL, 5, (VERSION,), DONE)])
        await store.persist((TransactionSettled("t1"),))
        clock.advance(1000)
        await store.persist((TransactionSettled("t2"),))
        await store.forget(clock.now())
        assert [await store.transaction(key) is not None for key in ("t1", "t2", "t3")] == [False, True, True]


def from_picture(number: int, *pictures: bytes) -> tuple[Record, ...]:
    """A task that begins from these."""
    task = replace(accepted(number), input_bytes=sum(len(data) for data in pictures))
    return (task, *(InputStored(task.task, Digest(hashlib.sha256(data).digest()), data) for data in pictures))


async def test_input__of_an_unfinished_task__is_kept_over_a_restart_and_gone_with_its_end(store: Store):
    source, mask = b"a source" * 20_000, b"a mask"
    digests = [Digest(hashlib.sha256(data).digest()) for data in (source, mask)]
    async with store.opened():
        await store.persist(from_picture(1, source, mask))
    async with store.opened():
        assert [await store.input(digest) for digest in digests] == [source, mask]
        assert [await store.artifact(digest) for digest in digests] == [None, None], "nobody fetches them"
        assert from_picture(1, source, mask)[0] in await store.load()
        await store.persist((done(1),))
        assert [await store.input(digest) for digest in digests] == [None, None]


async def test_input__of_two_tasks__stays_until_both_have_ended(store: Store):
    source = b"a source"
    digest = Digest(hashlib.sha256(source).digest())
    async with store.opened():
        await store.persist((*from_picture(1, source), *from_picture(2, source)))
        await store.persist((failed(1),))
        assert await store.input(digest) == source
        await store.persist((failed(2),))
        assert await store.input(digest) is None


async def test_input__of_a_task_that_is_drawn_again__stays_until_that_is_over(store: Store):
    source = b"a source"
    digest = Digest(hashlib.sha256(source).digest())
    async with store.opened():
        await store.persist(from_picture(1, source))
        await store.persist((recheck(1), done(1)))
        assert await store.input(digest) == source
        await store.persist((accepted(2), InputsShared(task_id(2), task_id(1)), recheck(1, pending=2)))
        await store.persist((recheck(1), failed(2)))
        assert await store.input(digest) == source, "another drawing may begin from it"
    async with store.opened():
        await store.persist((accepted(3), InputsShared(task_id(3), task_id(1)), recheck(1, pending=3)))
        await store.persist((recheck(1, outcome="agreed"),))
        assert await store.input(digest) == source, "a drawing is under way"
        await store.persist((done(3),))
        assert await store.input(digest) is None


async def test_persist__input_of_another_digest__raises_and_nothing_is_kept(tmp_path: Path):
    store = SqliteStore(tmp_path, HandClock())
    task, wrong = from_picture(1, b"a source")
    async with store.opened():
        with pytest.raises(ValueError, match="are not the artifact"):
            await store.persist((task, replace(wrong, data=b"another")))
        assert await store.task(task_id(1)) is None


async def test_persist__verdict__is_signed_once_and_comes_back(store: Store):
    async with store.opened():
        await store.persist((verdict(7), verdict(7, round_=1, verdict=2), verdict(8, verdict=3)))
        await store.persist((verdict(7),))
        with pytest.raises(ValueError, match="signed already"):
            await store.persist((verdict(7, verdict=2),))
    async with store.opened():
        again = [record for record in await store.load() if isinstance(record, VerdictKept)]
        assert again == [verdict(7), verdict(7, round_=1, verdict=2), verdict(8, verdict=3)]


async def test_expire__odd_picture_that_may_be_disputed__stays_as_long_as_its_recheck(store: Store):
    pictures = [picture(bytes([number]) * 8) for number in range(1, 4)]
    later = UnixMillis(NOW + 10**9)
    drawn = [
        replace(drawing(number, miner=number + 20), artifact=one.digest) for number, one in enumerate(pictures, start=1)
    ]
    async with store.opened():
        await store.persist(tuple(accepted(number) for number in (1, 2, 3)))
        ended = [done(number, artifact=one.data) for number, one in enumerate(pictures, start=1)]
        await store.persist((*pictures, *ended))
        await store.persist(
            (
                recheck(1, drawn[0], drawn[1], outcome="odd_one_out", odd=(21, 22), far=(21,), may_be_disputed=True),
                recheck(3, drawn[2], outcome="odd_one_out", odd=(23,), far=(23,)),
            )
        )
        await store.expire(later)
        kept = [await store.artifact(one.digest) for one in pictures]
        assert kept == [pictures[0].data, None, None], "what shows something else, and jurors may see"
        await store.forget(later)
        await store.expire(later)
        assert await store.artifact(pictures[0].digest) is None
