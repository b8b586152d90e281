"""Disputes as their contract shows them to people: who accuses whom, how far it is, who judged how, what it costs."""

from dataclasses import dataclass
from typing import Any, Final

from node.adapters.chain.answers import COUNT_BITS, ID_BITS, WORD, octets, quantity, state_of
from node.adapters.chain.logs import read_logs
from node.addresses import checksummed
from node.moments import moment
from node.owner.wallet import Wallet
from protocol.crypto.keys import keccak256
from protocol.errors import ConfigError, Unavailable
from protocol.justice.dispute import Status, Verdict

QUORUM_SLASH: Final = 4
BOUNTY: Final = 5
DISPUTE_BOND: Final = 7
JURORS: Final = 8
APPEAL_BOND: Final = 9
VERDICT_WINDOW: Final = 10
APPEAL_WINDOW: Final = 11
"""Numbers of parameters, as in the contract."""
FEES_PART: Final = 3
"""The first jury is paid one part in so many of the reporter's bond."""
MOST_LISTED: Final = 200
"""Disputes that are listed, the newest."""
FIRST_CHUNK: Final = 100_000
"""Blocks asked for at once."""
DRAWN: Final = "0x" + keccak256(b"JurorDrawn(uint256,uint32,uint256)").hex()
COUNTED: Final = "0x" + keccak256(b"VerdictCounted(uint256,uint32,uint256,uint8)").hex()
_WORDS: Final = {
    Status.DRAWING: "jurors are being drawn",
    Status.VOTING: "jurors judge",
    Status.UPHELD: "found wrong; the accused's owner may appeal",
    Status.CONFIRMED: "found wrong, also after an appeal",
    Status.VOID: "void: there were too few independent jurors",
    Status.DISMISSED: "dismissed: found right",
    Status.UNDECIDED: "undecided",
    Status.EXECUTED: "executed: the accused is slashed",
    Status.LAPSED: "lapsed: its reporter did not have jurors drawn in time",
}


@dataclass(frozen=True, slots=True)
class JurorShown:
    """One juror of a dispute."""

    node: int
    round: int
    verdict: Verdict | None
    """None while it has not judged."""


@dataclass(frozen=True, slots=True)
class DisputeShown:
    """One dispute."""

    number: int
    accused: int
    reporter: int
    accuser: str
    """Checksummed address of who paid the bond."""
    evidence: bytes
    status: Status
    round: int
    deadline: int
    """Unix seconds, by the chain's time."""
    bond_wei: int
    appeal_bond_wei: int
    seats: int
    taken: int
    wrong: int
    right: int

    @property
    def fee_wei(self) -> int:
        """What a juror who judges is paid at its end, in both rounds; 0 once it has ended: contracts/SPEC.md §8.3."""
        if not self.round:
            return self.bond_wei // (FEES_PART * self.seats)
        return min(self.bond_wei // (FEES_PART * (self.seats // 2)), self.appeal_bond_wei // self.seats)

    def in_words(self, now: int) -> str:
        """Say how it stands and until when."""
        found = f"{self.wrong} wrong, {self.right} right of {self.seats}"
        if self.status is Status.UPHELD and self.deadline <= now:
            return f"found wrong, and nobody appealed in time: to be executed ({found})"
        until = ""
        if self.status.is_open and self.status is not Status.CONFIRMED:
            until = f", {'until' if self.deadline > now else 'since'} {moment(self.deadline, now)}"
        return f"{_WORDS[self.status]}{until} ({'appeal, ' if self.round else ''}{found})"


async def all_disputes(wallet: Wallet) -> list[DisputeShown]:
    """Read the newest disputes, at most ``MOST_LISTED``, the newest last.

    Raises:
        Unavailable: The chain node does not answer.
    """
    (count,) = await wallet.read(wallet.call("Disputes", "dispute_count"))
    return await _read(wallet, range(max(1, count - MOST_LISTED + 1), count + 1))


async def find_dispute(wallet: Wallet, number: int) -> DisputeShown:
    """Read one.

    Raises:
        ConfigError: There is none of this number.
        Unavailable: The chain node does not answer.
    """
    (count,) = await wallet.read(wallet.call("Disputes", "dispute_count"))
    if not 1 <= number <= count:
        raise ConfigError(f"NUMBER: there is no dispute {number}: cuckoo dispute list shows what there is")
    (found,) = await _read(wallet, range(number, number + 1))
    return found


async def open_dispute_of(wallet: Wallet, node: int, reporter: int) -> DisputeShown | None:
    """Give a reporter's dispute that is open against a node, None where none is."""
    (number,) = await wallet.read(wallet.call("Disputes", "open_dispute", node, reporter))
    return await find_dispute(wallet, number) if number else None


async def jurors_of(wallet: Wallet, number: int) -> list[JurorShown]:
    """Read who was drawn in a dispute, in order, and how each judged.

    Raises:
        Unavailable: The chain node does not answer.
    """
    verdicts: dict[tuple[int, int], Verdict | None] = {}
    head = quantity(await wallet.rpc.call("eth_blockNumber"), COUNT_BITS)
    topics: list[Any] = [[DRAWN, COUNTED], "0x" + number.to_bytes(WORD, "big").hex()]  # Any: a topic, or several
    contract, start = wallet.address_of("Disputes"), wallet.network.contracts.start_block
    async for _, logs in read_logs(wallet.rpc, contract, start, head, chunk=FIRST_CHUNK, topics=topics):
        for log in logs:
            named = log.get("topics")
            if not isinstance(named, list) or len(named) != 3:
                raise Unavailable("the chain node sent an event that is not the Disputes contract's")
            data = octets(log.get("data"))
            round_, juror = int.from_bytes(data[:WORD], "big"), quantity(named[2], ID_BITS)
            verdicts.setdefault((round_, juror), None)
            if named[0] == COUNTED:
                verdicts[round_, juror] = state_of(Verdict, int.from_bytes(data[WORD : 2 * WORD], "big"))
    return [JurorShown(juror, round_, verdict) for (round_, juror), verdict in verdicts.items()]


async def _read(wallet: Wallet, numbers: range) -> list[DisputeShown]:
    rows = await wallet.read(*(wallet.call("Disputes", "dispute", number) for number in numbers))
    panels = await wallet.read(
        *(wallet.call("Disputes", "panel", number, row[6]) for number, row in zip(numbers, rows, strict=True))
    )
    return [_shown(number, row, panel) for number, row, panel in zip(numbers, rows, panels, strict=True)]


def _shown(number: int, row: Any, panel: Any) -> DisputeShown:  # noqa: ANN401 tuples as the ABI has them
    accused, reporter, accuser, _, evidence, status, round_, deadline, bond, appeal_bond = row
    seats, taken, wrong, right, *_ = panel
    return DisputeShown(
        number=number,
        accused=accused,
        reporter=reporter,
        accuser=checksummed(accuser),
        evidence=evidence,
        status=state_of(Status, status),
        round=round_,
        deadline=deadline,
        bond_wei=bond,
        appeal_bond_wei=appeal_bond,
        seats=seats,
        taken=taken,
        wrong=wrong,
        right=right,
    )
