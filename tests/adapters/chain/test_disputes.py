"""What a node hears of disputes that concern it, read block by block from the contract on a real chain."""

from collections.abc import AsyncIterator, Iterator

import pytest

from node.adapters.chain.disputes import IN_TURN, DisputeReader
from node.adapters.chain.rpc import JsonRpc
from protocol.crypto.keys import NodeKey
from protocol.errors import Unavailable
from protocol.events import DisputesSeen
from protocol.justice.dispute import KEEPER_TURN, SEED_LASTS, DisputeSeen, Seat, Status, Step, due_step, step_call
from protocol.stake.table import StakeRow
from protocol.units import Address, BlockNumber, Role, StakingId
from tests.contracts.conftest import World, deployed, raw  # noqa: F401 a fixture
from tests.contracts.court import (
    ACCUSED,
    EVIDENCE,
    FIRST_JUROR,
    IDLE,
    REPORTER,
    RIGHT,
    SEATS,
    SEED_BLOCKS,
    TWIN,
    VERDICT_WINDOW_S,
    Court,
)
from tests.contracts.court import WRONG as FOUND_WRONG
from tests.support.chain import Sink


@pytest.fixture(scope="module")
def opened(deployed: World) -> Iterator[Court]:  # noqa: F811 the fixture
    with deployed.anvil.unchanged():
        yield Court.open(deployed)


@pytest.fixture
def court(opened: Court) -> Iterator[Court]:
    with opened.put_back() as court:
        yield court


class Follower:
    """One node that follows the contract."""

    def __init__(self, rpc: JsonRpc, court: Court, node: int) -> None:
        self.rpc, self.court, self.node = rpc, court, StakingId(node)
        self.reader = DisputeReader(rpc, raw(court.world.staking.address))
        self.sink = Sink()

    async def step(self, behind: int = 0) -> tuple[DisputeSeen, ...] | None:
        """Read the newest block, or one before; gives what is told, None where nothing is."""
        row = StakeRow(self.node, Address(bytes(20)), Role.MINER, 1, True)
        head = int(self.court.world.anvil.rpc("eth_blockNumber"), 16)
        before = len(self.sink.events)
        await self.reader.step(row, BlockNumber(head - behind), self.sink)
        told = [event for event in self.sink.events[before:] if isinstance(event, DisputesSeen)]
        assert len(told) <= 1
        if not told:
            return None
        assert told[0].block == head - behind
        return told[0].disputes


@pytest.fixture
async def rpc(court: Court) -> AsyncIterator[JsonRpc]:
    async with JsonRpc([court.world.anvil.url]) as found:
        yield found


async def test_step__no_disputes_or_of_others__tells_nothing(court: Court, rpc: JsonRpc) -> None:
    stranger, reporter = Follower(rpc, court, TWIN), Follower(rpc, court, REPORTER)
    assert await stranger.step() is None
    court.report()
    assert await stranger.step() is None
    (seen,) = await reporter.step() or ()
    assert (seen.number, seen.accused, seen.reporter, seen.evidence) == (1, ACCUSED, REPORTER, EVIDENCE)
    assert (seen.status, seen.seats, seen.taken, seen.seat) == (Status.DRAWING, SEATS, 0, Seat.NONE)
    assert await reporter.step() is None, "the same block again"


async def test_step__whole_life__is_told_to_each_party_and_what_is_due_is_what_the_contract_takes(
    court: Court, rpc: JsonRpc
) -> None:
    accused, anvil = Follower(rpc, court, ACCUSED), court.world.anvil
    number, sent = court.report(), []
    for _ in range(40):
        (seen,) = await accused.step() or ()
        step = due_step(seen, BlockNumber(int(anvil.rpc("eth_blockNumber"), 16)), anvil.now())
        if step is not None:
            call = step_call(seen, step)
            court.send(court.world.treasury, call.function, *call.arguments)
            sent.append(call.function)
        elif seen.status is Status.VOTING:
            court.vote(number, dict.fromkeys(court.jurors(number), FOUND_WRONG))
        elif seen.status is Status.UPHELD:
            anvil.wait(VERDICT_WINDOW_S)
        else:
            court.mine(1)
        if seen.status is Status.UPHELD and step is not None:
            break
    (seen,) = await accused.step() or ()
    assert (seen.status, seen.wrong) == (Status.EXECUTED, SEATS), "its end is told once"
    assert sent == ["draw", "close", "execute"]
    court.mine(1)
    assert await accused.step() is None


