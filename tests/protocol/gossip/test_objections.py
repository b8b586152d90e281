"""Who may object to an award in public, about what, and how often."""

from typing import Any

import pytest

from protocol.gossip.admission import Admission
from protocol.gossip.objections import PACE
from protocol.gossip.verdict import Verdict
from protocol.stake.book import StakeBook
from protocol.units import PeerId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import Objection
from protocol.wire.topics import objections_topic, offers_topic
from tests.support.networks import ALICE, BOB, CAROL, DAVE
from tests.support.signed_gossip import (
    EPOCH,
    HEAD,
    MODEL,
    PARAMS,
    START,
    Speaker,
    objection,
    offer,
    view_of,
)

NOW = UnixMillis(START + 30_000)
TOPIC = objections_topic(PARAMS.name)
FAIR = objection(offer(), 1, 2, 1, at_ms=30_000)


def admission(*, head: int = NOW) -> Admission:
    book = StakeBook(PARAMS)
    for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
        book.add(view_of(epoch))
    book.head_seen(UnixMillis(head))
    return Admission(PARAMS.name, PARAMS, book, HEAD.domain)


def judged(
    said: Objection,
    signer: PeerId = ALICE.peer_id,
    *,
    by: Admission | None = None,
    topic: str = TOPIC,
    now: UnixMillis = NOW,
) -> tuple[Verdict, str]:
    judgement = (by or admission()).judge(topic, encode(said), signer, now)
    assert (judgement.message is not None) == (judgement.verdict is Verdict.ACCEPT)
    return judgement.verdict, judgement.rule


def changed(**changes: Any) -> Objection:
    """The objection with fields of its claim or decline changed, each signed again by nobody."""
    parts: dict[str, dict[str, Any]] = {"claim": {}, "decline": {}}
    for name, value in changes.items():
        part, _, field = name.partition("_")
        parts[part][field] = value
    return FAIR.model_copy(
        update={part: getattr(FAIR, part).model_copy(update=fields) for part, fields in parts.items() if fields}
    )


def test_judge__objection_of_an_active_miner__is_accepted() -> None:
    assert judged(FAIR) == (Verdict.ACCEPT, "gossip.accepted")


def test_judge__objection_on_the_topic_of_offers_or_a_bulletin_among_objections__is_rejected() -> None:
    assert judged(FAIR, topic=offers_topic(PARAMS.name, MODEL)) == (Verdict.REJECT, "gossip.topic")
    bulletin = Speaker().say(30_000).publication.data
    judgement = admission().judge(TOPIC, bulletin, CAROL.peer_id, NOW)
    assert (judgement.verdict, judgement.rule) == (Verdict.REJECT, "gossip.topic")


@pytest.mark.parametrize(
    "changes",
    [
        {"decline_reason": "early"},
        {"decline_winner": 0},
        {"decline_winner": 1},
        {"decline_attempt": 1},
        {"decline_coordinator": 4},
        {"decline_task": bytes(32)},
        {"decline_claim": bytes(32)},
        {"claim_nonce": b"m" * 16},
    ],
)
def test_judge__decline_of_another_claim_or_for_another_reason__is_rejected(changes: dict[str, Any]) -> None:
    assert judged(changed(**changes)) == (Verdict.REJECT, "objection.statements")


def test_judge__objection_in_the_name_of_another__is_rejected() -> None:
    assert judged(FAIR, BOB.peer_id) == (Verdict.REJECT, "objection.miner")
    assert judged(FAIR, CAROL.peer_id) == (Verdict.REJECT, "objection.miner")


def test_judge__claim_that_its_miner_did_not_sign__is_rejected() -> None:
    forged = objection(offer(), 2, 1, 1, at_ms=30_000)
    mixed = FAIR.model_copy(update={"claim_signature": forged.claim_signature})
    assert judged(mixed) == (Verdict.REJECT, "objection.signature")
    assert judged(FAIR.model_copy(update={"claim_signature": bytes(65)})) == (Verdict.REJECT, "statement.signature")


def test_judge__decline_by_another_key_than_the_coordinators__is_ignored() -> None:
    other = objection(offer(), 1, 2, 1, by=4, at_ms=30_000)
    assert judged(other) == (Verdict.ACCEPT, "gossip.accepted")
    mixed = FAIR.model_copy(update={"decline_signature": other.decline_signature})
    assert judged(mixed) == (Verdict.IGNORE, "objection.coordinator")


def test_judge__objection_of_a_stranger__is_rejected_or_ignored_as_a_bulletin_is() -> None:
    stranger = PeerId("16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi")
    assert judged(FAIR, stranger) == (Verdict.REJECT, "gossip.stranger")
    assert judged(FAIR, stranger, by=admission(head=0)) == (Verdict.IGNORE, "gossip.perhaps_stranger")


def test_judge__objection_of_a_jailed_miner__is_ignored() -> None:
    by = admission()
    by._book.inactive_now(frozenset({FAIR.claim.miner}))
    assert judged(FAIR, by=by) == (Verdict.IGNORE, "gossip.inactive")


def test_judge__objection_sent_long_ago__is_ignored() -> None:
    assert judged(objection(offer(), 1, 2, 1)) == (Verdict.IGNORE, "gossip.stale")


def test_judge__objections_faster_than_the_pace__are_ignored_and_those_of_others_are_not() -> None:
    by = admission()
    later = [objection(offer(number), 1, 2, 1, at_ms=30_000) for number in (1, 2)]
    assert judged(FAIR, by=by)[0] is Verdict.ACCEPT
    assert judged(FAIR, by=by) == (Verdict.IGNORE, "gossip.duplicate")
    assert judged(later[0], by=by) == (Verdict.IGNORE, "objection.pace")
    assert judged(objection(offer(), 2, 1, 1, at_ms=30_000), BOB.peer_id, by=by)[0] is Verdict.ACCEPT
    after = UnixMillis(NOW + PACE)
    fresh = objection(offer(2), 1, 2, 1, at_ms=30_000 + PACE)
    assert judged(fresh, by=by, now=after)[0] is Verdict.ACCEPT


def test_judge__refused_objection__takes_nothing_from_its_miners_pace() -> None:
    by = admission()
    other = objection(offer(), 1, 2, 1, by=4, at_ms=30_000)
    mixed = FAIR.model_copy(update={"decline_signature": other.decline_signature})
    assert judged(mixed, by=by)[0] is Verdict.IGNORE
    assert judged(FAIR, by=by)[0] is Verdict.ACCEPT


def test_judge__objection_by_a_coordinators_own_key__is_rejected() -> None:
    assert judged(FAIR, DAVE.peer_id) == (Verdict.REJECT, "objection.miner")
    own = objection(offer(), 4, 2, 1, at_ms=30_000)
    assert judged(own, DAVE.peer_id) == (Verdict.REJECT, "objection.miner"), "nor where it claimed in its own name"
