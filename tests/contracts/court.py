"""A network with enough independent operators for two rounds of a dispute, and a model of the draw in Python."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from eth_abi import encode

from protocol.crypto.keys import NodeKey, keccak256
from protocol.crypto.typed_data import sign
from protocol.units import CAI
from protocol.wire.statements import VerdictStatement
from tests.contracts.conftest import COORDINATOR_MINIMUM, MINER_MINIMUM, World
from tests.contracts.market import fields

ACCUSED, REPORTER, TWIN, IDLE = 1, 2, 3, 4
"""Staking ids: the accused miner; the coordinator that reports; a miner of the accused's owner; a
miner that weighs and is not active."""
FIRST_JUROR = 5
JURORS = 18
CAP = 10 * MINER_MINIMUM
EVIDENCE = b"e" * 32
BOND, APPEAL_BOND = 1_000 * CAI, 5_000 * CAI
SEATS, APPEAL_SEATS = 5, 11
FEE = BOND // (3 * SEATS)
"""Of each juror who judged, in either round."""
VERDICT_WINDOW_S = APPEAL_WINDOW_S = 125
DRAW_WINDOW_S = 62
ACCUSED_STAKE = 500_000 * CAI
SLASH_BPS = 200
WRONG, RIGHT, CANNOT_JUDGE = 1, 2, 3
DRAWING, VOTING, UPHELD, CONFIRMED, VOID, DISMISSED, UNDECIDED, EXECUTED, LAPSED = range(1, 10)
MAX_TRIES = 4096
SEED_BITS = 16
SEED_BLOCKS = 4 + SEED_BITS
"""Blocks until a round's seed is known."""

Sent = list[dict[str, Any]]


@dataclass(frozen=True)
class Candidate:
    """What the draw reads of a node."""

    owner: str
    stake: int
    miner: bool = True
    active: bool = True


def drawn(
    seed: bytes, candidates: list[Candidate], seats: int, excluded: Iterable[str] = (), tries: int = MAX_TRIES
) -> list[int]:
    """Give the ids of the jurors in the order in which they are drawn; fewer when the tries are used up."""
    out, jurors = set(excluded), list[int]()
    for number in range(tries):
        if len(jurors) == seats:
            break
        word = int.from_bytes(keccak256(encode(["bytes32", "uint256"], [seed, number])), "big")
        juror = 1 + (word & (2**128 - 1)) % len(candidates)
        one = candidates[juror - 1]
        accepted = (word >> 128) * CAP < min(one.stake, CAP) << 128
        if accepted and one.miner and one.active and one.owner not in out:
            out.add(one.owner)
            jurors.append(juror)
    return jurors


