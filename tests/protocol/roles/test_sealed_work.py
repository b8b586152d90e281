"""A miner that is awarded what it cannot read yet: it waits for the key, opens, draws, and seals what it drew."""

import hashlib
from collections.abc import Iterable

import pytest

from protocol.crypto.sealing import open_picture
from protocol.effects import CancelJob, Effect, Send, StartJob
from protocol.errors import InvalidMessage
from protocol.events import JobFailed, JobFinished, JobProgress
from protocol.records import ArtifactStored, ResultCommitted, StepsKept
from protocol.roles.miner.credit import ANY
from protocol.roles.miner.sealed_work import ASK_AGAIN_MS, KEPT_MS, ROTATED_MS, WAIT_MS
from protocol.task.fingerprint import FINGERPRINT_BYTES
from protocol.task.specification import open_specification
from protocol.units import DAY_MS, TaskId, Wei
from protocol.wire.codec import CAPABILITY_PLACE, decode
from protocol.wire.messages import (
    Abandon,
    Alive,
    Award,
    Cancel,
    CapabilityUpdate,
    Claim,
    Preview,
    Result,
    SealedBody,
    TaskSpecification,
)
from tests.protocol.roles.frames import (
    CAROL_ID,
    MODEL,
    NOTHING,
    PICTURE,
    PICTURE_DIGEST,
    SPECIFICATION,
    award_of,
    hello,
)
from tests.protocol.roles.sealing import CONTENT_KEY, SEALED, award_digest, with_key
from tests.protocol.roles.seats import MinerSeat, judged, of_kind, persisted
from tests.support.networks import BOB, CAROL


def public_key(seat: MinerSeat) -> bytes:
    """What the miner says in its next capability."""
    seat.now += 2000
    update = of_kind(seat.say(CAROL, hello(CAROL_ID)), CapabilityUpdate)[0]
    key = decode(update.body, CAPABILITY_PLACE).sealing_key
    assert key is not None
    return key


def waiting(seat: MinerSeat) -> tuple[Award, bytes]:
    """Claim and win a sealed task; give its award, and the key to which is sealed."""
    to = public_key(seat)
    award = award_of(seat.claimed(), work=SEALED)
    seat.say(CAROL, award)
    return award, to


def jobs(effects: Iterable[Effect]) -> list[StartJob]:
    return [effect for effect in effects if isinstance(effect, StartJob)]


def reasons(effects: Iterable[Effect]) -> list[str]:
    return [abandon.reason for abandon in of_kind(effects, Abandon)]


def opened(seat: MinerSeat) -> Award:
    award, to = waiting(seat)
    assert jobs(seat.say(CAROL, with_key(award, to)))
    return award


def test_award__of_a_sealed_task__holds_its_lease_and_begins_nothing() -> None:
    seat = MinerSeat()
    public_key(seat)
    effects = seat.say(CAROL, award_of(seat.claimed(), work=SEALED))
    assert not jobs(effects)
    assert [alive.state for alive in of_kind(effects, Alive)] == ["queued"]
    assert [alive.state for alive in of_kind(seat.wait(1000), Alive)] == ["queued"]


def test_key__comes_after_its_award__the_engine_gets_what_was_sealed() -> None:
    seat = MinerSeat()
    award, to = waiting(seat)
    (job,) = jobs(seat.say(CAROL, with_key(award, to)))
    assert job.specification == SPECIFICATION


def test_key__comes_with_its_award__begins_at_once() -> None:
    seat = MinerSeat()
    to = public_key(seat)
    award = award_of(seat.claimed(), work=SEALED)
    (job,) = jobs(seat.say(CAROL, with_key(award, to)))
    assert job.specification == SPECIFICATION


def _cancelled_and_offered_again(seat: MinerSeat) -> Claim:
    """A job is taken back while the engine draws, and its very attempt is offered and claimed once more."""
    to = public_key(seat)
    award = award_of(of_kind(seat.offer(0), Claim)[0], work=SEALED)
    seat.say(CAROL, award)
    assert jobs(seat.say(CAROL, with_key(award, to)))
    seat.say(CAROL, Cancel(task=award.statement.task, attempt=0, reason="superseded"))
    seat.wait(3000)
    return of_kind(seat.offer(0), Claim)[0]


def test_award__same_attempt_while_the_engine_ends_the_first__nothing_is_shown_unsealed() -> None:
    seat = MinerSeat()
    second = award_of(_cancelled_and_offered_again(seat), work=SEALED)
    assert reasons(seat.say(CAROL, second)) == ["not_served"]
    effects = seat.finish(second)
    assert not of_kind(effects, Result), "it has no key to seal to, and belongs to the app of the first"
    assert not persisted(effects, ArtifactStored)
    assert not of_kind(seat.wait(WAIT_MS + 5000), Result)


