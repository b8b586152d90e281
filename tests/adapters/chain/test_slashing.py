"""What the chain says of evidence before anybody pays, and a proof from finding to slash over kills at every write."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from contracts.bindings import load
from node.adapters.chain.abi import call_data
from node.adapters.chain.gas_account import GasAccount
from node.adapters.chain.outcomes import Outcomes
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.slashing import MAX_WAITING, ProofChecker, Questions
from node.adapters.chain.transactor import GasPolicy, Transactor
from protocol.chain_records import TransactionRequested
from protocol.effects import CheckEvidence, Effect, Persist, SubmitTx
from protocol.events import Event, EvidenceChecked, Provability, Restored
from protocol.justice.evidence import Evidence, Rise, Signed, TwoCommitments, Understated, name_of, of_pair, proof_call
from protocol.records import CaseChanged, CaseState, Record
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.prosecution import KEY, ProofPolicy
from protocol.units import Address, Wei
from tests.adapters.chain.gas import BUMP_MS, GWEI, SECRET, FatalStore, Killed
from tests.contracts.conftest import UNBONDING_DELAY_S, World, deployed, raw  # noqa: F401 a fixture
from tests.contracts.market import BOBS, COORDINATOR, Market
from tests.contracts.proofs import BOUNTY_BPS, JAIL_S, KINDS, SLASH_BPS, Kind, commitment, prove, voucher
from tests.protocol.roles.seats import CoordinatorSeat
from tests.support.chain import Cable, Sink
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.patience import PATIENCE_S

EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
PROVES = ProofPolicy(proves=True)


@pytest.fixture
def market(deployed: World) -> Iterator[Market]:  # noqa: F811 the fixture
    with deployed.anvil.unchanged():
        yield Market.open(deployed)


def evidence_of(market: Market, kind: Kind = KINDS[0], **changed: Any) -> Evidence:
    """Two statements of one node that contradict each other, as it signed them."""
    key = kind.key(market)
    first, second = kind.make(**changed), kind.make(**(kind.different | changed))
    found = of_pair(Signed(first, market.sign(first, key)), Signed(second, market.sign(second, key)))
    assert found is not None
    return found


def understated(market: Market) -> Understated:
    early, late = (
        Signed(one, market.sign(one))
        for one in (
            voucher(cumulative=10, sequence=1, issued_total=20),
            voucher(cumulative=20, sequence=2, issued_total=22),
        )
    )
    return Understated(early, late, (Rise(early, late),))


@dataclass
class Answers:
    """A checker of the coordinator's node."""

    market: Market
    cable: Cable
    checker: ProofChecker

    async def check(self, evidence: Evidence) -> EvidenceChecked:
        return await self.checker.check(evidence)


@pytest.fixture
async def answers(market: Market) -> Any:
    cable = Cable()
    async with JsonRpc([market.world.anvil.url], chain_id=31_337, transport=cable) as rpc:
        staking = raw(market.world.staking.address)
        yield Answers(market, cable, ProofChecker(rpc, staking, market.key.address, RecordingJournal()))


@EVERY_KIND
async def test_check__evidence_of_each_kind__is_provable_with_the_bounty_for_our_owner(answers: Answers, kind: Kind):
    evidence = evidence_of(answers.market, kind)
    answer = await answers.check(evidence)
    assert answer.name == name_of(evidence)
    assert (answer.answer, answer.detail) == (Provability.PROVABLE, "")
    assert answer.receiver == raw(answers.market.world.alice)
    block = answers.market.world.anvil.rpc("eth_getBlockByNumber", "latest", False)
    assert answer.gas_price == int(block["baseFeePerGas"], 16)


async def test_check__understated_total__is_provable(answers: Answers):
    assert (await answers.check(understated(answers.market))).answer is Provability.PROVABLE


@EVERY_KIND
async def test_check__shown_by_somebody_else__is_already_proven(answers: Answers, kind: Kind):
    prove(answers.market, kind)
    assert (await answers.check(evidence_of(answers.market, kind))).answer is Provability.ALREADY_PROVEN


async def test_check__signer_was_slashed_lately__is_in_its_respite_and_provable_afterwards(answers: Answers):
    market = answers.market
    prove(market, KINDS[0])
    other = evidence_of(market, award=b"b" * 32)
    assert (await answers.check(other)).answer is Provability.RESPITE
    market.world.anvil.wait(2 * UNBONDING_DELAY_S)
    assert (await answers.check(other)).answer is Provability.PROVABLE


async def test_check__signature_of_another_key__is_refused_in_the_contracts_words(answers: Answers):
    market = answers.market
    first, second = commitment(), commitment(artifact=b"x" * 32)
    forged = TwoCommitments(
        Signed(first, market.sign(first, market.bobs_key)), Signed(second, market.sign(second, market.carols_key))
    )
    answer = await answers.check(forged)
    assert answer.answer is Provability.REFUSED
    assert answer.detail == "Slashing: a statement is not signed by a key of the node"


