"""A dispute with an appeal: real contract, what nodes read of it, real cores of all parties, and each juror's own word.

Nobody calls the contract but the cores, the reporter's owner, who reports, and the accused's owner, who appeals. What
an engine would draw is a picture that is made here.
"""

import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from node.adapters.chain.disputes import DisputeReader
from node.adapters.chain.rpc import JsonRpc
from protocol.chain_records import Confirmed, Failed
from protocol.crypto.typed_data import digest, sign
from protocol.effects import CancelTimer, ComparePictures, Effect, FetchBundle, Persist, SetTimer, StartJob, SubmitTx
from protocol.events import (
    BlockSeen,
    BundleFetched,
    DisputesSeen,
    EngineChanged,
    Event,
    JobFinished,
    ModelState,
    PeerUp,
    PicturesCompared,
    Restored,
    StakeChanged,
    TimerFired,
    TxConfirmed,
    TxFailed,
)
from protocol.justice.bundle import Bundle, bundle_digest, signers_of_bundle
from protocol.justice.dispute import Verdict
from protocol.records import VerdictKept
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.core import Core, Identity
from protocol.roles.disputing import DisputePolicy
from protocol.roles.miner.miner import MinerCore
from protocol.stake.epoch import epoch_at
from protocol.stake.table import EpochView, StakeRow, StakeTable
from protocol.task.specification import specification_digest
from protocol.units import Address, BlockNumber, Digest, Epoch, Role, StakingId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Award, Result
from tests.contracts.conftest import World, deployed, raw  # noqa: F401 a fixture
from tests.contracts.court import (
    ACCUSED,
    APPEAL_SEATS,
    DISMISSED,
    EXECUTED,
    FIRST_JUROR,
    JURORS,
    REPORTER,
    SEATS,
    SLASH_BPS,
    UPHELD,
    Court,
)
from tests.protocol.roles.frames import CATALOG, MODEL, NETWORK_ID, NOTHING, PARAMS, PICTURE, SPECIFICATION
from tests.support.chain import Sink
from tests.support.disputed import bundle_of, disputed, said_by_bob
from tests.support.pictures import png

ANOTHER = png(128, 128, 9)
"""Not what the accused delivered."""
assert MODEL.digest is not None
MODEL_DIGEST = MODEL.digest
TAKES_PART = DisputePolicy(takes_part=True)


@pytest.fixture
def court(deployed: World) -> Iterator[Court]:  # noqa: F811 the fixture
    with deployed.anvil.unchanged():
        yield Court.open(deployed)


def evidence(court: Court) -> Bundle:
    """A picture of the accused, signed by keys of this court."""
    encoded, salt, domain, usual = encode(SPECIFICATION), b"s" * 16, court.world.domain, disputed()
    ordered = {
        "coordinator": REPORTER,
        "miner": ACCUSED,
        "specification": specification_digest(encoded, salt),
    }
    statement = usual.award.statement.model_copy(update=ordered)
    award = Award(
        statement=statement,
        signature=sign(court.keys[REPORTER], domain, statement),
        specification=encoded,
        salt=salt,
    )
    made = {"award": digest(domain, statement), "miner": ACCUSED, "specification": statement.specification}
    commitment = usual.result.commitment.model_copy(update=made)
    result = Result(
        commitment=commitment,
        signature=sign(court.keys[ACCUSED], domain, commitment),
        media_type="image/png",
        size=len(PICTURE),
        generation_ms=40,
    )
    said = said_by_bob(by=court.keys[ACCUSED], miner=StakingId(ACCUSED), network=NETWORK_ID)
    return bundle_of(award, result, PICTURE, said)