async def test_step__first_jury_that_nobody_draws__is_told_to_others_one_after_the_other(
    court: Court, rpc: JsonRpc
) -> None:
    """Its reporter is away, and the accused likes it: without them its seed is lost, and an honest bond burns."""
    number = court.report()
    first, second = (Follower(rpc, court, node) for node in (TWIN, IDLE))  # who are not drawn, whatever the seed
    assert await first.step() is None
    court.mine(SEED_BLOCKS - 1)
    court.mine(KEEPER_TURN + 2 * (TWIN - number) - 1)
    assert (await first.step(), await second.step()) == (None, None)
    court.mine(1)
    (seen,) = await first.step() or ()
    assert (seen.number, seen.is_kept, seen.seat, await second.step()) == (number, True, Seat.NONE, None)
    assert due_step(seen, BlockNumber(int(court.world.anvil.rpc("eth_blockNumber"), 16)), 0) is Step.DRAW
    court.mine(2)
    assert len(await second.step() or ()) == 1
    court.draw(number)
    assert await first.step() == ()
    court.mine(1)
    assert await first.step() is None


async def test_step__seed_that_nobody_stored_in_time__is_told_to_no_keeper_and_a_stored_one_is(
    court: Court, rpc: JsonRpc
) -> None:
    number = court.report()
    court.mine(SEED_BLOCKS)
    with court.world.anvil.unchanged():
        court.mine(SEED_LASTS)
        assert await Follower(rpc, court, TWIN).step() is None
    court.draw(number, 1)
    court.mine(SEED_LASTS)
    (seen,) = await Follower(rpc, court, TWIN).step() or ()
    assert seen.is_kept


def answering(*words: int) -> str:
    """Give the code of a contract that answers every question with these words."""
    size = 32 * len(words)
    data = b"".join(word.to_bytes(32, "big") for word in words)
    return "0x61" + f"{size:04x}" + "600e600039" + "61" + f"{size:04x}" + "6000f3" + data.hex()


@pytest.mark.parametrize("word", [77, 2**63, 2**159])
async def test_step__answers_that_no_disputes_contract_gives__are_the_chain_nodes_fault(
    court: Court, rpc: JsonRpc, word: int
) -> None:
    """Of a chain node that lies, or of a later contract that knows more states than this release."""
    reporter = Follower(rpc, court, REPORTER)
    court.report()
    assert len(await reporter.step() or ()) == 1
    small = word if word < 2**8 else 1
    row = (ACCUSED, REPORTER, 1, 1, 1, small, 0, word, word, word)
    court.world.anvil.rpc("anvil_setCode", court.world.disputes.address, answering(*row))
    court.mine(1)
    with pytest.raises(Unavailable):
        await reporter.step()


async def test_step__chain_went_back_behind_a_dispute__forgets_it(opened: Court, court: Court, rpc: JsonRpc) -> None:
    reporter = Follower(rpc, court, REPORTER)
    with opened.put_back() as gone:
        gone.report()
        assert len(await reporter.step() or ()) == 1
    court.world.anvil.rpc("anvil_mine", "0x10")
    assert await reporter.step() == (), "as far as the chain knows, it never was"
    assert await reporter.step() is None


