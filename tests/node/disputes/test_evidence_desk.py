"""Prompts are shown to drawn jurors of that very dispute alone; what is fetched is told with who signed it."""

from pathlib import Path

import pytest

from node.disputes.evidence_desk import ASKED_PER_MINUTE, MOST_FETCHED, MOST_SHOWN, EvidenceDesk
from node.disputes.files import KEPT_MS, keep_bundle, kept_bundle
from node.disputes.ports import BundleFace, DisputePorts
from protocol.crypto.keys import NodeKey
from protocol.effects import FetchBundle
from protocol.errors import Unavailable
from protocol.events import BundleFetched
from protocol.justice.bundle import bundle_digest
from protocol.notes import NoteName
from protocol.units import Address, Digest, PeerId, StakingId
from tests.protocol.roles.frames import ALICE_ID, CAROL_ID
from tests.protocol.roles.seats import CoordinatorSeat
from tests.support.chain import Sink
from tests.support.clock import HandClock
from tests.support.disputed import KEYS, SIGNERS, disputed
from tests.support.journal import RecordingJournal
from tests.support.networks import ALICE, BOB, CAROL, DAVE
from tests.support.pictures import png

DISPUTE = 7
BUNDLE = disputed()
DATA = BUNDLE.data()
NAMED = bundle_digest(DATA)


class World:
    """Chain and overlay, as one node sees them."""

    def __init__(self) -> None:
        self.jurors = {ALICE_ID: NAMED}
        self.is_away = False
        self.shown: bytes | None = DATA
        self.fetches = 0
        self.asked: list[StakingId] = []

    def serve_bundles(self, face: BundleFace) -> None:
        """Nobody asks here but the test."""

    async def fetch_bundle(self, peer: PeerId, dispute: int, evidence: Digest) -> bytes:
        self.fetches += 1
        if self.shown is None:
            raise Unavailable("not_shown")
        return self.shown

    async def signing_ids(self, keys: tuple[Address, ...]) -> tuple[StakingId | None, ...]:
        if self.is_away:
            raise Unavailable("no chain node answers")
        known = dict(zip(KEYS, SIGNERS, strict=True))
        return tuple(known.get(key) for key in keys)

    async def shown_to(self, dispute: int, reporter: StakingId, juror: StakingId) -> Digest | None:
        if self.is_away:
            raise Unavailable("no chain node answers")
        self.asked.append(juror)
        return self.jurors.get(juror) if (dispute, reporter) == (DISPUTE, CAROL_ID) else None


class Desk:
    """Carol's node, with a bundle on disk."""

    def __init__(self, folder: Path) -> None:
        keep_bundle(folder, BUNDLE)
        self.world, self.journal, seat = World(), RecordingJournal(), CoordinatorSeat()
        clock = HandClock(seat.now)
        self.desk = EvidenceDesk(seat.core, DisputePorts(self.world, self.world), clock, self.journal, folder)
        self.clock = clock

    async def shows(self, key: NodeKey, dispute: int = DISPUTE, evidence: Digest = NAMED) -> bytes | None:
        if not await self.desk.may_see(key.peer_id, dispute, evidence):
            return None
        return await self.desk.bundle(key.peer_id, dispute, evidence)

    def reasons(self) -> list[str | int]:
        return [note.fields["reason"] for note in self.journal.of(NoteName.BUNDLE_REFUSED)]


async def test_bundle_for__drawn_juror__is_shown_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.shows(ALICE) == DATA
    (note,) = desk.journal.of(NoteName.BUNDLE_SHOWN)
    assert (note.fields["dispute"], note.fields["juror"]) == (DISPUTE, ALICE_ID)


