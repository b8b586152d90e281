"""Evidence that comes in time, late, never, or proves nothing; and whose fault that is. SPEC.md §12.10."""

from dataclasses import replace
from typing import Any

import pytest

from protocol.effects import FindProviders
from protocol.events import (
    ActivityChanged,
    PeerDown,
    ProvidersFound,
)
from protocol.justice.bundle import Bundle, bundle_digest
from protocol.justice.dispute import Verdict
from protocol.notes import NoteName
from protocol.records import ArtifactStored
from protocol.units import Digest, UnixMillis
from protocol.wire.topics import coordinator_key
from tests.protocol.roles.frames import ALICE_ID, CAROL_ID, PARAMS
from tests.protocol.roles.juror_seat import BUNDLE, OWN, SEEN, WINDOW_S, drawn_for, fetches, jobs, juror, said
from tests.protocol.roles.seats import noted, persisted
from tests.support.disputed import SIGNERS, award_to_bob, bundle_of, disputed, result_by_bob
from tests.support.networks import CAROL, DAVE


def test_seen__no_evidence_in_half_of_the_time__is_right() -> None:
    seat = juror()
    began, tries, effects = seat.now, 0, seat.sees(SEEN)
    while not said(effects):
        if fetches(effects):
            tries += 1
            effects = seat.fetched(None, SEEN, reason="not_shown")
            assert said(effects) == []
        effects = seat.wait(1000)
    assert said(effects) == [(Verdict.RIGHT, "no_evidence")]
    assert seat.now - began <= WINDOW_S * 1000 // 2 + 1000
    assert 30 <= tries <= 50


def test_seen__reporter_never_answers__is_right() -> None:
    seat = juror()
    assert len(fetches(seat.sees(SEEN))) == 1
    effects = seat.wait(WINDOW_S * 1000 // 2)
    assert said(effects) == [(Verdict.RIGHT, "no_evidence")]
    assert fetches(effects) == [], "one question at a time"


def test_timer__machine_slept_while_evidence_was_to_come__asks_for_half_of_what_is_left() -> None:
    seat = juror()
    seat.sees(SEEN)
    seat.fetched(None, SEEN, reason="not_shown")
    seat.now = UnixMillis(seat.now + WINDOW_S * 1000 * 3 // 4)
    effects = seat.wait(0)
    assert (len(fetches(effects)), said(effects)) == (1, []), "the reporter does not answer for that"
    seat.fetched(None, SEEN, reason="not_shown")
    assert said(seat.wait(WINDOW_S * 1000 // 16 + 1)) == [(Verdict.RIGHT, "no_evidence")], "for the rest it does"


def test_timer__machine_slept_until_it_is_too_late__cannot_judge() -> None:
    seat = juror()
    seat.sees(SEEN)
    seat.now = UnixMillis(seat.now + WINDOW_S * 1000)
    effects = seat.wait(0)
    assert (fetches(effects), said(effects)) == ([], [(Verdict.CANNOT_JUDGE, "too_late")])


def test_fetched__no_chain_node_of_ours_says_who_signed__is_no_fault_of_the_reporters() -> None:
    seat = juror()
    seat.sees(SEEN)
    assert said(seat.fetched(None, SEEN, reason="chain_unavailable", is_ours=True)) == []
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.CANNOT_JUDGE, "own_chain_node")]


def test_fetched__reporter_is_silent_after_our_chain_node_came_back__is_right() -> None:
    seat = juror()
    seat.sees(SEEN)
    seat.fetched(None, SEEN, reason="chain_unavailable", is_ours=True)
    assert len(fetches(seat.wait(10_100))) == 1
    seat.fetched(None, SEEN, reason="not_shown")
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.RIGHT, "no_evidence")]


def test_seen__inactive_since_it_was_drawn__asks_nobody_and_cannot_judge() -> None:
    seat = juror()
    seat.hear(ActivityChanged(frozenset({ALICE_ID})))
    assert fetches(seat.sees(SEEN)) == [], "the reporter judges whoever is not registered for asking"
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.CANNOT_JUDGE, "inactive")]


def test_seen__inactive_and_back_in_time__asks_and_the_reporter_has_to_answer() -> None:
    seat = juror()
    seat.hear(ActivityChanged(frozenset({ALICE_ID})))
    seat.sees(SEEN)
    seat.hear(ActivityChanged(frozenset()))
    assert len(fetches(seat.wait(10_100))) == 1
    seat.fetched(None, SEEN, reason="not_shown")
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.RIGHT, "no_evidence")]