class Node:
    """One node of the court: a core, what it reads of the chain, and whoever carries out what it wants."""

    def __init__(self, village: "Village", number: int, rpc: JsonRpc) -> None:
        court = village.court
        self.village, self.id, self.reader = village, StakingId(number), DisputeReader(rpc, village.staking)
        self.timers: dict[tuple[str, bytes, int], UnixMillis] = {}
        self.verdicts: list[VerdictKept] = []
        self.like: dict[Digest, bytes] = {}
        """Which picture each one that was drawn is like."""
        self._entropy = 0
        identity = Identity(
            PARAMS.name, NETWORK_ID, PARAMS, court.world.domain, CATALOG, court.keys[number], self._draw
        )
        self.core: Core = (
            CoordinatorCore(identity, tuple, disputes=TAKES_PART)
            if number == REPORTER
            else MinerCore(identity, tuple, Wei(0), disputes=TAKES_PART)
        )

    def _draw(self, count: int) -> bytes:
        self._entropy += 1
        return hashlib.sha256(b"%d/%d" % (self.id, self._entropy)).digest()[:count]

    async def begin(self) -> None:
        """Start, know the table, meet the reporter, and serve the model in the accused's class."""
        village = self.village
        epoch = epoch_at(village.now(), PARAMS)
        await self.hear(Restored(()))
        for number in (epoch - 1, epoch, epoch + 1):
            beacon = Digest(hashlib.sha256(b"beacon %d" % number).digest())
            await self.hear(StakeChanged(EpochView(Epoch(number), village.table, beacon)))
        await self.hear(BlockSeen(BlockNumber(village.height()), village.now()))
        if isinstance(self.core, MinerCore):
            await self.hear(PeerUp(village.court.keys[REPORTER].peer_id))
            state = ModelState(MODEL.name, MODEL_DIGEST, True, 10_000_000, 1, MODEL.sizes, MODEL.max_steps)
            await self.hear(EngineChanged((replace(state, numerics="float32-cpu"),), 1))

    async def hear(self, event: Event) -> None:
        """Handle an event, and all that it leads to."""
        waiting = deque([event])
        while waiting:
            for effect in self.core.handle(waiting.popleft(), self.village.now()):
                waiting.extend(await self._carry_out(effect))

    async def _carry_out(self, effect: Effect) -> list[Event]:
        match effect:
            case SetTimer(key=key, at=at):
                self.timers[key] = at
            case CancelTimer(key=key):
                self.timers.pop(key, None)
            case Persist(records=records):
                self.verdicts += [record for record in records if isinstance(record, VerdictKept)]
            case SubmitTx():
                return [self.village.sent(self.id, effect)]
            case FetchBundle():
                return [await self._fetched(effect)]
            case StartJob(task=task, attempt=attempt):
                picture = self.village.draws + bytes(attempt)  # what lies beside a task is nearly the same
                name = Digest(hashlib.sha256(picture).digest())
                self.like[name] = self.village.draws
                return [JobFinished(task, attempt, picture, name, "image/png", MODEL_DIGEST, NOTHING, 40)]
            case ComparePictures(subject=subject, one=one, other=other):
                return [PicturesCompared(subject, one, other, 1_000 if self._is_like(one, other) else 10**6)]
            case _:
                pass
        return []

    def _is_like(self, one: Digest, other: Digest) -> bool:
        return one in self.like and self.like[one] == self.like.get(other)

    async def _fetched(self, asked: FetchBundle) -> BundleFetched:
        """What the reporter shows to whom the contract drew, and whose keys signed it."""
        village = self.village
        shown = await village.nodes[REPORTER].reader.shown_to(asked.dispute, StakingId(REPORTER), self.id)
        if shown != asked.evidence:
            return BundleFetched(asked.dispute, asked.round, None, "nothing")
        keys = signers_of_bundle(village.bundle, village.court.world.domain, NETWORK_ID)
        signed_by = await self.reader.signing_ids(keys)
        return BundleFetched(asked.dispute, asked.round, village.bundle.data(), "", signed_by)

    async def block(self) -> None:
        """Hear of the newest block, and fire what is due."""
        village, sink = self.village, Sink()
        await self.hear(BlockSeen(BlockNumber(village.height()), village.now()))
        row = village.table.by_id[self.id]
        await self.reader.step(row, BlockNumber(village.height()), sink)
        for event in sink.events:
            assert isinstance(event, DisputesSeen)
            await self.hear(event)
        for key in [key for key, at in self.timers.items() if at <= village.now()]:
            if self.timers.pop(key, None) is not None:
                await self.hear(TimerFired(key))