@dataclass
class Court:
    """The people, and short ways to say what they do. Account n of ``owners`` owns node n."""

    world: World
    owners: dict[int, str] = field(default_factory=dict)
    keys: dict[int, NodeKey] = field(default_factory=dict)

    @classmethod
    def open(cls, world: World, jurors: int = JURORS) -> "Court":
        court = cls(world)
        accused, reporter = court.person(0), court.person(1)
        court.register(accused, ACCUSED_STAKE)
        court.register(reporter, COORDINATOR_MINIMUM + 1, role=2)
        court.register(accused, 2 * CAP)
        court.register(court.person(2), 2 * CAP)
        world.unvote(court.owners[IDLE], IDLE, 2 * CAP)
        world.anvil.send(world.treasury, world.cai, "approve", world.staking.address, 2**256 - 1)
        world.vote(world.treasury, IDLE, 2 * CAP)
        for number in range(jurors):
            court.register(court.person(3 + number), (60_000 + 10_000 * number) * CAI)
        world.begin_epoch()
        return court

    @contextmanager
    def put_back(self) -> Iterator["Court"]:
        """Give a court to change; afterwards chain and people are as they were."""
        with self.world.anvil.unchanged():
            yield replace(self, owners=dict(self.owners), keys=dict(self.keys))

    def person(self, number: int) -> str:
        """Make somebody with CAI who has approved Staking and Disputes."""
        world = self.world
        address = f"0x{0xC0FFEE0000 + number:040x}"
        world.anvil.impersonate(address)
        world.anvil.send(world.treasury, world.cai, "transfer", address, 5_000_000 * CAI)
        for contract in (world.staking, world.disputes):
            world.anvil.send(address, world.cai, "approve", contract.address, 2**256 - 1)
        return address

    def register(self, owner: str, stake: int, role: int = 1) -> int:
        key = self.world.key()
        node = len(self.owners) + 1
        self.world.register(owner, stake, role, node_key=key)
        self.owners[node], self.keys[node] = owner, key
        return node

    def send(self, sender: str, function: str, *arguments: Any) -> Sent:
        """Send to Disputes."""
        return self.world.anvil.send(sender, self.world.disputes, function, *arguments)

    def read(self, function: str, *arguments: Any) -> Any:
        return self.world.anvil.read(self.world.disputes, function, *arguments)

    def report(self, accused: int = ACCUSED, reporter: int = REPORTER, sender: str | None = None) -> int:
        """Report the accused; gives the dispute's number."""
        self.send(sender or self.owners[reporter], "report", accused, reporter, EVIDENCE)
        return self.read("dispute_count")

    def mine(self, blocks: int = SEED_BLOCKS, interval: int = 0) -> None:
        """Let blocks pass, so many that the seed of a round is known."""
        self.world.anvil.rpc("anvil_mine", hex(blocks), hex(interval))

    def seed(self, dispute: int, round_: int = 0) -> bytes:
        """Compute what the seed of a round is from the hashes of its blocks."""
        bits, last = 0, self.panel(dispute, round_)["seed_block"]
        for number in range(last, last - SEED_BITS, -1):
            block = self.world.anvil.rpc("eth_getBlockByNumber", hex(number), False)
            bits = 2 * bits + int(block["hash"], 16) % 2
        return keccak256(encode(["uint256", "uint256", "uint32"], [bits, dispute, round_]))

    def draw(self, dispute: int, tries: int = 128) -> Sent:
        return self.send(self.world.treasury, "draw", dispute, tries)

    def seat_all(self, dispute: int) -> list[int]:
        """Draw until all seats of the round are taken; gives the jurors."""
        self.mine()
        while self.status(dispute) == DRAWING:
            self.draw(dispute)
        return self.jurors(dispute)

    def jurors(self, dispute: int) -> list[int]:
        """Give those who hold a seat of the present round and have not spoken."""
        round_ = self.dispute(dispute)["round"]
        return [node for node in self.owners if self.read("seat", dispute, node) == (round_, 1)]

    def verdict(self, dispute: int, juror: int, verdict: int, round_: int = 0) -> tuple[tuple[Any, ...], bytes]:
        statement = VerdictStatement.model_construct(dispute=dispute, round=round_, juror=juror, verdict=verdict)
        return fields(statement), sign(self.keys[juror], self.world.domain, statement)

    def vote(self, dispute: int, verdicts: dict[int, int], round_: int = 0) -> Sent:
        """Bring signed verdicts, by somebody who is no party."""
        signed = [self.verdict(dispute, juror, verdict, round_) for juror, verdict in verdicts.items()]
        statements, signatures = [one for one, _ in signed], [one for _, one in signed]
        return self.send(self.world.treasury, "vote", dispute, statements, signatures)

    def close(self, dispute: int) -> Sent:
        return self.send(self.world.treasury, "close", dispute)

    def execute(self, dispute: int) -> Sent:
        return self.send(self.world.treasury, "execute", dispute)

    def appeal(self, dispute: int) -> Sent:
        return self.send(self.owners[ACCUSED], "appeal", dispute)

    def decide(self, dispute: int, wrong: int, right: int, round_: int = 0) -> list[int]:
        """Seat a jury, let so many vote, close; gives the jurors."""
        jurors = self.seat_all(dispute)
        votes = dict.fromkeys(jurors[:wrong], WRONG) | dict.fromkeys(jurors[wrong : wrong + right], RIGHT)
        self.vote(dispute, votes, round_)
        if len(votes) < len(jurors):
            self.world.anvil.wait(VERDICT_WINDOW_S)
        self.close(dispute)
        return jurors

    def status(self, dispute: int) -> int:
        return self.dispute(dispute)["status"]

    def dispute(self, dispute: int) -> dict[str, Any]:
        names = ("accused", "reporter", "accuser", "appellant", "evidence", "status", "round", "deadline")
        return dict(zip((*names, "bond", "appeal_bond"), self.read("dispute", dispute), strict=True))

    def panel(self, dispute: int, round_: int = 0) -> dict[str, Any]:
        names = ("seats", "taken", "wrong", "right", "candidates", "seed_block", "seed", "tries", "epoch")
        return dict(zip(names, self.read("panel", dispute, round_), strict=True))

    def candidates(self) -> list[Candidate]:
        """Give all nodes as the draw sees them."""
        rows = self.world.anvil.read(self.world.staking, "nodes", 1, 128)
        return [Candidate(row[0], row[5], row[2] == 1, row[3]) for row in rows]

    def frozen_until(self) -> int:
        return self.world.anvil.read(self.world.staking, "standing", ACCUSED)[8]

    def stake(self, node: int = ACCUSED) -> int:
        return self.world.node(node)["effective_stake"]