def test_seen__connected_to_nobody_at_all__cannot_judge() -> None:
    seat = juror()
    for peer in (CAROL.peer_id, DAVE.peer_id):
        seat.hear(PeerDown(peer))
    seat.sees(SEEN)
    assert said(seat.wait(WINDOW_S * 1000 // 2)) == [(Verdict.CANNOT_JUDGE, "not_connected")]


def test_fetched__evidence_of_what_a_number_was_before__is_not_examined() -> None:
    seat = juror()
    seat.sees(replace(SEEN, evidence=Digest(b"x" * 32)))
    effects = seat.fetched(BUNDLE, SEEN)
    assert (jobs(effects), said(effects)) == ([], [])
    (note,) = noted(effects, NoteName.BUNDLE_MISSING)
    assert note.fields["reason"] == "other_evidence"


def test_seen__two_disputes_of_one_reporter__asks_it_one_question_at_a_time() -> None:
    seat = juror()
    others = [replace(SEEN, number=number) for number in (8, 9)]
    assert [fetch.dispute for fetch in fetches(seat.sees(SEEN, *others))] == [SEEN.number]
    seat.fetched(None, SEEN, reason="not_shown")
    asked = []
    for _ in range(60):
        now = [fetch.dispute for fetch in fetches(seat.wait(1000))]
        assert len(now) <= 1, "it judges whoever asks a second time meanwhile"
        for number in now:
            asked.append(number)
            seat.fetched(None, replace(SEEN, number=number), reason="not_shown")
    assert set(asked) == {SEEN.number, 8, 9}, "each has its turn"


def test_fetched__not_yet_shown__is_asked_again_after_a_pause_and_not_before() -> None:
    seat = juror()
    seat.sees(SEEN)
    assert fetches(seat.fetched(None, SEEN, reason="not_shown")) == []
    assert fetches(seat.wait(9_000)) == []
    assert len(fetches(seat.wait(1_500))) == 1


def test_seen__reporter_is_not_connected__is_looked_up_and_only_its_own_key_is_asked() -> None:
    seat = juror()
    seat.hear(PeerDown(CAROL.peer_id))
    effects = seat.sees(SEEN)
    assert (fetches(effects), [e for e in effects if isinstance(e, FindProviders)]) == (
        [],
        [FindProviders(coordinator_key(PARAMS.name))],
    )
    seat.hear(ProvidersFound(coordinator_key(PARAMS.name), (DAVE.peer_id,)))
    assert fetches(seat.wait(10_100)) == [], "dave is not carol, whatever the DHT says"
    seat.hear(ProvidersFound(coordinator_key(PARAMS.name), (DAVE.peer_id, CAROL.peer_id)))
    (fetch,) = fetches(seat.wait(10_100))
    assert fetch.peer == CAROL.peer_id


@pytest.mark.parametrize(
    ("bundle", "changes", "reason"),
    [
        (b"no bundle", {"signed_by": ()}, "bundle.form"),
        (disputed(shown=OWN), {}, "bundle.artifact"),
        (disputed(award={"miner": ALICE_ID}), {}, "bundle.parties"),
        (BUNDLE, {"signed_by": (CAROL_ID, *SIGNERS[1:])}, "bundle.signature"),
        (BUNDLE, {"signed_by": (*SIGNERS[:2], None)}, "bundle.signature"),
        (BUNDLE, {"signed_by": (SIGNERS[0], None, SIGNERS[2])}, "bundle.signature"),
    ],
)
def test_fetched__evidence_proves_nothing__is_right_and_costs_the_engine_nothing(
    bundle: Bundle | bytes, changes: dict[str, Any], reason: str
) -> None:
    data = bundle.data() if isinstance(bundle, Bundle) else bundle
    seat, seen = juror(), replace(SEEN, evidence=bundle_digest(data))
    seat.sees(seen)
    effects = seat.fetched(bundle, seen, **changes)
    assert (said(effects), jobs(effects)) == ([(Verdict.RIGHT, reason)], [])
    assert persisted(effects, ArtifactStored) == []
    (note,) = noted(effects, NoteName.BUNDLE_REFUSED)
    assert note.fields["reason"] == reason


def test_fetched__sealed_work__is_no_evidence() -> None:
    award = award_to_bob().model_copy(update={"sealed_key": b"k" * 32})
    bundle = bundle_of(award, result_by_bob(award_to_bob()), BUNDLE.picture)
    seat, seen = juror(), drawn_for(bundle)
    seat.sees(seen)
    assert said(seat.fetched(bundle, seen)) == [(Verdict.RIGHT, "bundle.sealed")]