async def test_check__signer_has_taken_everything_away__has_nothing_left(answers: Answers):
    world = answers.market.world
    world.unvote(world.bob, BOBS, 2**256 - 1)
    assert (await answers.check(evidence_of(answers.market))).answer is Provability.PROVABLE, "it is unbonding"
    world.anvil.wait(UNBONDING_DELAY_S)
    world.withdraw(world.bob, 0)
    assert (await answers.check(evidence_of(answers.market))).answer is Provability.NOTHING_LEFT


async def test_check__our_key_is_not_registered__names_nobody(answers: Answers):
    stranger = ProofChecker(
        answers.checker._rpc, raw(answers.market.world.staking.address), Address(b"\x07" * 20), RecordingJournal()
    )
    assert (await stranger.check(evidence_of(answers.market))).receiver == bytes(20)


async def test_run__chain_node_away__answers_once_it_is_back(answers: Answers, autojump_clock: Any):
    autojump_clock.autojump_threshold = 0.3  # the chain is a real process: its answers take real time
    questions, sink = Questions(), Sink()
    evidence = evidence_of(answers.market)
    answers.cable.cut = b"eth_call"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.checker.run, questions, sink)
        questions.add(evidence)
        questions.add(evidence)
        await trio.sleep(5)
        assert sink.events == []
        answers.cable.cut = None
        with trio.fail_after(300):
            while not sink.events:
                await trio.sleep(1)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    (answer,) = sink.events
    assert isinstance(answer, EvidenceChecked)
    assert answer.answer is Provability.PROVABLE


def test_questions__more_than_a_core_has_on_file__are_not_taken(market: Market):
    questions = Questions()
    for number in range(MAX_WAITING + 10):
        one = commitment(award=number.to_bytes(32, "big"))
        two = commitment(award=number.to_bytes(32, "big"), artifact=b"x" * 32)
        questions.add(TwoCommitments(Signed(one, b""), Signed(two, b"")))
    assert len(questions._waiting) == MAX_WAITING


# From finding to slash


class FatalNodeStore(FatalStore):
    """Dies at what the core persists too."""

    async def persist(self, records: tuple[Record, ...]) -> None:
        keep = super().persist
        await self._write_or_die(lambda: keep(records))


class Node:
    """A coordinator's core, store and gas account on the real chain; each object is one run of it."""

    def __init__(self, market: Market, store: FatalStore, *, policy: ProofPolicy = PROVES) -> None:
        self.market, self.store = market, store
        self.journal, self.sink = RecordingJournal(), Sink()
        self.rpc = JsonRpc([market.world.anvil.url], chain_id=31_337)
        staking = raw(market.world.staking.address)
        self.checker = ProofChecker(self.rpc, staking, market.key.address, self.journal)
        self.account = GasAccount(SECRET, 31_337)
        self.transactor = Transactor(
            self.rpc,
            self.account,
            staking,
            store=store,
            outcomes=Outcomes(store, self.journal),
            clock=HandClock(),
            journal=self.journal,
            policy=GasPolicy(1, Wei(200 * GWEI), BUMP_MS, 0.01),
        )
        seat = CoordinatorSeat()
        self.now = seat.now
        self.core = CoordinatorCore(seat.identity, tuple, prove=policy)

    async def hear(self, event: Event) -> None:
        """As the driver does it: durable first, then the rest."""
        await self.act(self.core.handle(event, self.now))

    async def act(self, effects: tuple[Effect, ...]) -> None:
        records: list[Record] = []
        for effect in effects:
            if isinstance(effect, Persist):
                records += effect.records
            elif isinstance(effect, SubmitTx):
                records.append(TransactionRequested(effect.key, effect.call))
        if records:
            await self.store.persist(tuple(records))
        for effect in effects:
            if isinstance(effect, CheckEvidence):
                await self.hear(await self.checker.check(effect.evidence))

    async def find(self, evidence: Evidence) -> None:
        self.core._effects = []
        self.core._prosecution.file(evidence)
        await self.act(tuple(self.core._effects))

    async def settle(self) -> None:
        """Run the transactor until nothing is under way."""
        told = 0
        with trio.fail_after(PATIENCE_S):
            while await self.transactor.round(self.sink) or told < len(self.sink.outcomes):
                for outcome in self.sink.outcomes[told:]:
                    await self.hear(outcome)
                told = len(self.sink.outcomes)

    async def live(self, evidence: Evidence) -> None:
        """One run: remember, find what is there to find, and bring it to an end."""
        try:
            await self.hear(Restored(await self.store.load()))
            await self.find(evidence)
            await self.settle()
        finally:
            await self.rpc.close()

    def transactions(self) -> int:
        anvil = self.market.world.anvil
        return int(anvil.rpc("eth_getTransactionCount", self.account.address, "latest"), 16)


def state_of(store: FatalStore) -> CaseChanged:
    ((_, changed),) = store._evidence.values()
    assert changed is not None
    return changed