class Village:
    """All parties of a court, and the chain between them."""

    def __init__(self, court: Court, rpc: JsonRpc) -> None:
        self.court, self.bundle, self.calls = court, evidence(court), list[tuple[int, str]]()
        self.draws = ANOTHER
        """What engines of jurors draw."""
        self.staking = raw(court.world.staking.address)
        rows = court.world.anvil.read(court.world.staking, "nodes", 1, 128)
        self.table = StakeTable.of(
            StakeRow(StakingId(number), Address(bytes.fromhex(row[1][2:])), Role(row[2]), Wei(row[5]), row[3])
            for number, row in enumerate(rows, start=1)
        )
        taking_part = (ACCUSED, REPORTER, *range(FIRST_JUROR, FIRST_JUROR + JURORS))
        self.nodes = {number: Node(self, number, rpc) for number in taking_part}

    def now(self) -> UnixMillis:
        return UnixMillis(self.court.world.anvil.now() * 1000)

    def height(self) -> int:
        return int(self.court.world.anvil.rpc("eth_blockNumber"), 16)

    def sent(self, node: int, effect: SubmitTx) -> Event:
        """Make a node's call, from an account that is no party."""
        call = effect.call
        try:
            self.court.send(self.court.world.treasury, call.function, *call.arguments)
        except Exception as refusal:
            return TxFailed(effect.key, Failed("reverted", str(refusal)))
        self.calls.append((node, call.function))
        return TxConfirmed(effect.key, Confirmed(BlockNumber(self.height()), Digest(bytes(32)), (), Wei(0)))

    async def until(self, number: int, status: int, blocks: int = 80) -> None:
        """Let blocks pass until a dispute has come so far."""
        for _ in range(blocks):
            if self.court.status(number) == status:
                return
            self.court.mine(4)
            for node in self.nodes.values():
                await node.block()
        raise AssertionError(self.court.dispute(number))

    def has(self, party: int) -> int:
        """Give what the owner of a node has (wei of CAI)."""
        return int(self.court.world.anvil.read(self.court.world.cai, "balanceOf", self.court.owners[party]))

    def said(self, number: int, round_: int) -> dict[int, set[Verdict]]:
        return {
            node.id: {Verdict(kept.verdict) for kept in node.verdicts if (kept.dispute, kept.round) == (number, round_)}
            for node in self.nodes.values()
            if any((kept.dispute, kept.round) == (number, round_) for kept in node.verdicts)
        }


@pytest.fixture
async def village(court: Court) -> AsyncIterator[Village]:
    """All parties at work, and the accused found wrong by the first jury."""
    async with JsonRpc([court.world.anvil.url]) as rpc:
        village = Village(court, rpc)
        for node in village.nodes.values():
            await node.begin()
        digest_of = bytes(bundle_digest(village.bundle.data()))
        court.send(court.owners[REPORTER], "report", ACCUSED, REPORTER, digest_of)
        await village.until(1, UPHELD)
        assert list(village.said(1, 0).values()) == [{Verdict.WRONG}] * SEATS
        yield village


async def test_appeal__wrong_picture__others_confirm_it_and_the_accused_pays(
    village: Village,
) -> None:
    court, stake, accused = village.court, village.court.stake(), village.has(ACCUSED)
    reporter = village.has(REPORTER)
    court.appeal(1)
    await village.until(1, EXECUTED)
    first, second = village.said(1, 0).keys(), village.said(1, 1)
    assert list(second.values()) == [{Verdict.WRONG}] * APPEAL_SEATS
    assert not first & second.keys(), "others than before"
    assert not {ACCUSED, REPORTER} & (first | second.keys())
    assert stake - court.stake() == stake * SLASH_BPS // 10_000
    assert village.has(ACCUSED) < accused
    assert village.has(REPORTER) > reporter, "bond and fees are back, and a bounty comes with it"
    assert {function for _, function in village.calls} == {"close", "draw", "execute", "vote"}


async def test_appeal__engines_of_the_first_jury_were_wrong__others_find_it_right(village: Village) -> None:
    court, stake = village.court, village.court.stake()
    court.appeal(1)
    village.draws = PICTURE
    await village.until(1, DISMISSED)
    assert list(village.said(1, 1).values()) == [{Verdict.RIGHT}] * APPEAL_SEATS
    assert court.stake() == stake
    assert court.world.node(ACCUSED)["active"]
    assert not [node for node, function in village.calls if function == "execute"]
