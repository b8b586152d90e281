"""Slashing for two statements that contradict each other, of each kind."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from contracts.bindings import load
from protocol.crypto.typed_data import Domain, sign
from protocol.units import CAI
from tests.contracts.conftest import FAR, PARAMETER_DELAY_S, UNBONDING_DELAY_S, World, raw
from tests.contracts.market import BOBS, COORDINATOR, MINER_OWN, Market
from tests.contracts.proofs import BOUNTY_BPS, JAIL_S, KINDS, SLASH_BPS, Kind, commitment, prove, receipt, voucher
from tests.contracts.test_statements import other_forms
from tests.support.anvil import Reverted

ZERO = "0x" + "00" * 20
VOTE = 10_000 * CAI
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
PAIRS = dict(zip((kind.name for kind in KINDS), KINDS, strict=True))


@pytest.fixture(scope="module")
def opened_market(deployed: World) -> Iterator[Market]:
    """The treasury has voted for coordinator and miner."""
    with deployed.anvil.unchanged():
        market = Market.open(deployed)
        for node in (COORDINATOR, BOBS):
            deployed.vote(deployed.treasury, node, VOTE)
        yield market


def stake(market: Market, kind: Kind) -> int:
    return market.world.node(kind.node)["effective_stake"]


def bounty_for(market: Market, kind: Kind) -> int:
    """Give what a slash now is worth to who brings the proof: a part of what the owner loses."""
    return market.world.node(kind.node)["self_stake"] * SLASH_BPS // 10_000 * BOUNTY_BPS // 10_000


@EVERY_KIND
def test_prove__two_contradicting_statements__slashes_jails_and_pays_the_receiver(market: Market, kind: Kind):
    world = market.world
    before, supply = stake(market, kind), world.anvil.read(world.cai, "totalSupply")
    paid, bounty = world.balance(world.bob), bounty_for(market, kind)
    (event,) = prove(market, kind, receiver=world.bob)
    slashed = before * SLASH_BPS // 10_000
    assert {name: event[name] for name in ("event", "id", "kind", "slashed")} == {
        "event": "ProvenSlashed",
        "id": kind.node,
        "kind": kind.number,
        "slashed": slashed,
    }
    assert (event["reporter"], event["receiver"]) == (world.carol.lower(), world.bob.lower())
    assert stake(market, kind) == before - slashed
    assert world.balance(world.bob) == paid + bounty > paid
    assert world.anvil.read(world.cai, "totalSupply") == supply - slashed + bounty
    assert world.node(kind.node)["active"] is False
    assert world.anvil.read(world.staking, "standing", kind.node)[7] == world.anvil.now() + JAIL_S
    assert world.anvil.read(world.slashing, "proven", kind.node, kind.number, event["subject"]) is True


@EVERY_KIND
def test_prove__replayed_swapped_or_with_a_third_statement__is_refused(market: Market, kind: Kind):
    prove(market, kind)
    left = stake(market, kind)
    third = {"two_commitments": {"model": b"n" * 32}, "two_verdicts": {"verdict": 3}}.get(kind.name, {"miner": 4})
    for pair in (
        (kind.first(), kind.second()),
        (kind.second(), kind.first()),
        (kind.first(), kind.make(**third)),
    ):
        with pytest.raises(Reverted, match="Slashing: this was proven and slashed already"):
            prove(market, kind, *pair)
    assert stake(market, kind) == left


def prove_another(market: Market, kind: Kind, number: int = 8) -> dict[str, Any]:
    """Bring a contradiction of the same kind about something else."""
    numbered = {"two_vouchers": {"boot": number + 7}, "two_verdicts": {"dispute": number + 1}}
    other = numbered.get(kind.name, dict.fromkeys(kind.elsewhere, bytes([number]) * 32))
    (event,) = prove(market, kind, kind.make(**other), kind.second(**other))
    return event


@EVERY_KIND
def test_prove__of_another_subject__jails_at_once_and_slashes_again_after_two_unbonding_delays(
    market: Market, kind: Kind
):
    world = market.world
    prove(market, kind)
    first, left = world.anvil.now(), stake(market, kind)
    world.anvil.next_at(first + 2 * UNBONDING_DELAY_S - 1)
    assert prove_another(market, kind)["slashed"] == 0
    assert stake(market, kind) == left
    assert world.standing(kind.node)["jailed_until"] == world.anvil.now() + JAIL_S
    assert world.node(kind.node)["active"] is False
    world.anvil.next_at(first + 2 * UNBONDING_DELAY_S)
    assert prove_another(market, kind, 9)["slashed"] > 0
    assert stake(market, kind) < left


@EVERY_KIND
def test_prove__stolen_key_signs_many_contradictions__takes_one_slash_until_it_counts_no_more(
    market: Market, kind: Kind
):
    """The owner has one unbonding delay to see the first and to rotate, and the old key counts for one more."""
    world, paid = market.world, market.world.balance(market.world.carol)
    staked, bounty = stake(market, kind), bounty_for(market, kind)
    for number in range(30):
        prove_another(market, kind, number + 1)
    world.anvil.wait(UNBONDING_DELAY_S - 100)
    retired = rotate(market, kind)
    world.anvil.next_at(retired + UNBONDING_DELAY_S - 1)
    assert prove_another(market, kind, 200)["slashed"] == 0
    slashed = staked * SLASH_BPS // 10_000
    assert stake(market, kind) == staked - slashed
    assert world.balance(world.carol) == paid + bounty
    world.anvil.next_at(retired + UNBONDING_DELAY_S)
    with pytest.raises(Reverted, match="Slashing: a statement is not signed by a key of the node"):
        prove_another(market, kind, 201)


def test_prove__voter_who_leaves_after_the_first_slash__is_out_before_the_second(market: Market):
    world, kind = market.world, PAIRS["two_awards"]
    prove(market, kind)
    world.anvil.wait(UNBONDING_DELAY_S - 10)
    (event,) = [one for one in world.unvote(world.treasury, COORDINATOR, 2**256 - 1) if one["event"] == "Unvoted"]
    world.anvil.next_at(event["release_at"])
    paid = world.balance(world.treasury)
    world.withdraw(world.treasury, 0)
    assert world.balance(world.treasury) == paid + VOTE - VOTE * SLASH_BPS // 10_000
    assert prove_another(market, kind)["slashed"] == 0


@EVERY_KIND
def test_prove__statement_twice__is_refused(market: Market, kind: Kind):
    with pytest.raises(Reverted, match="Slashing: the two statements are the same"):
        prove(market, kind, kind.first(), kind.first())


@EVERY_KIND
def test_prove__statements_about_two_things_or_of_two_nodes__is_refused(market: Market, kind: Kind):
    with pytest.raises(Reverted, match=r"Slashing: the .* (two|have) "):
        prove(market, kind, second=kind.second(**kind.elsewhere))
    with pytest.raises(Reverted, match=r"Slashing: the .* are of two (miners|coordinators|jurors)"):
        prove(market, kind, second=kind.second(**{kind.party: 3}))


@EVERY_KIND
def test_prove__signed_by_a_stranger_or_another_node__is_refused(market: Market, kind: Kind):
    good = [market.sign(statement, kind.key(market)) for statement in (kind.first(), kind.second())]
    for key in (market.world.key(), market.carols_key):
        bad = [market.sign(statement, key) for statement in (kind.first(), kind.second())]
        for signatures in ((bad[0], good[1]), (good[0], bad[1]), (bad[0], bad[1]), (good[1], good[0])):
            with pytest.raises(Reverted, match="Slashing: a statement is not signed by a key of the node"):
                prove(market, kind, signatures=signatures)


@EVERY_KIND
def test_prove__signature_in_any_other_form__is_refused(market: Market, kind: Kind):
    first, second = (market.sign(statement, kind.key(market)) for statement in (kind.first(), kind.second()))
    for form in other_forms(second).values():
        with pytest.raises(Reverted, match="Slashing: a signature is not 65 bytes in its one valid form"):
            prove(market, kind, signatures=(first, form))
    for form in other_forms(first).values():
        with pytest.raises(Reverted, match="Slashing: a signature is not 65 bytes in its one valid form"):
            prove(market, kind, signatures=(form, second))


@EVERY_KIND
def test_prove__by_a_node_of_the_other_role__is_refused(market: Market, kind: Kind):
    """A coordinator cannot be a miner, whatever it signs."""
    other, key = (BOBS, market.bobs_key) if kind.node == COORDINATOR else (COORDINATOR, market.key)
    pair = (kind.make(**{kind.party: other}), kind.second(**{kind.party: other}))
    signatures = (market.sign(pair[0], key), market.sign(pair[1], key))
    with pytest.raises(Reverted, match="Slashing: the named node is not of the role that signs this"):
        prove(market, kind, *pair, signatures=signatures)


@EVERY_KIND
def test_prove__of_a_node_that_does_not_exist__is_refused(market: Market, kind: Kind):
    pair = (kind.make(**{kind.party: 99}), kind.second(**{kind.party: 99}))
    with pytest.raises(Reverted, match="Slashing: the named node is not of the role that signs this"):
        prove(market, kind, *pair, signatures=(bytes(65), bytes(65)))


def rotate(market: Market, kind: Kind) -> int:
    """Give the node another key; gives the second of it."""
    world = market.world
    owner = world.alice if kind.node == COORDINATOR else world.bob
    fresh = world.key()
    consent = world.consent(fresh, owner, 2 if kind.node == COORDINATOR else 1)
    world.anvil.send(owner, world.staking, "rotate_key", kind.node, "0x" + fresh.address.hex(), FAR, consent)
    return world.anvil.now()


@EVERY_KIND
def test_prove__flaw_5_by_a_retired_key__holds_for_the_unbonding_delay_and_no_longer(market: Market, kind: Kind):
    retired = rotate(market, kind)
    other = {"boot": 8} if kind.name == "two_vouchers" else kind.elsewhere
    market.world.anvil.next_at(retired + UNBONDING_DELAY_S - 1)
    assert prove(market, kind)
    market.world.anvil.next_at(retired + UNBONDING_DELAY_S)
    with pytest.raises(Reverted, match="Slashing: a statement is not signed by a key of the node"):
        prove(market, kind, kind.make(**other), kind.second(**other))


def test_prove__one_statement_by_the_old_key_and_one_by_the_new__is_a_proof(market: Market):
    kind = PAIRS["two_vouchers"]
    fresh = market.rotate()
    signatures = (market.sign(kind.first(), market.key), market.sign(kind.second(), fresh))
    assert prove(market, kind, signatures=signatures)


@EVERY_KIND
def test_prove__flaw_1_stake_that_is_leaving__is_slashed_too(market: Market, kind: Kind):
    world = market.world
    world.unvote(world.treasury, kind.node, VOTE)
    before = stake(market, kind)
    (event,) = prove(market, kind)
    assert event["slashed"] == (before + VOTE) * SLASH_BPS // 10_000
    world.anvil.wait(UNBONDING_DELAY_S)
    paid = world.balance(world.treasury)
    world.withdraw(world.treasury, 0)
    assert world.balance(world.treasury) == paid + VOTE - VOTE * SLASH_BPS // 10_000


def test_prove__flaw_8_by_the_owner_against_itself__costs_it_nine_tenths(market: Market):
    """Also with nobody else's stake on the node, reporting oneself burns far more than it brings."""
    world = market.world
    world.unvote(world.treasury, BOBS, VOTE)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.withdraw(world.treasury, 0)
    before = world.balance(world.bob)
    (event,) = prove(market, PAIRS["two_commitments"], receiver=world.bob, sender=world.bob)
    lost = MINER_OWN - world.node(BOBS)["self_stake"]
    assert event["slashed"] == lost == MINER_OWN * SLASH_BPS // 10_000
    assert world.balance(world.bob) - before == lost // 10


