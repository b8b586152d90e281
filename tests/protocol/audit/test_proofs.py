"""What is proven by signatures and arithmetic, and what honest networks do that must not be taken for it."""

from collections.abc import Iterable

from protocol.audit.audit import audit
from protocol.audit.history import NEW_RUN, history_of
from protocol.audit.proofs import FEW_BOOTS, SETTLED_MS
from protocol.audit.record import Entry
from protocol.audit.report import Proof, Report
from protocol.crypto.typed_data import digest, sign
from tests.support.networks import CAROL
from tests.support.signed_gossip import (
    BOOT,
    EPOCH,
    HEAD,
    KEYS,
    PARAMS,
    START,
    Speaker,
    closure,
    digest_of,
    field_without,
    full_field,
    notice,
    objection,
    offer,
    published_objection,
    ranking,
    view_of,
)

LATER = SETTLED_MS + 1000


def proofs(*entries: Entry) -> list[Proof]:
    report = audit(HEAD, entries)
    assert report.faults == ()
    return list(report.proofs)


def rules(entries: Iterable[Entry]) -> list[str]:
    return [proof.rule for proof in proofs(*entries)]


def said(report: Report) -> tuple[int, int, int]:
    """Tasks, draws and numbers accounted for, of the one coordinator."""
    (fact,) = report.facts
    return fact.tasks, fact.offers, fact.numbers_complete


def test_audit__honest_coordinator__nothing_is_proven_and_all_is_counted() -> None:
    speaker = Speaker()
    for number in range(5):
        first, second = ranking(number)
        speaker.say(1000 * number, offers=[offer(number)])
        at, winner = (30, first) if number % 2 else (60, second)
        speaker.say(1000 * number + at, awards=[notice(offer(number), winner)])
    speaker.say(5000 + LATER, closures=[closure(offer(4))])
    report = audit(HEAD, speaker.entries())
    assert report.is_clean
    assert said(report) == (5, 5, 5)
    (fact,) = report.facts
    assert (fact.awards_checked, fact.awards_in_field, fact.awards_first) == (5, 5, 2)
    assert (fact.messages, fact.missed, fact.boots, fact.runs) == (11, 0, 1, 1)


def test_message__of_two_kinds_under_one_number__is_proven() -> None:
    here, there = Speaker(), Speaker()
    here.say(offers=[offer()])
    there.say(offers=[offer()], field=field_without(1))
    found = proofs(*here.entries(), *there.said)
    assert [proof.rule for proof in found] == ["message.twice", "offer.twice"]
    assert {proof.expected for proof in found[:1]} | {proof.seen for proof in found[:1]} == {
        one.said[0].publication.digest.hex()[:16] for one in (here, there)
    }


def test_offer__under_another_name__is_proven() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer(7, task=offer(8).task), offer(9)])
    (proof,) = proofs(*speaker.entries())
    assert (proof.rule, proof.coordinator) == ("offer.task", 3)
    assert speaker.said[0].publication.digest.hex()[:12] in proof.evidence[0]
    assert str(speaker.said[0].publication.sequence) in proof.evidence[0]


def redrawn(at_ms: int, accepted: int, *, is_awarded: bool = True) -> list[str]:
    """The rules that a task of one epoch breaks which is drawn from another, so long after that one began."""
    speaker, again = Speaker(), offer(accepted=accepted)
    speaker.say(at_ms, offers=[again])
    speaker.say(at_ms + 200, awards=[notice(again, 1)] if is_awarded else [])
    return rules(speaker.entries())


def test_offer__drawn_again_while_its_epoch_is_acceptable__is_proven_once_it_is_awarded() -> None:
    assert redrawn(9_000, EPOCH - 1) == ["early_redraw"]
    assert redrawn(11_000, EPOCH - 1) == []
    assert redrawn(30_000, EPOCH + 1) == ["early_redraw"], "nor from an epoch before its own"
    assert redrawn(9_000, EPOCH - 1, is_awarded=False) == [], "its chain node may have been down"


