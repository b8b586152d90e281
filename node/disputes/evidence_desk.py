"""Evidence of disputes: shown to jurors by the reporter's node, and fetched by a juror's.

A bundle holds a prompt and a picture, so it is shown to nobody whom the contract does not name as a juror of that very
dispute: by peer id, which is a key, whose address the stake table knows, whose number the contract drew.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, final

import trio

from node.disputes.files import kept_bundle
from node.disputes.ports import DisputePorts
from node.ports import Clock, EventSink, Journal, Ports
from protocol.effects import FetchBundle
from protocol.errors import InvalidMessage, Unavailable
from protocol.events import BundleFetched
from protocol.justice.bundle import read_bundle, signers_of_bundle
from protocol.notes import NoteName
from protocol.roles.core import Core
from protocol.stake.table import StakeRow
from protocol.units import Digest, PeerId

Fetch = Callable[[FetchBundle, EventSink], Awaitable[None]]
"""Fetches evidence, and posts one ``BundleFetched``."""
MOST_SHOWN: Final = 8
"""How often one bundle is shown to one juror: it may be started again, or lose what it fetched."""
REMEMBERED: Final = 4096
"""Of whom it is remembered how often."""
MOST_LOOKED_UP: Final = 16
"""Questions to a chain node at once, about who may see something."""
MOST_FETCHED: Final = 4
"""Bundles that are kept until a chain node answers: 100 MB of the largest."""
ASKED_PER_MINUTE: Final = 30
"""Questions of one peer in a minute that reach a chain node: whoever waits to be drawn asks every few seconds."""


@final
class EvidenceDesk:
    """Implements ``node.disputes.ports.BundleFace``, and fetches for the driver."""

    def __init__(self, core: Core, ports: DisputePorts, clock: Clock, journal: Journal, data: Path) -> None:
        """Serve from a node's data folder."""
        self._core = core
        self._transport = ports.transport
        self._chain = ports.chain
        self._clock = clock
        self._journal = journal
        self._data = data
        self._shown: OrderedDict[tuple[Digest, PeerId], int] = OrderedDict()
        self._look_ups = trio.CapacityLimiter(MOST_LOOKED_UP)
        self._asked: OrderedDict[PeerId, tuple[int, int]] = OrderedDict()
        """In which minute each peer asked last, and how often in it."""
        self._fetched: OrderedDict[Digest, bytes] = OrderedDict()
        """What reporters showed and no chain node would say of who signed it: they show it some times only."""

    # The reporter's side

    async def may_see(self, peer: PeerId, dispute: int, evidence: Digest) -> bool:
        """Say whether a peer may see a bundle now. Never raises for what a peer asks."""
        row, own = self._core.row_of_peer(peer), self._core.own_row()
        if row is None or own is None or not self._may_ask(peer):
            return False
        reason = await self._reason_against(peer, row, own, dispute, evidence)
        if reason:
            self._refuse(peer, dispute, reason)
        return not reason

    async def bundle(self, peer: PeerId, dispute: int, evidence: Digest) -> bytes | None:
        """Give it to a peer that may see it; None where there is none."""
        data = await trio.to_thread.run_sync(kept_bundle, self._data, evidence)
        if data is None:
            self._refuse(peer, dispute, "no_bundle")
            return None
        self._shown[evidence, peer] = self._shown.get((evidence, peer), 0) + 1
        while len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)
        self._journal.note(NoteName.BUNDLE_SHOWN, dispute=dispute, juror=self._id_of(peer), bytes=len(data))
        return data

    def _refuse(self, peer: PeerId, dispute: int, reason: str) -> None:
        self._journal.note(NoteName.BUNDLE_REFUSED, dispute=min(dispute, 2**53), juror=self._id_of(peer), reason=reason)

    def _id_of(self, peer: PeerId) -> int:
        row = self._core.row_of_peer(peer)
        return row.id if row is not None else 0

    async def _reason_against(self, peer: PeerId, row: StakeRow, own: StakeRow, dispute: int, evidence: Digest) -> str:
        """Say by a stable name why a peer may not see this; empty when it may."""
        if self._shown.get((evidence, peer), 0) >= MOST_SHOWN:
            return "too_often"
        try:
            async with self._look_ups:
                shown = await self._chain.shown_to(dispute, own.id, row.id)
        except Unavailable:
            return "chain_unavailable"
        return "" if shown is not None and shown == evidence else "no_juror"

    def _may_ask(self, peer: PeerId) -> bool:
        minute = self._clock.now() // 60_000
        last, count = self._asked.pop(peer, (minute, 0))
        count = count + 1 if last == minute else 1
        self._asked[peer] = (minute, count)
        while len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)
        return count <= ASKED_PER_MINUTE

    # The juror's side

    async def fetch(self, effect: FetchBundle, sink: EventSink) -> None:
        """Fetch evidence and find out whose keys signed it; posts one ``BundleFetched``."""
        try:
            data = self._fetched.pop(effect.evidence, None)
            if data is None:
                data = await self._transport.fetch_bundle(effect.peer, effect.dispute, effect.evidence)
        except Unavailable as error:
            await sink.post(BundleFetched(effect.dispute, effect.round, None, str(error)[:100]))
            return
        try:
            await sink.post(await self._with_signers(effect, data))
        except Unavailable:
            self._fetched[effect.evidence] = data
            while len(self._fetched) > MOST_FETCHED:
                self._fetched.popitem(last=False)
            await sink.post(BundleFetched(effect.dispute, effect.round, None, "chain_unavailable", is_ours=True))

    async def _with_signers(self, effect: FetchBundle, data: bytes) -> BundleFetched:
        """Say who signed what was fetched; what is no bundle is nobody's.

        Raises:
            Unavailable: No chain node answers.
        """
        try:
            bundle = await trio.to_thread.run_sync(read_bundle, data)
            keys = signers_of_bundle(bundle, self._core.identity.domain, self._core.identity.network_id)
        except InvalidMessage:
            return BundleFetched(effect.dispute, effect.round, data)
        return BundleFetched(effect.dispute, effect.round, data, "", await self._chain.signing_ids(keys))


async def fetch_nothing(effect: FetchBundle, sink: EventSink) -> None:
    """Fetch for a node that has no way to reporters."""
    await sink.post(BundleFetched(effect.dispute, effect.round, None, "not_running"))


def open_evidence_desk(core: Core, ports: Ports, data: Path) -> Fetch:
    """Let jurors ask; gives what fetches for a juror."""
    if ports.disputes is None:
        return fetch_nothing
    desk = EvidenceDesk(core, ports.disputes, ports.clock, ports.journal, data)
    ports.disputes.transport.serve_bundles(desk)
    return desk.fetch
