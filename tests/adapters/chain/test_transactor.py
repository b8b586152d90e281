"""Transactions from the gas key on a real chain: bursts, nonces, fees, re-orgs, kills; one outcome for each."""

from collections.abc import AsyncIterator

import pytest
import trio

from node.adapters.chain.gas_account import Fees
from node.adapters.chain.gas_view import ask
from protocol.chain_records import Confirmed, Failed, TransactionSettled
from protocol.errors import Unavailable
from protocol.events import TxConfirmed
from protocol.notes import NoteName
from protocol.units import CAI, Address, Wei
from tests.adapters.chain.conftest import StakingOnAnvil
from tests.adapters.chain.gas import BUMP_MS, GWEI, RECEIVER, FatalStore, Gas, Killed, confirmed
from tests.support.patience import PATIENCE_S

SEND = b"eth_sendRawTransaction"


@pytest.fixture
async def gas(staking: StakingOnAnvil) -> AsyncIterator[Gas]:
    made = Gas(staking)
    made.fund()
    async with made.rpc:
        yield made
    staking.anvil.rpc("evm_setAutomine", True)


@pytest.fixture
def by_hand(staking: StakingOnAnvil, gas: Gas) -> Gas:
    """Blocks are made when the test says so."""
    staking.anvil.rpc("evm_setAutomine", False)
    return gas


async def test_round__burst_of_fifty__takes_fifty_nonces_without_a_gap(gas: Gas):
    for number in range(50):
        await gas.want_transfer(f"t{number}")
    await gas.rounds(1)
    assert [(await gas.kept(f"t{number}")).nonce for number in range(50)] == list(range(50))
    outcomes = await gas.finish()
    assert confirmed(outcomes) == {f"t{number}" for number in range(50)}
    assert (gas.count(), gas.received()) == (50, 50 * CAI)


async def test_round__more_than_may_wait__the_rest_follows(by_hand: Gas):
    for number in range(70):
        await by_hand.want_transfer(f"t{number}")
    await by_hand.rounds(2)
    signed = [number for number in range(70) if (await by_hand.kept(f"t{number}")).versions]
    assert signed == list(range(50))
    by_hand.anvil.rpc("evm_setAutomine", True)
    by_hand.mine()
    assert len(confirmed(await by_hand.finish())) == 70
    assert by_hand.count() == 70


async def test_round__confirmed__tells_block_cost_and_events(gas: Gas):
    await gas.want_transfer("t", 7)
    outcome = (await gas.finish())["t"]
    assert isinstance(outcome, Confirmed)
    assert outcome.block == gas.staking.height()
    assert outcome.transaction == (await gas.kept("t")).versions[-1].hash
    (event,) = outcome.events
    own = bytes.fromhex(gas.account.address[2:])
    assert (event.contract, event.name) == ("CAI", "Transfer")
    assert event.fields == {"sender": own, "receiver": RECEIVER, "value": 7}
    spent = 10 * 10**18 - int(gas.anvil.rpc("eth_getBalance", gas.account.address, "latest"), 16)
    assert outcome.fee == spent


async def test_round__contract_refuses__fails_with_its_sentence_and_uses_no_nonce(gas: Gas):
    await gas.want("v", "Staking", "vote", 5, CAI)
    assert (await gas.finish())["v"] == Failed("refused", "Staking: no node has this id")
    assert gas.count() == 0