@pytest.mark.parametrize("key", [BOB, CAROL, DAVE, NodeKey(b"\x55" * 32)])
async def test_bundle_for__accused_itself_or_anybody_else__sees_nothing(key: NodeKey, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.shows(key) is None
    assert desk.journal.of(NoteName.BUNDLE_SHOWN) == []


async def test_bundle_for__juror_of_another_dispute_or_asking_for_other_evidence__sees_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.shows(ALICE, dispute=DISPUTE + 1) is None
    assert await desk.shows(ALICE, dispute=2**255) is None
    assert await desk.shows(ALICE, evidence=Digest(b"x" * 32)) is None
    desk.world.jurors[ALICE_ID] = Digest(b"x" * 32)
    assert await desk.shows(ALICE) is None, "the dispute is about something else"
    assert set(desk.reasons()) == {"no_juror"}


async def test_bundle_for__name_that_leads_out_of_the_folder__reads_no_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    wanted = Digest(b"../../../etc/passwd".ljust(32))
    desk.world.jurors[ALICE_ID] = wanted
    assert await desk.shows(ALICE, evidence=wanted) is None
    assert desk.reasons() == ["no_bundle"]


async def test_bundle_for__chain_node_away__shows_nothing_and_says_why(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.world.is_away = True
    assert await desk.shows(ALICE) is None
    assert desk.reasons() == ["chain_unavailable"]


async def test_bundle_for__again_and_again__is_shown_some_times_only(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert [await desk.shows(ALICE) for _ in range(MOST_SHOWN)] == [DATA] * MOST_SHOWN
    assert await desk.shows(ALICE) is None
    assert desk.reasons() == ["too_often"]


async def test_bundle_for__flood_of_questions__reaches_no_chain_node_beyond_a_rate(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for _ in range(ASKED_PER_MINUTE + 20):
        await desk.shows(BOB)
    assert len(desk.world.asked) == ASKED_PER_MINUTE
    desk.clock.advance(60_000)
    await desk.shows(BOB)
    assert len(desk.world.asked) == ASKED_PER_MINUTE + 1


async def fetched(desk: Desk) -> BundleFetched:
    sink = Sink()
    await desk.desk.fetch(FetchBundle(DISPUTE, 1, NAMED, CAROL.peer_id), sink)
    (event,) = sink.events
    assert isinstance(event, BundleFetched)
    assert (event.dispute, event.round) == (DISPUTE, 1)
    return event


async def test_fetch__good_evidence__comes_with_whose_keys_signed_it(tmp_path: Path) -> None:
    event = await fetched(Desk(tmp_path))
    assert (event.data, event.signed_by) == (DATA, SIGNERS)


async def test_fetch__what_is_no_bundle__is_nobodys(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.world.shown = b"no bundle"
    event = await fetched(desk)
    assert (event.data, event.signed_by) == (b"no bundle", ())


@pytest.mark.parametrize("away", ["reporter", "chain"])
async def test_fetch__reporter_or_chain_away__is_told_without_evidence(away: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.world.shown, desk.world.is_away = (None, False) if away == "reporter" else (DATA, True)
    event = await fetched(desk)
    assert event.data is None
    assert event.reason != ""


async def test_fetch__chain_away_while_the_reporter_shows__keeps_it_and_asks_the_reporter_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.world.is_away = True
    for _ in range(MOST_SHOWN + 1):
        event = await fetched(desk)
        assert (event.data, event.reason, event.is_ours) == (None, "chain_unavailable", True)
    desk.world.is_away = False
    event = await fetched(desk)
    assert (event.data, event.signed_by, event.is_ours) == (DATA, SIGNERS, False)
    assert desk.world.fetches == 1, "it is shown some times only"
    await fetched(desk)
    assert desk.world.fetches == 2, "nothing is kept of what was examined"


async def test_fetch__chain_away_for_many_disputes__keeps_a_few_of_them(tmp_path: Path) -> None:
    desk, sink = Desk(tmp_path), Sink()
    desk.world.is_away = True
    for number in range(MOST_FETCHED + 3):
        desk.world.shown = disputed(picture=png(128, 128, number)).data()
        await desk.desk.fetch(FetchBundle(DISPUTE, 0, bundle_digest(desk.world.shown), CAROL.peer_id), sink)
    assert len(desk.desk._fetched) == MOST_FETCHED


async def test_fetch__reporter_away__is_no_fault_of_ours(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.world.shown = None
    assert not (await fetched(desk)).is_ours


def test_kept_bundle__long_ago_or_never__is_not_there(tmp_path: Path) -> None:
    path = keep_bundle(tmp_path, BUNDLE)
    assert kept_bundle(tmp_path, NAMED) == DATA
    assert KEPT_MS > 90 * 86_400_000
    path.unlink()
    assert kept_bundle(tmp_path, NAMED) is None
