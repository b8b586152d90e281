"""However much contradicts itself, a node looks, keeps and shows no more than it has room and gas for."""

import pytest

from protocol.effects import Effect
from protocol.events import ActivityChanged, Provability
from protocol.justice.evidence import (
    Rise,
    Signed,
    Understated,
)
from protocol.notes import NoteName
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.prosecution import LOOK_AGAIN_MS, MAX_CASES, REST_MS, ProofPolicy, Prosecution
from protocol.units import DAY_MS, StakingId, UnixMillis
from tests.protocol.roles.frames import (
    artifact_of,
    result_of,
)
from tests.protocol.roles.pay import promise
from tests.protocol.roles.seats import CoordinatorSeat, Seat, noted
from tests.protocol.roles.test_prosecution import PROVES, asked, checked, checks, found
from tests.support.networks import ALICE, CAROL
from tests.support.records import contradicting


def test_flood__one_signer_contradicts_itself_a_thousand_times__costs_one_check_and_one_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seat = CoordinatorSeat(prove=PROVES)
    award = seat.award()
    seat.say(ALICE, result_of(award))
    seat.hear(artifact_of(award))
    (evidence,) = found(seat.say(ALICE, result_of(award, artifact=b"x" * 32)))
    seat.hear(checked(evidence))
    looked: list[object] = []
    monkeypatch.setattr(CoordinatorCore, "is_signed", lambda *given: looked.append(given) or True)
    for number in range(1000):
        effects = seat.say(ALICE, result_of(award, artifact=number.to_bytes(32, "big")))
        assert (found(effects), checks(effects), asked(effects)) == ([], [], [])
    assert looked == [], "not even a signature is checked"


def test_flood__results_for_awards_that_nobody_gave__are_not_remembered() -> None:
    seat = CoordinatorSeat(prove=PROVES)
    award = seat.award()
    for number in range(100):
        seat.say(ALICE, result_of(award, award=number.to_bytes(32, "big"), task=number.to_bytes(32, "big")))
    assert len(seat.core._prosecution._witness) == 0


class Bench(Seat):
    """A core of whose prosecution a test disposes."""

    def __init__(self, policy: ProofPolicy = PROVES) -> None:
        super().__init__(CAROL)
        self.core = CoordinatorCore(self.identity, tuple, prove=policy)
        self.hear(ActivityChanged(frozenset()))
        self.cases: Prosecution = self.core._prosecution

    def file(self, signer: int) -> tuple[Effect, ...]:
        before = len(self.core._effects)
        self.cases.file(contradicting(signer).evidence)
        return tuple(self.core._effects[before:])


def test_flood__many_signers__send_no_more_than_a_days_proofs_and_go_on_the_next_day() -> None:
    bench = Bench(ProofPolicy(proves=True, per_day=3))
    sent = 0
    for signer in range(1, 11):
        (evidence,) = checks(bench.file(signer))
        sent += len(asked(bench.hear(checked(evidence))))
    assert sent == 3
    assert len(checks(bench.file(11))) == 1
    waiting = checks(bench.wait(LOOK_AGAIN_MS))
    assert len(waiting) == 7, "the chain has not answered yet for the last one, and is not asked twice"
    bench.now = UnixMillis(bench.now + DAY_MS)
    assert sum(len(asked(bench.hear(checked(evidence)))) for evidence in waiting) == 3


def test_file__more_open_cases_than_are_kept__drops_the_newest_and_closed_ones_make_room() -> None:
    bench = Bench()
    for signer in range(1, MAX_CASES + 1):
        assert len(found(bench.file(signer))) == 1
    effects = bench.file(MAX_CASES + 1)
    assert found(effects) == []
    assert noted(effects, NoteName.EVIDENCE_DROPPED)[0].fields["reason"] == "full"
    bench.hear(checked(contradicting(7).evidence, Provability.RESPITE))
    assert len(found(bench.file(MAX_CASES + 1))) == 1
    assert len(bench.cases._cases) == MAX_CASES
    assert not bench.cases.is_false(StakingId(7)), "what is forgotten is forgotten"


def test_file__signer_that_was_settled__is_filed_again_after_its_respite_only() -> None:
    bench = Bench()
    bench.file(4)
    bench.hear(checked(contradicting(4).evidence, Provability.ALREADY_PROVEN))
    early, late = (
        Signed(promise(*given, sequence=place, total=total, boot=9).model_copy(update={"coordinator": 4}), b"\x01" * 65)
        for place, (given, total) in enumerate((((1,), 5), ((2,), 5)), start=1)
    )
    another = Understated(early, late, (Rise(early, late),))
    assert another.fault() is None
    bench.cases.file(another)
    assert len(bench.cases._cases) == 1
    bench.now = UnixMillis(bench.now + REST_MS)
    bench.hear(ActivityChanged(frozenset()))
    bench.cases.file(another)
    assert len(bench.cases._cases) == 2