@pytest.mark.parametrize(
    ("contract", "function", "arguments", "words"),
    [
        ("Nonsense", "f", (), "no contract of the set is called 'Nonsense'"),
        ("CAI", "nonsense", (), "CAI has no function nonsense with 0 arguments"),
        ("CAI", "transfer", (RECEIVER,), "CAI has no function transfer with 1 arguments"),
        ("CAI", "transfer", (RECEIVER, -1), "CAI.transfer"),
        ("CAI", "transfer", (RECEIVER[:19], 1), "CAI.transfer"),
        ("CAI", "transfer", (RECEIVER, "1"), "CAI.transfer"),
        ("Disputes", "draw", (1,), "the staking contract names no Disputes"),
    ],
)
async def test_round__call_that_fits_no_function__fails_by_name(gas: Gas, contract, function, arguments, words):
    await gas.want("bad", contract, function, *arguments)
    await gas.want_transfer("good")
    outcomes = await gas.finish()
    bad = outcomes["bad"]
    assert isinstance(bad, Failed)
    assert bad.reason == "bad_call"
    assert words in bad.detail
    assert confirmed(outcomes) == {"good"}


async def test_round__one_needs_the_other__waits_for_it_and_is_not_refused(gas: Gas):
    gas.staking.register(1)
    await gas.want("approve", "CAI", "approve", gas.staking.address, CAI)
    await gas.want("vote", "Staking", "vote", 1, CAI)
    assert confirmed(await gas.finish()) == {"approve", "vote"}
    assert gas.anvil.read(gas.staking.contract, "node", 1)[5] == 30_001 * CAI


async def test_round__state_changes_before_it_is_mined__fails_as_reverted_with_the_sentence(gas: Gas):
    for key in ("first", "second"):
        await gas.want_transfer(key, 1000 * CAI)
    await gas.rounds(1)
    await gas.mined(2)  # both passed the estimate
    outcomes = await gas.finish()
    assert confirmed(outcomes) == {"first"}
    second = outcomes["second"]
    assert isinstance(second, Failed)
    assert second.reason == "reverted"
    assert second.detail == "erc20: transfer amount exceeds balance"


async def test_round__mined__counts_after_as_many_blocks_as_are_asked_for(by_hand: Gas):
    by_hand.policy = type(by_hand.policy)(3, by_hand.policy.max_fee, BUMP_MS, 0.01)
    by_hand.start()
    await by_hand.want_transfer("t")
    await by_hand.rounds(1)
    for _ in range(2):
        by_hand.mine()
        await by_hand.rounds(1)
        assert by_hand.sink.outcomes == []
    by_hand.mine()
    await by_hand.rounds(1)
    assert [type(event) for event in by_hand.sink.outcomes] == [TxConfirmed]


# Kills


async def test_start__killed_before_the_send__sends_the_same_transaction(gas: Gas):
    await gas.want_transfer("t")
    gas.cable.cut = SEND
    with pytest.raises(Unavailable):
        await gas.rounds(1)
    signed = await gas.kept("t")
    assert (signed.nonce, len(signed.versions), gas.count()) == (0, 1, 0)
    gas.cable.cut = None
    gas.start()
    outcome = (await gas.finish())["t"]
    assert isinstance(outcome, Confirmed)
    assert outcome.transaction == signed.versions[0].hash


async def test_start__answer_to_the_send_was_lost__is_not_sent_as_another(gas: Gas):
    await gas.want_transfer("t")
    gas.cable.mute = SEND
    with pytest.raises(Unavailable):
        await gas.rounds(1)
    gas.cable.mute = None
    gas.start()
    assert confirmed(await gas.finish()) == {"t"}
    assert (gas.count(), gas.received()) == (1, CAI)


async def test_start__waits_in_the_pool__is_known_there_already(by_hand: Gas):
    await by_hand.want_transfer("t")
    await by_hand.rounds(1)
    by_hand.start()
    await by_hand.rounds(2)
    assert by_hand.journal.of(NoteName.TX_STUCK) == []
    by_hand.mine()
    assert confirmed(await by_hand.finish()) == {"t"}


