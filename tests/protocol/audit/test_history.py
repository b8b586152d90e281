"""What of a record is believed: only what is signed, by whoever may speak, under tables that add up."""

from dataclasses import replace

import pytest

from protocol.audit.audit import audit
from protocol.audit.history import history_of
from protocol.audit.record import Entry, Heard, InactiveSeen, RecordHead, ViewSeen
from protocol.crypto.publication import Publication
from protocol.crypto.typed_data import sign
from protocol.stake.table import StakeTable
from protocol.units import CAI, Digest, StakingId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Objection
from protocol.wire.topics import objections_topic
from tests.support.networks import ALICE, CAROL
from tests.support.signed_gossip import (
    EPOCH,
    HEAD,
    PARAMS,
    START,
    Speaker,
    full_field,
    objection,
    offer,
    published_objection,
    view_of,
    views,
)

LIE = objection(offer(), 1, 2, 7).decline
"""Names a rank that the winner has not."""
OF_ANOTHER = objection(offer(1), 1, 2, 7).decline


def faults(*entries: Entry) -> list[tuple[str, int]]:
    return [(fault.rule, fault.count) for fault in audit(HEAD, entries).faults]


def said() -> Heard:
    return Speaker().say(offers=[offer()])


@pytest.mark.parametrize(
    "changes",
    [{"data": b""}, {"sequence": 7}, {"topic": "/cuckoo/1/test/offers/other"}, {"signature": b"\x00" * 70}],
)
def test_message__that_was_changed__is_a_fault_and_accuses_nobody(changes: dict[str, object]) -> None:
    heard = said()
    changed = Heard(heard.at, replace(heard.publication, **changes))  # type: ignore[arg-type]
    report = audit(HEAD, [*views(), changed])
    assert [fault.rule for fault in report.faults] == ["record.signature"]
    assert (report.facts, report.proofs, report.is_clean) == ((), (), False)


def test_message__that_says_nothing_of_ours__is_a_fault() -> None:
    speaker = Speaker()
    for topic, data in (("/cuckoo/1/test/offers/other", said().publication.data), ("/cuckoo/1/test/objections", b"")):
        speaker.publish(topic, data)
    speaker.say(field=b"\x02")
    speaker.say(field=full_field() * 2)
    assert faults(*views(), *speaker.said) == [("record.message", 4)]


def test_table__whose_rows_have_another_root__is_a_fault() -> None:
    view = view_of()
    richer = tuple(replace(row, stake=Wei(row.stake + CAI)) if row.id == 2 else row for row in view.table.rows)
    changed = ViewSeen(replace(view, table=StakeTable.of(richer)), view.table.root)
    assert faults(*views(EPOCH - 1, EPOCH + 1), changed, said()) == [("record.no_table", 1), ("record.root", 1)]


def test_table__that_was_changed_with_its_root__does_not_fit_what_was_signed() -> None:
    view = view_of()
    richer = StakeTable.of(replace(row, stake=Wei(row.stake + CAI)) for row in view.table.rows)
    assert faults(ViewSeen(replace(view, table=richer), richer.root), said()) == [("record.other_root", 1)]


def test_beacon__of_two_kinds__is_a_fault() -> None:
    view = view_of()
    other = ViewSeen(replace(view, beacon=Digest(bytes(32))), view.table.root)
    assert faults(*views(), other) == [("record.view", 1)]


def test_head__of_another_network_than_the_messages__is_a_fault_and_accuses_nobody() -> None:
    report = audit(RecordHead(PARAMS, HEAD.chain_id + 1, HEAD.contract), [*views(), said()])
    assert [fault.rule for fault in report.faults] == ["record.network"]
    assert (report.facts, report.proofs) == ((), ())


def test_history_of__with_views_of_the_chain__believes_them_and_not_the_record() -> None:
    view = view_of()
    forged = ViewSeen(replace(view, beacon=Digest(bytes(32))), view.table.root)
    speaker = Speaker()
    speaker.say(offers=[offer()])
    report = audit(HEAD, [forged, *speaker.said], {EPOCH: view})
    assert [(fault.rule, fault.count) for fault in report.faults] == [("record.view", 1)]
    assert (report.views, report.views_of_chain) == (1, 1)
    honest = history_of(HEAD, [*views(), *speaker.said]).conducts[StakingId(3)]
    again = history_of(HEAD, [forged, *speaker.said], {EPOCH: view}).conducts[StakingId(3)]
    assert again.offered[0].draw.ranking == honest.offered[0].draw.ranking


def test_message__by_another_than_the_coordinator__is_a_fault() -> None:
    miner, imposter = Speaker(1), Speaker(4)
    miner.say(coordinator=1)
    imposter.say(coordinator=3)
    assert faults(*views(), *miner.said, *imposter.said) == [("record.stranger", 2)]


def test_record__of_who_is_inactive_and_of_objections__is_read() -> None:
    inactive = InactiveSeen(UnixMillis(START), frozenset({StakingId(1)}))
    objected = published_objection(objection(offer(), 1, 2, 1))
    assert faults(*views(), inactive, said(), objected) == []


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (objection(offer(), 1, 2, 1, decline_signature=sign(ALICE, HEAD.domain, LIE)), "record.stranger"),
        (objection(offer(), 1, 2, 1, decline=LIE, decline_signature=sign(ALICE, HEAD.domain, LIE)), "record.stranger"),
        (objection(offer(), 1, 2, 1, decline=LIE), "record.stranger"),
        (
            objection(offer(), 1, 2, 1, decline=OF_ANOTHER, decline_signature=sign(CAROL, HEAD.domain, OF_ANOTHER)),
            "record.message",
        ),
        (objection(offer(), 1, 2, 1, claim_signature=bytes(65)), "record.message"),
        (objection(offer(), 4, 2, 1), "record.stranger"),
    ],
)
def test_objection__with_what_its_coordinator_or_miner_did_not_sign__is_a_fault_and_accuses_nobody(
    said: Objection, rule: str
) -> None:
    speaker = Speaker()
    speaker.say(offers=[offer()])
    report = audit(HEAD, [*speaker.entries(), published_objection(said)])
    assert [fault.rule for fault in report.faults] == [rule]
    assert report.proofs == ()


def test_objection__with_the_claim_of_another_miner__is_a_fault() -> None:
    speaker = Speaker(2)
    heard = speaker.publish(objections_topic(PARAMS.name), encode(objection(offer(), 1, 2, 1)))
    assert faults(*views(), said(), heard) == [("record.stranger", 1)]


def test_publisher__that_is_no_node__is_a_fault() -> None:
    heard = said()
    nobody = Publication("x" * 300, 1, heard.publication.topic, heard.publication.data, b"")  # type: ignore[arg-type]
    assert faults(*views(), Heard(heard.at, nobody)) == [("record.message", 1)]