def test_offer__published_twice_in_one_run__is_proven_and_in_another_run_is_not() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer()])
    speaker.say(500, offers=[offer()], field=field_without(1))
    (proof,) = proofs(*speaker.entries())
    assert (proof.rule, len(proof.evidence)) == ("offer.twice", 2)

    before, after = Speaker(), Speaker(began=START + 5000)
    before.say(offers=[offer()])
    after.say(6000, offers=[offer()], field=field_without(1))
    assert rules([*before.entries(), *after.said]) == [], "attempts that nobody was awarded are not on disk"


def test_offer__again_with_other_terms__is_proven() -> None:
    for changes in ({"price": 1}, {"deadline": START + 1}, {"pixel_steps": 5}):
        speaker = Speaker()
        speaker.say(offers=[offer()])
        speaker.say(3000, offers=[offer(attempt=1, **changes)])
        assert rules(speaker.entries()) == ["offer.changed"]
    speaker = Speaker()
    speaker.say(offers=[offer()])
    speaker.say(3000, offers=[offer(attempt=1, slot_step_ms=200, allowance_ms=90)])
    assert rules(speaker.entries()) == [], "slots follow latency"


def test_offer__of_one_model_and_then_of_another__is_proven() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer()])
    speaker.say(3000, offers=[offer(attempt=1)], model="another-model")
    assert rules(speaker.entries()) == ["offer.changed"]


def test_award__to_two_miners__is_proven() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer()])
    speaker.say(200, awards=[notice(offer(), 1)])
    speaker.say(300, awards=[notice(offer(), 2)])
    (proof,) = proofs(*speaker.entries())
    assert (proof.rule, proof.expected, proof.seen) == ("award.twice", "miner 1", "miner 2")


def test_award__to_another_miner_in_another_run__is_what_an_old_copy_of_the_store_brings() -> None:
    before, after = Speaker(), Speaker(began=START + 5000)
    before.say(offers=[offer()])
    before.say(200, awards=[notice(offer(), 1)])
    after.say(6000, offers=[offer()])
    after.say(6200, awards=[notice(offer(), 2)])
    assert rules([*before.entries(), *after.said]) == []
    after.say(6300, awards=[notice(offer(), 1)])
    assert rules([*before.entries(), *after.said]) == ["award.twice"]


def test_award__of_each_attempt_to_another__is_in_order() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer()])
    speaker.say(200, awards=[notice(offer(), ranking(0)[0])])
    speaker.say(4000, offers=[offer(attempt=1)], field=field_without(ranking(0)[0]))
    speaker.say(4020, awards=[notice(offer(attempt=1), ranking(0)[1])])
    assert rules(speaker.entries()) == []


def test_award__to_a_worse_rank_or_outside_the_field_at_once__proves_nothing() -> None:
    for winner, field in ((ranking(0)[1], full_field()), (1, field_without(1))):
        speaker = Speaker()
        speaker.say(offers=[offer()], field=field)
        speaker.say(1, awards=[notice(offer(), winner)])
        assert rules(speaker.entries()) == [], "the better ranks may have said that they have no place"


def test_numbers__left_out_in_a_whole_run__are_proven() -> None:
    speaker = Speaker()
    for number in (0, 1, 4):
        speaker.say(100 * number, offers=[offer(number)])
    speaker.say(400 + LATER)
    (proof,) = proofs(*speaker.entries())
    assert (proof.rule, proof.seen) == ("sequence.gap", "missing: 2, 3")


def test_numbers__that_a_closure_or_award_accounts_for__are_no_gap() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer(0)])
    speaker.say(100, closures=[closure(offer(1), "cancelled")], awards=[notice(offer(2), 1)])
    speaker.say(400, offers=[offer(3)])
    speaker.say(400 + LATER)
    assert rules(speaker.entries()) == []


def test_numbers__where_messages_were_missed__prove_nothing_and_are_counted() -> None:
    speaker = Speaker()
    for number in range(4):
        speaker.say(100 * number, offers=[offer(number)])
    speaker.say(400 + LATER)
    del speaker.said[1:3]
    report = audit(HEAD, speaker.entries())
    assert report.is_clean
    (fact,) = report.facts
    assert (fact.missed, fact.numbers_unknown, fact.numbers_complete) == (2, 2, 2)