@pytest.mark.parametrize("before", [True, False])
async def test_start__killed_at_every_write__each_takes_effect_once(gas: Gas, before: bool):
    survived = False
    for write in range(1, 12):
        snapshot = gas.anvil.rpc("evm_snapshot")
        gas.start(FatalStore(write, before=before))
        for key in ("a", "b", "c"):
            await gas.want_transfer(key)
        await gas.want("bad", "Staking", "vote", 5, CAI)
        try:
            await gas.finish()
            survived = True
        except Killed:
            assert isinstance(gas.store, FatalStore)
            gas.store.left = 10**6
            gas.start()
            opened = {one.key for one in await gas.store.open_transactions(9)}
            outcomes = await gas.finish()
            assert outcomes.keys() == opened, "all that the core had not taken in, and nothing else"
            assert confirmed(outcomes) == opened - {"bad"}
        assert (gas.count(), gas.received()) == (3, 3 * CAI)
        assert gas.anvil.rpc("evm_revert", snapshot)
    assert survived, "more writes were tried than one run makes"


async def test_take__outcome_that_the_core_has_not_taken_in__is_told_in_every_run(gas: Gas):
    await gas.want_transfer("t")
    await gas.rounds(1)
    await gas.mined(1)
    await gas.rounds(3)
    assert len(gas.sink.outcomes) == 1, "once in a run"
    for _ in range(2):
        gas.start()
        await gas.rounds(2)
        assert [event.key for event in gas.sink.outcomes] == ["t"]
    await gas.store.persist((TransactionSettled("t"),))
    gas.start()
    await gas.rounds(2)
    assert gas.sink.outcomes == []
    gas.outcomes.ask("t")
    await gas.rounds(2)
    assert [event.key for event in gas.sink.outcomes] == ["t"], "asked for again"
    await gas.rounds(1)
    assert gas.outcomes._told == set(), "what is settled needs no memory"
    assert gas.count() == 1


# Fees


async def test_round__stuck__pays_an_eighth_more_under_the_same_nonce(by_hand: Gas):
    await by_hand.want_transfer("t")
    await by_hand.rounds(1)
    for expected in (2, 3):
        by_hand.clock.advance(BUMP_MS - 1)
        await by_hand.rounds(2)
        assert len((await by_hand.kept("t")).versions) == expected - 1
        by_hand.clock.advance(1)
        await by_hand.rounds(2)
        assert len((await by_hand.kept("t")).versions) == expected
    kept = await by_hand.kept("t")
    for older, newer in zip(kept.versions, kept.versions[1:], strict=False):
        assert newer.fee_cap * 8 >= older.fee_cap * 9
        assert newer.tip * 8 >= older.tip * 9
    by_hand.mine()
    outcome = (await by_hand.finish())["t"]
    assert isinstance(outcome, Confirmed)
    assert outcome.transaction == kept.versions[-1].hash
    assert (by_hand.count(), by_hand.received()) == (1, CAI)


async def test_round__older_version_is_mined__is_the_outcome(by_hand: Gas):
    await by_hand.want_transfer("t")
    await by_hand.rounds(1)
    by_hand.cable.cut = SEND
    by_hand.clock.advance(BUMP_MS)
    with pytest.raises(Unavailable):
        await by_hand.rounds(1)
    by_hand.cable.cut = None
    by_hand.mine()
    outcome = (await by_hand.finish())["t"]
    kept = await by_hand.kept("t")
    assert len(kept.versions) == 2
    assert isinstance(outcome, Confirmed)
    assert outcome.transaction == kept.versions[0].hash


async def test_round__fee_limit_reached__says_so_once_and_pays_no_more(by_hand: Gas):
    by_hand.policy = type(by_hand.policy)(1, Wei(4 * GWEI), BUMP_MS, 0.01)
    by_hand.start()
    await by_hand.want_transfer("t")
    for _ in range(16):
        await by_hand.rounds(1)
        by_hand.clock.advance(BUMP_MS)
    kept = await by_hand.kept("t")
    assert max(version.fee_cap for version in kept.versions) <= 4 * GWEI
    assert [noted.fields["reason"] for noted in by_hand.journal.of(NoteName.TX_STUCK)] == ["fee_limit"]
    by_hand.mine()
    assert confirmed(await by_hand.finish()) == {"t"}