def test_prove__proven_while_the_node_was_empty__saves_nothing_that_comes_later(market: Market):
    """A friend proves it when next to nothing is on it, so that it may sign what it likes once it is full again."""
    world, kind = market.world, PAIRS["two_commitments"]
    world.unvote(world.bob, BOBS, MINER_OWN - CAI)
    world.unvote(world.treasury, BOBS, VOTE)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.withdraw(world.bob, 0)
    world.withdraw(world.treasury, 0)
    assert prove(market, kind)[0]["slashed"] == CAI * SLASH_BPS // 10_000
    assert world.anvil.read(world.slashing, "slash_now", BOBS) == 0
    world.vote(world.bob, BOBS, MINER_OWN)
    left = world.anvil.read(world.slashing, "slash_now", BOBS)
    assert SLASH_BPS * 99 // 100 <= left <= SLASH_BPS
    before = stake(market, kind)
    again = [commitment(award=b"b" * 32, artifact=bytes([n]) * 32) for n in (1, 2)]
    (event,) = prove(market, kind, *again)
    assert event["slashed"] == pytest.approx(before * left // 10_000, abs=1)


def test_prove__copied_by_somebody_else__takes_the_bounty_and_nothing_more(market: Market):
    world = market.world
    kind = PAIRS["two_commitments"]
    prove(market, kind, receiver=world.alice, sender=world.alice)
    with pytest.raises(Reverted, match="Slashing: this was proven and slashed already"):
        prove(market, kind)


@EVERY_KIND
def test_prove__for_the_zero_address__is_refused(market: Market, kind: Kind):
    with pytest.raises(Reverted, match="Slashing: the receiver is the zero address"):
        prove(market, kind, receiver=ZERO)


def test_prove__receipts_that_differ_in_their_time_only__is_refused(market: Market):
    """A coordinator whose disk was put back signs such a second receipt honestly."""
    kind = PAIRS["two_receipts"]
    with pytest.raises(Reverted, match="Slashing: the receipts differ in their time only"):
        prove(market, kind, second=receipt(accepted=1))
    assert prove(market, kind, second=receipt(accepted=1, artifact=b"g" * 32))


def test_prove__many_contradictions_in_one_boot__are_one(market: Market):
    kind = PAIRS["two_vouchers"]
    prove(market, kind)
    with pytest.raises(Reverted, match="Slashing: this was proven and slashed already"):
        prove(market, kind, voucher(sequence=9), voucher(sequence=9, miner=3))


def test_prove__vouchers_of_two_boots__is_refused(market: Market):
    with pytest.raises(Reverted, match="Slashing: the vouchers are of two boots"):
        prove(market, PAIRS["two_vouchers"], second=voucher(boot=8, cumulative=11))


def test_prove__signed_for_another_contract_or_chain__is_refused(market: Market):
    kind = PAIRS["two_commitments"]
    world = market.world
    for domain in (Domain(1, raw(world.staking.address)), Domain(31_337, raw(world.slashing.address))):
        signatures = tuple(sign(market.bobs_key, domain, s) for s in (kind.first(), kind.second()))
        with pytest.raises(Reverted, match="Slashing: a statement is not signed by a key of the node"):
            prove(market, kind, signatures=signatures)


def test_prove__parameters_changed__holds_from_then_on(market: Market):
    world = market.world
    for parameter, value in ((3, 100), (5, 0)):
        world.anvil.send(world.treasury, world.parameters, "propose", parameter, value)
    world.anvil.wait(PARAMETER_DELAY_S)
    for parameter in (3, 5):
        world.anvil.send(world.bob, world.parameters, "enact", parameter)
    kind, before = PAIRS["two_commitments"], world.balance(world.carol)
    staked = stake(market, kind)
    assert prove(market, kind)[0]["slashed"] == staked // 100
    assert world.balance(world.carol) == before


def test_prove__by_a_contract_that_is_not_connected__is_refused(market: Market):
    world = market.world
    other = replace(world, slashing=world.anvil.deploy(load("Slashing"), world.staking.address))
    with pytest.raises(Reverted, match="Staking: only Slashing and Disputes may do this"):
        prove(replace(market, world=other), PAIRS["two_commitments"])
    with pytest.raises(Reverted, match="Slashing: staking is not a contract"):
        world.anvil.deploy(load("Slashing"), world.bob)