def test_sequence__jump_below_that_of_a_new_run__is_so_many_messages_missed() -> None:
    for jump, expected in ((1, (0, 1)), (20_000, (19_999, 1)), (NEW_RUN - 1, (NEW_RUN - 2, 1)), (NEW_RUN, (0, 2))):
        speaker = Speaker()
        speaker.say(offers=[offer(0)])
        speaker.sequence += jump - 1
        speaker.say(100, offers=[offer(1)])
        (fact,) = audit(HEAD, speaker.entries()).facts
        assert (fact.missed, fact.runs) == expected


def test_numbers__below_one_that_was_just_offered__are_not_judged_yet() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer(0)])
    speaker.say(100, offers=[offer(5)])
    speaker.say(SETTLED_MS)
    assert rules(speaker.entries()) == []


def test_numbers__that_may_wait_behind_more_urgent_ones__are_not_judged_before_all_were_offered() -> None:
    most, later = PARAMS.max_offers_per_message, Speaker()
    urgent = [offer(number) for number in range(1, 2 * most + 1)]
    for number in range(2):
        later.say(100 * number, offers=urgent[number * most : (number + 1) * most])
    later.say(LATER, offers=[offer(number, attempt=1) for number in range(1, most + 1)])
    assert rules(later.entries()) == [], "number 0 may still wait"
    later.say(LATER + 100, offers=[offer(2 * most + 2)])
    later.say(LATER + 100 + LATER)
    (proof,) = proofs(*later.entries())
    assert (proof.rule, proof.seen) == ("sequence.gap", f"missing: {2 * most + 1}")

    epoch_heard = Speaker(began=START - 10_000)
    epoch_heard.say(-5000, epoch=EPOCH - 1, root=view_of(EPOCH - 1).table.root)
    epoch_heard.say(0, offers=[offer(number, boot=BOOT - 10) for number in range(1, most + 1)])
    epoch_heard.say(LATER, offers=[offer(number, boot=BOOT - 10, attempt=1) for number in range(1, most + 1)])
    assert rules(epoch_heard.entries()) == []
    epoch_heard.say(LATER + 100)
    assert rules(epoch_heard.entries()) == ["sequence.gap"]


def test_numbers__from_the_begin_of_an_epoch_that_was_heard__begin_at_0() -> None:
    speaker, latecomer = Speaker(began=START - 10_000), Speaker()
    speaker.say(-5000, epoch=EPOCH - 1, root=view_of(EPOCH - 1).table.root)
    for one in (speaker, latecomer):
        one.say(100, offers=[offer(2, boot=BOOT - 10 if one is speaker else BOOT)])
        one.say(100 + LATER)
    assert rules(speaker.entries()) == ["sequence.gap"]
    assert rules(latecomer.entries()) == []


def test_numbers__of_an_earlier_run_that_are_offered_again__are_no_gap() -> None:
    again = Speaker(began=START + 20_000)
    for number in (3, 9, 40):
        again.say(21_000, offers=[offer(number)])
    again.say(22_000 + LATER)
    report = audit(HEAD, again.entries())
    assert report.is_clean
    assert (report.facts[0].numbers_complete, report.facts[0].numbers_unknown) == (3, 35)


def test_numbers__under_a_boot_below_the_run_that_heard_the_epoch_begin__are_judged_as_its_own() -> None:
    for below in (0, 1, 2, 5, 1000):
        speaker = Speaker(began=START - 30_000)
        speaker.say(-20_000, epoch=EPOCH - 1, root=view_of(EPOCH - 1).table.root)
        for place, number in enumerate((0, 7, 40, 41, 99)):
            speaker.say(1000 * place, offers=[offer(number, boot=BOOT - 30 - below)])
        speaker.say(5000 + LATER)
        assert rules(speaker.entries()) == ["sequence.gap"], f"no run before it can have left them, boot {below} below"


def test_boots__more_than_bad_luck_costs__are_proven() -> None:
    for boots, expected in ((FEW_BOOTS, []), (FEW_BOOTS + 1, ["boots.many"])):
        speaker = Speaker()
        for boot in range(boots):
            speaker.say(1000 * boot, offers=[offer(0, boot=BOOT + boot)])
        assert rules(speaker.entries()) == expected