def test_award__same_attempt_of_another_order__is_not_sealed_to_its_app() -> None:
    seat = MinerSeat()
    claim = _cancelled_and_offered_again(seat)
    to = public_key(seat)
    second = award_of(claim, work=SEALED)
    assert not jobs(seat.say(CAROL, with_key(second, to)))
    assert not persisted(seat.finish(second), ArtifactStored)


def test_award__same_attempt_once_the_engine_is_rid_of_it__is_begun() -> None:
    seat = MinerSeat()
    to = public_key(seat)
    first = award_of(of_kind(seat.offer(0), Claim)[0], work=SEALED)
    seat.say(CAROL, with_key(first, to))
    seat.say(CAROL, Cancel(task=first.statement.task, attempt=0, reason="superseded"))
    seat.hear(JobFailed(TaskId(first.statement.task), 0, "cancelled"))
    seat.wait(3000)
    second = award_of(of_kind(seat.offer(0), Claim)[0], work=SEALED)
    assert jobs(seat.say(CAROL, with_key(second, to)))


def test_key__comes_twice__begins_once() -> None:
    seat = MinerSeat()
    award, to = waiting(seat)
    assert jobs(seat.say(CAROL, with_key(award, to)))
    again = seat.say(CAROL, with_key(award, to))
    assert not jobs(again)
    assert not reasons(again)


@pytest.mark.parametrize("content_key", [b"d" * 32, CONTENT_KEY], ids=["of another order", "for another award"])
def test_key__that_opens_nothing__job_is_given_back_by_name_and_nobody_is_trusted_less(content_key: bytes) -> None:
    seat = MinerSeat()
    award, to = waiting(seat)
    other = award.model_copy(update={"statement": award.statement.model_copy(update={"price": Wei(1)})})
    of = other if content_key == CONTENT_KEY else None
    effects = seat.say(CAROL, with_key(award, to, of=of, content_key=content_key))
    assert reasons(effects) == ["sealed_invalid"]
    assert not jobs(effects)
    assert not judged(effects)
    assert seat.core._working.delivering.trust_now(CAROL_ID) == ANY


@pytest.mark.parametrize("sealed", [b"k" * 80, b"k" * 79, b""], ids=["garbage", "cut off", "empty"])
def test_key__garbage__job_is_given_back_by_name(sealed: bytes) -> None:
    seat = MinerSeat()
    award, _ = waiting(seat)
    effects = seat.say(CAROL, award.model_copy(update={"sealed_key": sealed}))
    assert reasons(effects) == ["sealed_invalid"]


def test_key__to_another_miner__job_is_given_back_by_name() -> None:
    seat = MinerSeat()
    award, _ = waiting(seat)
    effects = seat.say(CAROL, with_key(award, b"\x09" + bytes(31)))
    assert reasons(effects) == ["sealed_invalid"]


def test_body__that_is_none__job_is_given_back_by_name() -> None:
    seat = MinerSeat()
    to = public_key(seat)
    junk = TaskSpecification.model_validate(SEALED.model_dump() | {"sealed": bytes(272)})
    effects = seat.say(CAROL, with_key(award_of(seat.claimed(), work=junk), to))
    assert reasons(effects) == ["sealed_invalid"]
    assert not jobs(effects)


def test_key__does_not_come__is_asked_for_again_and_then_given_back() -> None:
    seat = MinerSeat()
    waiting(seat)
    assert of_kind(seat.wait(ASK_AGAIN_MS), Claim), "the award comes again, with the key if there is one"
    effects = seat.wait(WAIT_MS)
    assert reasons(effects) == ["no_key"]
    assert not of_kind(seat.wait(WAIT_MS), Alive)
    assert of_kind(seat.offer(), Claim), "its coordinator, which may have been started again, is trusted as before"


def test_cancel__while_the_key_is_awaited__frees_the_place() -> None:
    seat = MinerSeat()
    award, to = waiting(seat)
    statement = award.statement
    effects = seat.say(CAROL, Cancel(task=statement.task, attempt=statement.attempt, reason="cancelled"))
    assert [type(effect) for effect in effects if isinstance(effect, CancelJob)] == [CancelJob]
    assert not jobs(seat.say(CAROL, with_key(award, to))), "the award binds nobody any more"
    assert not of_kind(seat.wait(WAIT_MS), Alive)