def slashes(market: Market) -> list[dict[str, Any]]:
    logs = market.world.anvil.rpc("eth_getLogs", {"address": market.world.slashing.address, "fromBlock": "0x0"})
    return list(logs)


def fund(market: Market) -> None:
    market.world.anvil.rpc("anvil_setBalance", GasAccount(SECRET, 31_337).address, hex(10**19))


async def test_proof__of_two_commitments__slashes_jails_and_pays_our_owner(market: Market):
    fund(market)
    world = market.world
    before, supply = world.node(BOBS)["effective_stake"], world.anvil.read(world.cai, "totalSupply")
    paid, own = world.balance(world.alice), world.node(BOBS)["self_stake"]
    store = FatalNodeStore()
    node = Node(market, store)
    await node.live(evidence_of(market))
    slashed = before * SLASH_BPS // 10_000
    bounty = own * SLASH_BPS // 10_000 * BOUNTY_BPS // 10_000
    assert world.node(BOBS)["effective_stake"] == before - slashed
    assert not world.node(BOBS)["active"]
    assert world.standing(BOBS)["jailed_until"] == world.anvil.now() + JAIL_S
    assert world.balance(world.alice) == paid + bounty
    assert world.anvil.read(world.cai, "totalSupply") == supply - slashed + bounty
    changed = state_of(store)
    assert (changed.state, changed.slashed, changed.bounty) == (CaseState.PROVEN, slashed, bounty)
    assert changed.transaction is not None
    receipt = world.anvil.rpc("eth_getTransactionReceipt", "0x" + changed.transaction.hex())
    assert receipt["from"].lower() == node.account.address.lower()


async def test_proof__of_an_understated_total__slashes_the_coordinator(market: Market):
    fund(market)
    store = FatalNodeStore()
    await Node(market, store).live(understated(market))
    assert state_of(store).state is CaseState.PROVEN
    assert not market.world.node(COORDINATOR)["active"]


async def test_proof__killed_before_or_after_each_write__ends_with_one_slash_and_one_transaction(market: Market):
    fund(market)
    evidence = evidence_of(market)
    anvil = market.world.anvil
    finished = 0
    for before in (True, False):
        for writes in range(1, 40):
            with anvil.unchanged():
                store = FatalNodeStore(writes, before=before)
                with suppress(Killed):
                    await Node(market, store).live(evidence)
                died = store.left < 1
                store.left = math.inf
                last = Node(market, store)
                await last.live(evidence)
                assert state_of(store).state is CaseState.PROVEN
                assert len(slashes(market)) == 1, (before, writes)
                assert last.transactions() == 1, (before, writes)
                assert len([key for key in store._transactions if key.startswith(KEY)]) == 1
            if not died:
                finished += 1
                break
    assert finished == 2, "each write was died at"


async def test_proof__somebody_shows_it_between_the_check_and_the_transaction__costs_no_gas(market: Market):
    fund(market)
    store = FatalNodeStore()
    node = Node(market, store)
    await node.find(evidence_of(market))
    assert state_of(store).state is CaseState.ASKED
    prove(market, KINDS[0])
    await node.settle()
    await node.rpc.close()
    assert state_of(store).state is CaseState.ALREADY_PROVEN
    assert node.transactions() == 0


async def test_proof__somebody_is_mined_before_ours__is_already_proven_and_not_tried_again(market: Market):
    fund(market)
    anvil, store = market.world.anvil, FatalNodeStore()
    node = Node(market, store)
    await node.find(evidence_of(market))
    anvil.rpc("evm_setAutomine", False)
    try:
        await node.transactor.round(node.sink)
        call = {"from": market.world.carol, "to": market.world.slashing.address, "gas": hex(2_000_000)}
        call |= {"data": _proof_data(market), "maxPriorityFeePerGas": hex(50 * GWEI), "maxFeePerGas": hex(100 * GWEI)}
        anvil.rpc("eth_sendTransaction", call)
        anvil.rpc("evm_mine")
    finally:
        anvil.rpc("evm_setAutomine", True)
    await node.settle()
    assert state_of(store).state is CaseState.ALREADY_PROVEN
    again = Node(market, store)
    await again.live(evidence_of(market))
    await node.rpc.close()
    assert again.transactions() == 1
    assert len(slashes(market)) == 1


def _proof_data(market: Market) -> str:
    """What carol sends: the same proof."""
    call = proof_call(evidence_of(market), raw(market.world.carol))
    return "0x" + call_data(load("Slashing"), call.function, call.arguments).hex()


async def test_proof__signer_in_its_respite__is_not_sent(market: Market):
    fund(market)
    prove(market, KINDS[0])
    store = FatalNodeStore()
    node = Node(market, store)
    await node.live(evidence_of(market, award=b"b" * 32))
    changed = state_of(store)
    assert (changed.state, changed.detail.split(":")[0]) == (CaseState.GIVEN_UP, "respite")
    assert node.transactions() == 0
