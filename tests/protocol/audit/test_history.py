"""What of a record is believed: only what is signed, by whoever may speak, under tables that add up."""

from dataclasses import replace
from typing import Any

import pytest

from protocol.audit.audit import audit
from protocol.audit.history import history_of
from protocol.audit.record import Entry, Heard, InactiveSeen, RecordHead, ViewSeen
from protocol.crypto.publication import Publication
from protocol.crypto.typed_data import sign
from protocol.stake.lottery import task_id
from protocol.stake.table import EpochView, StakeTable
from protocol.units import CAI, Digest, Epoch, StakingId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Objection
from protocol.wire.topics import objections_topic
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, row, view
from tests.support.signed_gossip import (
    BOOT,
    EPOCH,
    HEAD,
    PARAMS,
    START,
    Speaker,
    full_field,
    notice,
    objection,
    offer,
    published_objection,
    ranking,
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


MADE_UP = EPOCH + 5
"""An epoch of which dave makes a table."""


def made_up(dave_is: int) -> EpochView:
    """A table that gives dave's key to the coordinator of this id."""
    return view(MADE_UP, (row(ALICE, 1), row(BOB, 2), coordinator(DAVE, dave_is)))


def by_dave(dave_is: int, network: RecordHead = HEAD, **changes: Any) -> list[Entry]:
    """The table, and an offer in that coordinator's name that fits it and a head."""
    table = made_up(dave_is)
    name = task_id(network.network_id, StakingId(dave_is), Epoch(MADE_UP), BOOT, 0)
    own = offer(accepted=MADE_UP, task=name)
    speaker = Speaker(4, began=START + 10_000)
    speaker.say(coordinator=dave_is, epoch=MADE_UP, root=table.table.root, offers=[own], **changes)
    return [ViewSeen(table, table.table.root), *speaker.said]


@pytest.mark.parametrize("dave_is", [3, 4])
def test_head__changed_with_a_table_and_an_offer_made_for_it__accuses_nobody_else(dave_is: int) -> None:
    head = RecordHead(PARAMS, HEAD.chain_id + 1, HEAD.contract)
    honest = Speaker()
    honest.say(offers=[offer(0), offer(1)])
    report = audit(head, [*views(), *honest.said, *by_dave(dave_is, head)])
    assert [(fault.rule, fault.count) for fault in report.faults] == [("record.network", 1)]
    assert CAROL.peer_id in report.faults[0].first
    assert report.proofs == ()
    assert [(fact.coordinator, fact.tasks) for fact in report.facts] == [(dave_is, 1)]


def test_sequence_number__of_another_key_in_a_made_up_table__is_no_second_message_under_it() -> None:
    honest = Speaker(began=START + 10_000)
    honest.say(offers=[offer()])
    assert audit(HEAD, [*views(), *honest.said, *by_dave(3)]).proofs == ()


def test_table__of_an_epoch_that_the_chain_has_not__is_a_fault_and_not_believed() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer()])
    report = audit(HEAD, [*views(EPOCH), *speaker.said, *by_dave(3)], {Epoch(EPOCH): view_of()})
    assert [(fault.rule, fault.count) for fault in report.faults] == [("record.no_table", 1), ("record.view", 1)]
    assert (report.views, [fact.tasks for fact in report.facts]) == (1, [1])


def test_objection__whose_decline_was_signed_by_the_key_of_a_made_up_table__says_nothing() -> None:
    speaker, table = Speaker(), made_up(3)
    first, second = ranking(0)
    speaker.say(offers=[offer()])
    speaker.say(60, awards=[notice(offer(), second)])
    lie = objection(offer(), first, second, 7)
    forged = objection(offer(), first, second, 7, decline_signature=sign(DAVE, HEAD.domain, lie.decline))
    history = history_of(
        HEAD, [ViewSeen(table, table.table.root), *speaker.entries(), published_objection(forged, at_ms=80)]
    )
    assert (history.faults, history.objections) == ([], [])
    assert len(history_of(HEAD, [*speaker.entries(), published_objection(lie, at_ms=80)]).objections) == 1


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