async def test_round__node_dropped_its_pool__sends_again(by_hand: Gas):
    await by_hand.want_transfer("t")
    await by_hand.rounds(1)
    by_hand.anvil.rpc("anvil_dropAllTransactions")
    by_hand.clock.advance(BUMP_MS)
    await by_hand.rounds(1)
    by_hand.mine()
    assert confirmed(await by_hand.finish()) == {"t"}


async def test_round__chain_without_base_fee__pays_a_gas_price(gas: Gas):
    gas.cable.edit = lambda answer: answer.replace(b"baseFeePerGas", b"noBaseFeePerGas")
    await gas.want_transfer("t")
    assert confirmed(await gas.finish()) == {"t"}
    sent = gas.anvil.rpc("eth_getTransactionByHash", "0x" + (await gas.kept("t")).versions[-1].hash.hex())
    assert (int(sent["type"], 16), int(sent["gasPrice"], 16)) == (0, (await gas.kept("t")).versions[-1].fee_cap)


# Nonces


async def foreign(gas: Gas, nonce: int) -> None:
    """Somebody else with the same key uses this nonce, and pays well."""
    fees = Fees(Wei(100 * GWEI), Wei(50 * GWEI))
    own = Address(bytes.fromhex(gas.account.address[2:]))
    signed = gas.account.sign(own, b"", nonce=nonce, gas=21_000, fees=fees, now=gas.clock.now())
    await ask(gas.rpc, [("eth_sendRawTransaction", ("0x" + signed.raw.hex(),))])


async def test_round__another_transaction_took_the_nonce__gets_a_new_one_once_that_is_certain(by_hand: Gas):
    by_hand.cable.cut = SEND
    await by_hand.want_transfer("t")
    with pytest.raises(Unavailable):
        await by_hand.rounds(1)
    by_hand.cable.cut = None
    await foreign(by_hand, 0)
    by_hand.mine()
    await by_hand.rounds(3)
    assert (await by_hand.kept("t")).nonce == 0, "perhaps the node only lacks its receipt"
    by_hand.mine(2)
    await by_hand.rounds(2)
    assert (await by_hand.kept("t")).nonce == 1
    by_hand.mine()
    assert confirmed(await by_hand.finish()) == {"t"}
    assert (by_hand.count(), by_hand.received()) == (2, CAI)


async def test_round__another_transaction_waits_under_the_nonce__is_outbid(by_hand: Gas):
    by_hand.policy = type(by_hand.policy)(1, Wei(2000 * GWEI), BUMP_MS, 0.01)
    by_hand.start()
    await foreign(by_hand, 0)
    await by_hand.want_transfer("t")
    for _ in range(60):
        await by_hand.rounds(1)
    by_hand.mine()
    assert confirmed(await by_hand.finish()) == {"t"}
    assert by_hand.count() == 1


async def test_round__mined_and_re_organised_away__is_sent_again_and_ends_once(staking: StakingOnAnvil):
    gas = Gas(staking, confirmations=3)
    gas.fund()
    gas.mine()
    async with gas.rpc:
        await gas.want_transfer("t")
        await gas.rounds(1)
        await gas.mined(1)
        await gas.rounds(1)
        gas.anvil.rpc("anvil_reorg", 1, [])
        gas.anvil.rpc("anvil_dropAllTransactions")
        assert gas.count() == 0
        await gas.rounds(1)
        await gas.mined(1)
        assert "reorganised" in [noted.fields["reason"] for noted in gas.journal.of(NoteName.TX_REPLACED)]
        gas.mine(3)
        assert confirmed(await gas.finish()) == {"t"}
        assert gas.received() == CAI