async def test_step__drawn_as_a_juror__is_told_whose_seat_it_is(court: Court, rpc: JsonRpc) -> None:
    number = court.report()
    jurors = court.seat_all(number)
    juror = Follower(rpc, court, jurors[0])
    (seen,) = await juror.step() or ()
    assert (seen.status, seen.seat, seen.is_own_owners) == (Status.VOTING, Seat.DRAWN, False)
    court.vote(number, {jurors[0]: RIGHT})
    (seen,) = await juror.step() or ()
    assert (seen.seat, seen.right) == (Seat.HAS_JUDGED, 1)
    other = next(node for node in range(FIRST_JUROR, FIRST_JUROR + 18) if node not in jurors)
    assert await Follower(rpc, court, other).step() is None


async def test_step__behind_the_head__tells_of_that_block_alone(court: Court, rpc: JsonRpc) -> None:
    court.report()
    court.mine(3)
    late = Follower(rpc, court, REPORTER)
    assert await late.step(behind=4) is None, "it was not begun there"
    assert len(await late.step(behind=3) or ()) == 1


async def test_step__staking_contract_of_before_there_were_disputes__knows_none_and_is_no_outage(
    court: Court, rpc: JsonRpc
) -> None:
    court.report()
    old = Follower(rpc, court, REPORTER)
    old.reader = DisputeReader(rpc, raw(court.world.cai.address))  # any contract that does not have the function
    assert await old.step() is None
    assert old.reader.is_unknown
    assert await old.reader.shown_to(1, StakingId(REPORTER), StakingId(FIRST_JUROR)) is None


async def test_step__many_disputes_of_others__are_looked_at_in_turn(court: Court, rpc: JsonRpc) -> None:
    assert IN_TURN >= 1
    first, second = court.report(), court.report(accused=FIRST_JUROR)
    reader = Follower(rpc, court, TWIN)
    await reader.step()
    assert reader.reader._open == {first, second}
    reader.reader._last_in_turn = first
    assert reader.reader._turn() == [second, first]


async def test_step__block_that_is_known__is_not_read_again(court: Court, rpc: JsonRpc) -> None:
    court.report()
    reporter = Follower(rpc, court, REPORTER)
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    known = block | {"timestamp": hex(12345)}
    row = StakeRow(StakingId(REPORTER), Address(bytes(20)), Role.COORDINATOR, 1, True)
    await reporter.reader.step(row, BlockNumber(int(block["number"], 16)), reporter.sink, known)
    assert [(event.at_s, len(event.disputes)) for event in reporter.sink.events] == [(12345, 1)]


async def test_signing_ids__keys_of_nodes_and_of_nobody__are_told_apart(court: Court, rpc: JsonRpc) -> None:
    keys = (court.keys[ACCUSED].address, NodeKey(b"\x77" * 32).address, court.keys[REPORTER].address)
    reader = DisputeReader(rpc, raw(court.world.staking.address))
    assert await reader.signing_ids(keys) == (ACCUSED, None, REPORTER)
    assert await reader.signing_ids(()) == ()


async def test_shown_to__jurors_alone__see_evidence_and_only_while_they_judge(court: Court, rpc: JsonRpc) -> None:
    number = court.report()
    jurors = court.seat_all(number)
    reader = DisputeReader(rpc, raw(court.world.staking.address))
    reporter = StakingId(REPORTER)
    for node in court.owners:
        wanted = EVIDENCE if node in jurors else None
        assert await reader.shown_to(number, reporter, StakingId(node)) == wanted
    juror = StakingId(jurors[0])
    assert await reader.shown_to(number, StakingId(TWIN), juror) is None, "another reporter's"
    assert await reader.shown_to(number + 1, reporter, juror) is None
    court.vote(number, dict.fromkeys(jurors, RIGHT))
    court.close(number)
    assert await reader.shown_to(number, reporter, juror) is None, "it is over"


async def test_step__chain_node_away__raises_and_goes_on_where_it_was(court: Court, rpc: JsonRpc) -> None:
    court.report()
    follower = Follower(rpc, court, REPORTER)
    with pytest.raises(Unavailable):
        await follower.reader.step(
            StakeRow(StakingId(REPORTER), Address(bytes(20)), Role.COORDINATOR, 1, True),
            BlockNumber(10**9),
            follower.sink,
        )
    assert len(await follower.step() or ()) == 1
