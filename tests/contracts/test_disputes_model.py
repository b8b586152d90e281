"""Where bonds, fees, slashes and bounties go, held against a model in Python over lives in any order.

The model knows verdicts and bonds alone, and says who gets what by who was right; the contract's sums it never reads.
"""

import os
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.crypto.typed_data import sign
from protocol.units import CAI
from tests.contracts.conftest import FAR, PARAMETER_DELAY_S, UNBONDING_DELAY_S
from tests.contracts.court import (
    ACCUSED,
    CANNOT_JUDGE,
    CONFIRMED,
    DISMISSED,
    DRAWING,
    EXECUTED,
    FIRST_JUROR,
    LAPSED,
    REPORTER,
    RIGHT,
    UNDECIDED,
    UPHELD,
    VOTING,
    WRONG,
    Court,
)
from tests.contracts.market import fields
from tests.contracts.proofs import commitment
from tests.support.anvil import Reverted

RUNS = int(os.environ.get("CUCKOO_CONTRACT_RUNS", "1"))
BOUNTY = 5
"""Its parameter."""
CHANGES = [(4, 50), (4, 500), (5, 0), (7, CAI), (7, 9_999 * CAI + 7), (8, 3), (8, 4), (9, CAI), (9, 400_000 * CAI + 1)]
CHANGES += [(8, 15), (10, 62), (10, 250), (11, 62), (11, 250), (12, 10), (12, 500)]
ACCUSABLE = (ACCUSED, FIRST_JUROR)
WHOM = st.sampled_from((ACCUSED, ACCUSED, FIRST_JUROR))
WORDS = st.lists(st.sampled_from([WRONG, WRONG, WRONG, RIGHT, RIGHT, CANNOT_JUDGE, 0]), min_size=11, max_size=11)
BACK = st.sampled_from([0, 0, 0, 1])
"""The latest dispute, or the one before it."""
ALIKE = st.sampled_from([[WRONG] * 31, [*[WRONG] * 4, RIGHT, *[WRONG] * 26], [RIGHT] * 31])
OPERATIONS = st.one_of(
    # Objects of their own: one_of counts one that is named twice as one.
    *[st.tuples(st.just("report"), WHOM, st.sampled_from((REPORTER, FIRST_JUROR + 1))) for _ in range(2)],
    *[st.tuples(st.just("go_on"), BACK, WORDS, st.booleans()) for _ in range(5)],
    *[st.tuples(st.just("go_on"), BACK, ALIKE, st.booleans()) for _ in range(7)],
    st.tuples(st.just("appeal"), BACK),
    st.tuples(st.just("propose"), st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4)),
    st.tuples(st.just("enact"), st.sampled_from([change[0] for change in CHANGES])),
    st.tuples(st.just("rotate"), st.sampled_from([ACCUSED, *range(FIRST_JUROR, FIRST_JUROR + 6)])),
    st.tuples(st.just("draw"), BACK, st.sampled_from([1, 128])),
    st.tuples(st.just("stake"), st.sampled_from(ACCUSABLE), st.sampled_from([-(10**9), -30_000, -1, 1, 40_000])),
    st.tuples(st.just("prove"), st.sampled_from(ACCUSABLE), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1, 70, 130, UNBONDING_DELAY_S, PARAMETER_DELAY_S])),
)