async def test_round__nonces_fall_back_below_ours__the_gap_is_filled(gas: Gas):
    snapshot = gas.anvil.rpc("evm_snapshot")
    await gas.want_transfer("before")
    await gas.finish()
    gas.anvil.rpc("evm_setAutomine", False)
    await gas.want_transfer("after")
    await gas.rounds(1)
    gas.anvil.rpc("evm_revert", snapshot)  # deeper than what counts as confirmed: "before" is gone
    gas.anvil.rpc("evm_setAutomine", True)
    assert gas.count() == 0
    await gas.rounds(2)
    gas.clock.advance(BUMP_MS)
    await gas.rounds(3)
    assert [noted.fields.get("reason") for noted in gas.journal.of(NoteName.TX_REPLACED)].count("gap") == 1
    assert "after" in confirmed(await gas.finish())
    assert gas.count() == 2


async def test_start__with_another_gas_key__follows_what_the_first_signed_and_begins_with_nonces_of_its_own(
    by_hand: Gas,
):
    by_hand.anvil.rpc("evm_setAutomine", True)
    by_hand.start(secret=b"\x52" * 32)
    by_hand.fund()
    by_hand.anvil.rpc("evm_setAutomine", False)
    by_hand.start()
    await by_hand.want_transfer("first")
    await by_hand.want_transfer("second")
    await by_hand.rounds(1)
    by_hand.start(secret=b"\x52" * 32)
    await by_hand.want_transfer("third")
    await by_hand.rounds(1)
    assert (await by_hand.kept("third")).nonce == 0
    for _ in range(3):
        by_hand.clock.advance(BUMP_MS)
        await by_hand.rounds(2)
    assert len((await by_hand.kept("first")).versions) == 1, "never signed by two accounts"
    by_hand.mine()
    assert confirmed(await by_hand.finish()) == {"first", "second", "third"}
    assert (by_hand.count(), by_hand.received()) == (1, 3 * CAI)


# Balance


async def test_round__account_is_nearly_empty__says_so_once_and_goes_on_when_filled(gas: Gas):
    gas.anvil.rpc("anvil_setBalance", gas.account.address, hex(10**12))
    await gas.want_transfer("t")
    await gas.rounds(4)
    (low,) = gas.journal.of(NoteName.GAS_LOW)
    assert low.fields["account"] == gas.account.address
    assert low.fields["transactions"] == 0
    assert gas.sink.outcomes == []
    gas.fund(0)
    assert confirmed(await gas.finish()) == {"t"}
    assert gas.journal.of(NoteName.GAS_BALANCE)[-1].fields["transactions"] > 20


# The loop


async def test_run__asked_while_it_sleeps__wakes_and_survives_an_outage(gas: Gas):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gas.transactor.run, gas.sink)
        await trio.testing.wait_all_tasks_blocked(0.05)
        gas.cable.cut = b"eth_"
        await gas.want_transfer("t")
        gas.outcomes.ask("t")
        with trio.fail_after(PATIENCE_S):
            while not gas.journal.of(NoteName.TX_STUCK):
                await trio.sleep(0.01)
        gas.cable.cut = None
        await gas.sink.wait_until(lambda sink: sink.outcomes)
        nursery.cancel_scope.cancel()
    assert [event.key for event in gas.sink.outcomes] == ["t"]
    assert len(gas.journal.of(NoteName.TX_STUCK)) == 1


async def test_refuse_all__no_gas_key__fails_by_name_what_was_asked_before_and_during_the_run(gas: Gas):
    await gas.want_transfer("before")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gas.outcomes.refuse_all, gas.sink)
        await gas.sink.wait_until(lambda sink: sink.outcomes)
        await gas.want_transfer("during")
        gas.outcomes.ask("during")
        await gas.sink.wait_until(lambda sink: len(sink.outcomes) == 2)
        nursery.cancel_scope.cancel()
    assert [event.key for event in gas.sink.outcomes] == ["before", "during"]
    for event in gas.sink.outcomes:
        assert isinstance(event.outcome, Failed)
        assert event.outcome.reason == "no_gas_key"
        assert "chain.gas_keystore" in event.outcome.detail