def test_runs__more_than_bad_luck_costs__are_proven() -> None:
    for runs, expected in ((FEW_BOOTS, []), (FEW_BOOTS + 1, ["runs.many"])):
        entries: list[Entry] = []
        for run in range(runs):
            speaker = Speaker(began=START + 1000 * run)
            speaker.say(1000 * run, offers=[offer(run)])
            entries += speaker.entries()
        assert rules(entries) == expected
    over_a_boundary = [Speaker(began=START - 1500 + 1000 * run) for run in range(FEW_BOOTS + 1)]
    for run, speaker in enumerate(over_a_boundary):
        speaker.say(1000 * run - 1500)
    assert rules([entry for one in over_a_boundary for entry in one.entries()]) == [], "two in each epoch"


def test_numbers__tried_with_a_jump_before_each_message__are_proven_by_the_many_runs() -> None:
    speaker = Speaker()
    for number in (0, 7, 40, 41, 99):
        speaker.sequence += NEW_RUN
        speaker.say(1000 * number, offers=[offer(number)])
    speaker.say(99_000 + LATER)
    assert rules(speaker.entries()) == ["runs.many"]


def test_numbers__tried_behind_one_jump__are_counted_as_unknown() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer(0)])
    speaker.sequence += NEW_RUN
    for number in (7, 40, 41, 99):
        speaker.say(100 * number, offers=[offer(number)])
    speaker.say(9900 + LATER)
    report = audit(HEAD, speaker.entries())
    assert report.proofs == (), "a crash may have left them"
    (fact,) = report.facts
    assert (fact.runs, fact.numbers_complete, fact.numbers_unknown) == (2, 5, 95)


def test_decline__that_names_another_rank_than_the_winner_has__is_proven() -> None:
    first, second = ranking(0)
    speaker = Speaker()
    speaker.say(offers=[offer()])
    speaker.say(60, awards=[notice(offer(), second)])
    fair = published_objection(objection(offer(), first, second, 1, at_ms=80))
    lie = published_objection(objection(offer(), first, second, 7, at_ms=80))
    assert rules([*speaker.entries(), fair]) == []
    (proof,) = proofs(*speaker.entries(), lie)
    assert (proof.rule, proof.expected, proof.seen) == ("decline.rank", "rank 1", "rank 7")


def test_decline__of_a_claim_that_names_the_offer_of_another_task_or_attempt__proves_nothing() -> None:
    first, second = ranking(0)
    for named in (offer(1), offer(attempt=1)):
        speaker = Speaker()
        speaker.say(offers=[offer(), offer(1)])
        speaker.say(40, offers=[offer(attempt=1)])
        speaker.say(60, awards=[notice(offer(), second)])
        fair = objection(offer(), first, second, 1)
        claim = fair.claim.model_copy(update={"offer": digest_of(named)})
        decline = fair.decline.model_copy(update={"claim": digest(HEAD.domain, claim), "rank": 7})
        changes = {
            "claim": claim,
            "claim_signature": sign(KEYS[first], HEAD.domain, claim),
            "decline": decline,
            "decline_signature": sign(CAROL, HEAD.domain, decline),
        }
        odd = published_objection(objection(offer(), first, second, 1, **changes), at_ms=80)
        assert rules([*speaker.entries(), odd]) == []
        assert history_of(HEAD, [*speaker.entries(), odd]).objections == []


def test_decline__whose_winner_was_never_announced__proves_nothing() -> None:
    first, second = ranking(0)
    for winner in (None, first):
        speaker = Speaker()
        speaker.say(offers=[offer()])
        speaker.say(60, awards=[notice(offer(), winner)] if winner else [])
        lie = published_objection(objection(offer(), first, second, 7, at_ms=80))
        assert rules([*speaker.entries(), lie]) == []


def test_record__of_several_recorders__counts_each_message_once() -> None:
    speaker = Speaker()
    speaker.say(offers=[offer()])
    speaker.say(60, awards=[notice(offer(), ranking(0)[0])])
    assert audit(HEAD, [*speaker.entries(), *speaker.entries()]) == audit(HEAD, speaker.entries())