def shares(case: dict[str, Any], said: list[dict[int, int]], seats: int, outcome: int) -> tuple[Counter[int], int]:
    """Say what each juror is paid, and what of the first round's fees its reporter would miss, in wei."""
    fees = [case["bond"] // (3 * seats), 0]
    fees[1] = min(fees[0], case["appeal_bond"] // (2 * seats + 1))
    true = {DISMISSED: RIGHT, EXECUTED: WRONG}.get(outcome) if case["round"] else None
    paid: Counter[int] = Counter()
    for round_, verdicts in enumerate(said):
        for juror, verdict in verdicts.items():
            if round_ or true is None or verdict == true:
                paid[juror] += fees[round_]
    missing = sum(amount for juror, amount in paid.items() if juror in said[0])
    return paid, missing


class Lives:
    """What may happen; what the contracts refuse does not."""

    def __init__(self, court: Court) -> None:
        self.court, self.world = court, court.world
        self.said: dict[int, list[dict[int, int]]] = {}
        self.reported_at = dict.fromkeys(ACCUSABLE, 0)
        """When each was reported last (unix s)."""
        self.people = sorted(set(court.owners.values()))

    def report(self, accused: int, reporter: int) -> None:
        self.said[self.court.report(accused, reporter)] = [{}, {}]
        self.reported_at[accused] = self.world.anvil.now()

    def go_on(self, back: int, words: list[int], appeals: bool) -> None:
        """Bring a dispute one step further, by an appeal where there can be one, or without; report anew what ended."""
        court, number = self.court, max(1, self.court.read("dispute_count") - back)
        case = court.dispute(number)
        if case["status"] == DRAWING and self.is_early(case):
            court.mine()
            while court.status(number) == DRAWING:
                court.draw(number)
        elif case["status"] == VOTING and not self.said[number][case["round"]] and self.is_early(case):
            told = {one: word for one, word in zip(court.jurors(number), words, strict=False) if word}
            court.vote(number, told, case["round"])
            self.said[number][case["round"]] = {one: word for one, word in told.items() if word != CANNOT_JUDGE}
            if len(self.said[number][case["round"]]) == court.panel(number, case["round"])["seats"]:
                self.finish(number, "close")
        elif case["status"] == UPHELD and appeals and self.is_early(case):
            self.appeal(back)
        elif case["status"] > CONFIRMED:
            self.report(case["accused"], case["reporter"])
        else:
            self.world.anvil.next_at(max(case["deadline"], self.world.anvil.now() + 1))
            self.finish(number, "execute" if case["status"] in {UPHELD, CONFIRMED} else "close")

    def is_early(self, case: dict[str, Any]) -> bool:
        return self.world.anvil.now() < case["deadline"]

    def finish(self, number: int, function: str, *arguments: int) -> None:
        """Call what may end a dispute, and hold what it moves against the model."""
        court, world = self.court, self.world
        case, seats = court.dispute(number), court.panel(number)["seats"]
        accused, accuser = court.owners.get(case["accused"], ""), case["accuser"].lower()
        before = {one: world.balance(one) for one in self.people}
        own, supply = self.own(case["accused"], accused), world.anvil.read(world.cai, "totalSupply")
        held = world.balance(world.disputes.address)
        events = court.send(world.carol, function, number, *arguments)
        outcome = next((event["outcome"] for event in events if event["event"] == "Ended"), None)
        gained = {one: world.balance(one) - before[one] for one in self.people}
        if outcome is None:
            assert not any(gained.values()), "nobody is paid before the end"
            return
        paid, missing = shares(case, self.said[number], seats, outcome)
        expected = Counter[str]()
        for juror, amount in paid.items():
            expected[court.owners[juror]] += amount
        second = sum(paid.values()) - missing
        slashed = next((event["slashed"] for event in events if event["event"] == "QuorumSlashed"), 0)
        kept = (own - self.own(case["accused"], accused)) * 9 // 10
        bonds = {accuser: case["bond"], accused: case["appeal_bond"]}
        if outcome == EXECUTED:
            lost = min(missing, case["appeal_bond"] - second)
            back = min(missing - lost, kept)
            bounty = world.anvil.read(world.parameters, "value", BOUNTY)
            expected[accuser] += bonds[accuser] - missing + lost + back + min(kept * bounty // 9_000, kept - back)
        elif outcome in {DISMISSED, LAPSED}:
            assert second <= case["bond"] - missing, "it always reaches"
            expected[accused] += case["appeal_bond"]
        else:
            seen = seats * (case["bond"] // (3 * seats)) if outcome == UNDECIDED else missing
            expected[accuser] += bonds[accuser] - seen
            expected[accused] += bonds[accused] - second
        for one in self.people:
            assert gained[one] == pytest.approx(expected[one], abs=3), (one, outcome)
        burned = supply - world.anvil.read(world.cai, "totalSupply")
        assert burned == case["bond"] + case["appeal_bond"] + slashed - sum(gained.values()) >= 0
        assert held - world.balance(world.disputes.address) == case["bond"] + case["appeal_bond"]

    def own(self, node: int, owner: str) -> int:
        return self.world.anvil.read(self.world.staking, "stake_of", node, owner) if owner else 0

    def appeal(self, back: int) -> None:
        number = max(1, self.court.read("dispute_count") - back)
        self.court.send(self.court.owners[self.court.dispute(number)["accused"]], "appeal", number)

    def propose(self, changes: list[tuple[int, int]]) -> None:
        """Announce changes: they may be enacted in the middle of a dispute."""
        for change in changes:
            self.world.anvil.send(self.world.treasury, self.world.parameters, "propose", *change)

    def enact(self, parameter: int) -> None:
        self.world.anvil.send(self.world.carol, self.world.parameters, "enact", parameter)

    def rotate(self, node: int) -> None:
        """Give a node another key: its next verdict is signed by that one."""
        key, owner = self.world.key(), self.court.owners[node]
        consent = self.world.consent(key, owner)
        arguments = (node, "0x" + key.address.hex(), FAR, consent)
        self.world.anvil.send(owner, self.world.staking, "rotate_key", *arguments)
        self.court.keys[node] = key

    def draw(self, back: int, tries: int) -> None:
        """Draw without waiting for anything."""
        self.finish(max(1, self.court.read("dispute_count") - back), "draw", tries)

    def stake(self, node: int, thousandths: int) -> None:
        owner = self.court.owners[node]
        if thousandths > 0:
            self.world.vote(owner, node, thousandths * CAI)
            return
        amount = min(-thousandths * CAI, self.own(node, owner))
        self.world.unvote(owner, node, amount)

    def prove(self, miner: int, subject: int) -> None:
        pair = [commitment(miner=miner, award=bytes([subject]) * 32, artifact=bytes([n]) * 32) for n in (1, 2)]
        signatures = [sign(self.court.keys[miner], self.world.domain, one) for one in pair]
        arguments = (*(fields(one) for one in pair), *signatures, self.world.carol)
        self.world.anvil.send(self.world.carol, self.world.slashing, "prove_two_commitments", *arguments)

    def wait(self, seconds: int) -> None:
        self.world.anvil.wait(seconds)

    def check(self) -> None:
        """What holds at any time: bonds are of open disputes, and these alone freeze."""
        cases = [self.court.dispute(number) for number in self.said]
        bonds = sum(case["bond"] + case["appeal_bond"] for case in cases if case["status"] <= CONFIRMED)
        assert self.world.balance(self.world.disputes.address) == bonds
        for node in ACCUSABLE:
            opened = sum(case["accused"] == node and case["status"] <= CONFIRMED for case in cases)
            assert self.court.read("open_disputes", node) == opened
            until = self.world.standing(node)["frozen_until"]
            if opened:
                assert until == self.reported_at[node] + UNBONDING_DELAY_S
            else:
                assert until <= self.world.anvil.now()


@settings(max_examples=5 * RUNS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, min_size=8, max_size=24))
def test_dispute__any_life_and_parameters__pays_whom_the_model_says_to_the_wei(
    opened_court: Court, operations: list[tuple]
):
    with opened_court.put_back() as court:
        lives = Lives(court)
        for name, *arguments in [("report", ACCUSED, REPORTER), *operations]:
            with suppress(Reverted):
                getattr(lives, name)(*arguments)
            lives.check()
        for _ in range(3):
            lives.wait(86_400)
            for number in lives.said:
                for function in ("close", "execute"):
                    with suppress(Reverted):
                        lives.finish(number, function)
        assert court.world.balance(court.world.disputes.address) == 0
