"""Follows the Disputes contract as far as it concerns one node: as reporter, accused or juror.

With each confirmed block the number of disputes is read, and all that are open and concern this node; the others in
turn, to see whether it was drawn, or is to have a first jury drawn that nobody else does. Everything is read of one
block, so that what is signed about a dispute is about one that stays.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, final

from contracts.bindings import ContractName, load
from node.adapters.chain.abi import call_data, is_revert, returned
from node.adapters.chain.answers import COUNT_BITS, CallRefused, Json, octets, quantity, state_of
from node.adapters.chain.asked_ahead import AskedAhead
from node.adapters.chain.gas_view import Call, ask
from node.adapters.chain.logs import block_at
from node.adapters.chain.rpc import JsonRpc
from node.ports import EventSink
from protocol.errors import Unavailable
from protocol.events import DisputesSeen
from protocol.justice.dispute import DisputeSeen, Seat, Status, is_keepers_turn
from protocol.stake.table import StakeRow
from protocol.units import Address, BlockNumber, Digest, StakingId, Wei

FIRST_LOOK: Final = 2048
"""Newest disputes that are looked at after a start: older ones are over, since a dispute lasts one unbonding delay."""
IN_TURN: Final = 64
"""Open disputes of others that are looked at with each block, one after the other."""
_NOBODY: Final = "0x" + "00" * 20

_Row = tuple[Any, ...]
"""A struct as the ABI gives it."""


@final
class DisputeReader:
    """Reads the contract for one node, and answers questions about it."""

    def __init__(self, rpc: JsonRpc, staking: Address, ahead: AskedAhead | None = None) -> None:
        """Find the contract by the staking contract, when it is asked for.

        What ``foreseen`` gives may have been asked by ``ahead``.
        """
        self._rpc = rpc
        self._ahead = ahead or AskedAhead(rpc)
        self._staking = "0x" + staking.hex()
        self._address: str | None = None
        self.is_unknown = False
        """Whether the Staking contract is one that knows of no disputes."""
        self._read_block = -1
        self._count = 0
        self._open: set[int] = set()
        self._ours: set[int] = set()
        """Of those that are open, the ones in which we have a part."""
        self._last_in_turn = 0
        self._owners: dict[int, bool] = {}
        """Of disputes in which we have a seat, whether a party is our owner's."""

    # What concerns us

    async def step(
        self, own: StakeRow | None, confirmed: BlockNumber, sink: EventSink, block: dict[str, Json] | None = None
    ) -> None:
        """Read a confirmed block, and post what concerns us there; nothing for whoever is not registered.

        Args:
            own: Our row in the stake table.
            confirmed: The block that is read.
            sink: Where it is posted.
            block: The same as the chain node sent it, where that is known.

        Raises:
            Unavailable: The chain node does not answer.
        """
        if own is None or confirmed <= self._read_block or not await self._is_there():
            return
        block = block or await block_at(self._rpc, confirmed)
        place = {"blockHash": block["hash"]}
        count = await self._count_at(octets(block["hash"], 32))
        fresh = range(max(self._count, count - FIRST_LOOK) + 1, count + 1)
        looked_at = sorted({*fresh, *self._ours, *self._turn()})
        seen, is_open = await self._look(looked_at, own.id, confirmed, place) if looked_at else ([], set())
        concerned = {one.number for one in seen}
        told = bool(self._ours or concerned)
        self._count = count
        self._open = (self._open - set(looked_at)) | is_open
        self._ours = concerned & is_open
        self._owners = {number: known for number, known in self._owners.items() if number in self._open}
        self._read_block = confirmed
        if told:
            price = block.get("baseFeePerGas")
            gas = quantity(price) if price is not None else quantity(await self._rpc.call("eth_gasPrice"))
            at_s = quantity(block.get("timestamp"), COUNT_BITS)
            await sink.post(DisputesSeen(confirmed, at_s, Wei(gas), tuple(seen)))

    def foreseen(self, block: bytes) -> Sequence[Call]:
        """Say what is asked of a block by its hash, if it is the next one to be read."""
        if self._address is None:
            return ()
        question = {"to": self._address, "data": "0x" + call_data(load("Disputes"), "dispute_count", ()).hex()}
        return (("eth_call", (question, {"blockHash": "0x" + block.hex()})),)

    async def _count_at(self, block: bytes) -> int:
        """Say how many disputes there were up to a block."""
        ((method, asked),) = self.foreseen(block)
        answer = octets(await self._ahead.call(method, *asked))
        count: int = returned(load("Disputes"), str(self._address), "dispute_count", 0, answer)[0]
        return count

    def _turn(self) -> list[int]:
        """Give the next few of those that do not concern us: any block may have drawn us."""
        others = sorted(self._open - self._ours, key=lambda number: (number <= self._last_in_turn, number))[:IN_TURN]
        if others:
            self._last_in_turn = others[-1]
        return others

    async def _look(
        self, numbers: Sequence[int], own: StakingId, block: BlockNumber, place: Json
    ) -> tuple[list[DisputeSeen], set[int]]:
        """Read disputes after a block; gives those that concern us, also where they have ended, and which are open."""
        rows = await self._read("Disputes", [("dispute", (number,)) for number in numbers], place)
        seats = await self._read("Disputes", [("seat", (number, own)) for number in numbers], place)
        found = [
            (number, row, (state_of(Seat, seat[1]) if seat[0] == row[6] else Seat.NONE), seat[1] != Seat.NONE)
            for number, (row,), seat in zip(numbers, rows, seats, strict=True)
            if row[5]  # zero: the chain went back behind its report, and it never was
        ]
        is_open = {number for number, row, _, _ in found if state_of(Status, row[5]).is_open}
        is_part = {number for number, row, _, was_drawn in found if was_drawn or own in row[:2]}
        wanted = [
            one
            for one in found
            if (one[0] in is_part and (one[0] in is_open or one[0] in self._ours))
            or (one[1][5] == Status.DRAWING and not one[1][6])
        ]
        panels = await self._read("Disputes", [("panel", (number, row[6])) for number, row, _, _ in wanted], place)
        seen = []
        for (number, row, seat, _), (panel,) in zip(wanted, panels, strict=True):
            is_kept = number not in is_part
            turn = (own, number, max(1, panel[4]), block - panel[5])
            if is_kept and not is_keepers_turn(*turn, is_stored=any(panel[6])):
                continue
            is_own_owners = seat is not Seat.NONE and await self._is_own_owners(number, row, own, place)
            seen.append(_seen(number, row, panel, seat, is_kept=is_kept, is_own_owners=is_own_owners))
        return seen, is_open

    async def _is_own_owners(self, number: int, row: _Row, own: StakingId, place: Json) -> bool:
        """Say whether a party belongs to our owner; the contract draws us for no such dispute."""
        if number not in self._owners:
            nodes = await self._read("Staking", [("node", (one,)) for one in (own, row[0], row[1])], place)
            ours, *parties = (node[0][0] for node in nodes)
            self._owners[number] = ours in parties
        return self._owners[number]

    # Questions

    async def signing_ids(self, keys: Iterable[Address]) -> tuple[StakingId | None, ...]:
        """See ``node.disputes.ports.DisputeChain``."""
        calls = [("signing_id", (bytes(key),)) for key in keys]
        return tuple(
            StakingId(found[0]) if found[0] else None for found in await self._read("Staking", calls, "latest")
        )

    async def shown_to(self, dispute: int, reporter: StakingId, juror: StakingId) -> Digest | None:
        """See ``node.disputes.ports.DisputeChain``."""
        if not await self._is_there():
            return None
        ((row,), (round_, state)) = await self._read(
            "Disputes", [("dispute", (dispute,)), ("seat", (dispute, juror))], "latest"
        )
        is_judged = row[5] in {Status.DRAWING, Status.VOTING}
        has_seat = round_ == row[6] and state in {Seat.DRAWN, Seat.HAS_JUDGED}
        return Digest(row[4]) if row[1] == reporter and is_judged and has_seat else None

    # Reading

    async def _is_there(self) -> bool:
        """Find the contract; False while the network has none, or its Staking contract knows of none."""
        if self._address is None:
            try:
                ((address,),) = await self._read("Staking", [("disputes", ())], "latest")
            except CallRefused as refusal:
                if not is_revert(refusal):
                    raise
                self.is_unknown = True  # asked again with the next block: a chain node may have made it up
                return False
            if address == _NOBODY:
                return False
            self._address = address
        return True

    async def _read(
        self, name: ContractName, calls: Sequence[tuple[str, tuple[int | bytes, ...]]], place: Json
    ) -> list[_Row]:
        """Call views of one contract; gives what each returned."""
        if not calls:
            return []
        artifact, address = load(name), self._staking if name == "Staking" else self._address
        assert address is not None, "found by _is_there"
        questions = [
            ("eth_call", ({"to": address, "data": "0x" + call_data(artifact, view, given).hex()}, place))
            for view, given in calls
        ]
        answers = await ask(self._rpc, questions)
        found = []
        for (view, given), answer in zip(calls, answers, strict=True):
            if isinstance(answer, CallRefused):
                raise answer
            found.append(returned(artifact, address, view, len(given), octets(answer)))
        return found


def _seen(number: int, row: _Row, panel: _Row, seat: Seat, *, is_kept: bool, is_own_owners: bool) -> DisputeSeen:
    accused, reporter, _, _, evidence, status, round_, deadline, _, _ = row
    seats, taken, wrong, right, _, seed_block, _, tries, _ = panel
    if max(accused, reporter, deadline, seats, taken, wrong, right, seed_block, tries) >> COUNT_BITS:
        raise Unavailable(f"the chain node tells of dispute {number} what no contract counts")
    return DisputeSeen(
        number=number,
        accused=StakingId(accused),
        reporter=StakingId(reporter),
        evidence=Digest(evidence),
        status=state_of(Status, status),
        round=round_,
        deadline_s=deadline,
        seats=seats,
        taken=taken,
        wrong=wrong,
        right=right,
        seed_block=seed_block,
        tries=tries,
        seat=seat,
        is_kept=is_kept,
        is_own_owners=is_own_owners,
    )