def test_finished__sealed_job__commits_to_and_sends_what_only_its_app_opens() -> None:
    seat = MinerSeat()
    award = opened(seat)
    effects = seat.finish(award)
    (result,) = of_kind(effects, Result)
    (stored,) = persisted(effects, ArtifactStored)
    assert result.commitment.artifact == stored.digest == hashlib.sha256(stored.data).digest()
    assert result.size == len(stored.data)
    assert PICTURE[:64] not in stored.data
    assert open_picture(CONTENT_KEY, award_digest(award), stored.data) == PICTURE
    assert persisted(effects, ResultCommitted)[0].artifact == stored.digest


def test_finished__sealed_job__commits_to_no_fingerprint() -> None:
    seat = MinerSeat()
    award = opened(seat)
    statement = award.statement
    assert MODEL.digest is not None
    event = JobFinished(
        statement.task,
        statement.attempt,
        PICTURE,
        PICTURE_DIGEST,
        "image/png",
        MODEL.digest,
        PICTURE_DIGEST,
        40,
        fingerprints=bytes(FINGERPRINT_BYTES),
    )
    effects = seat.hear(event)
    (result,) = of_kind(effects, Result)
    assert not persisted(effects, StepsKept), "nor are its steps kept"
    assert result.commitment.fingerprint == NOTHING, "by it, whoever guesses a prompt could see that he is right"


def test_progress__of_a_sealed_job__shows_no_preview() -> None:
    seat = MinerSeat()
    award = opened(seat)
    statement = award.statement
    seat.now += 1000
    effects = seat.hear(JobProgress(statement.task, statement.attempt, "step", 3, 10, 5, preview=b"preview"))
    assert of_kind(effects, Alive)
    assert not of_kind(effects, Preview)


def test_opened__what_the_owner_forbids__is_given_back_by_name() -> None:
    seat = MinerSeat()
    seat.core._working._rule._refuses = lambda one: "heart" in one.prompt
    award, to = waiting(seat)
    effects = seat.say(CAROL, with_key(award, to))
    assert reasons(effects) == ["content_policy"]
    assert not jobs(effects)


def test_failed__sealed_job__is_given_back_as_any_other() -> None:
    seat = MinerSeat()
    award = opened(seat)
    effects = seat.hear(JobFailed(award.statement.task, award.statement.attempt, "out_of_memory"))
    assert reasons(effects) == ["out_of_memory"]


def test_public__a_day_later__is_another_and_the_one_before_opens_for_a_while() -> None:
    seat = MinerSeat()
    before = public_key(seat)
    assert public_key(seat) == before
    seat.now += DAY_MS
    after = public_key(seat)
    assert after != before
    keys = seat.core._working.sealed.keys
    award = award_of(seat.claimed(), work=SEALED)
    sealed = with_key(award, before).sealed_key
    assert sealed is not None
    assert keys.open(sealed, award_digest(award)) == CONTENT_KEY
    seat.now += KEPT_MS
    assert public_key(seat) == after
    with pytest.raises(InvalidMessage):
        keys.open(sealed, award_digest(award))
    assert ROTATED_MS == DAY_MS


def test_key__from_another_coordinator__opens_nothing() -> None:
    seat = MinerSeat()
    award, to = waiting(seat)
    key = (award.statement.task, award.statement.attempt)
    sealed = with_key(award, to).sealed_key
    assert sealed is not None
    seat.core._working.sealed.on_key(BOB.peer_id, key, sealed)
    assert jobs(seat.say(CAROL, with_key(award, to))), "it still waits"


@pytest.mark.parametrize("changes", [{}, {"output": "webp", "quality": 80}], ids=["first version", "second version"])
@pytest.mark.parametrize("embed", [False, True])
def test_open_specification__any_body__is_what_the_plain_order_says(changes: dict[str, object], embed: bool) -> None:
    sealed = TaskSpecification.model_validate(SEALED.model_dump() | changes)
    body = SealedBody(prompt="a", negative_prompt="b", seed=2**63 - 1, embed_prompt=embed)
    found = open_specification(sealed, body)
    assert (found.prompt, found.negative_prompt, found.seed, found.embed_prompt) == ("a", "b", 2**63 - 1, embed)
    assert found.version == (2 if changes or embed else 1)
    assert found.sealed is None
    for name in ("model", "width", "height", "steps", "guidance", "scheduler", "output", "quality"):
        assert getattr(found, name) == getattr(sealed, name)


def test_award__of_a_sealed_task__says_nothing_of_it_but_to_its_coordinator() -> None:
    seat = MinerSeat()
    award, to = waiting(seat)
    effects = seat.say(CAROL, with_key(award, to))
    sent = [effect.peer for effect in effects if isinstance(effect, Send)]
    assert set(sent) <= {CAROL.peer_id}
