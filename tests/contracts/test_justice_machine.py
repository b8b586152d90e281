"""Vouchers, proofs and disputes in any order, on one network: every wei is where somebody is owed it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.crypto.typed_data import sign
from protocol.units import CAI
from tests.contracts.conftest import UNBONDING_DELAY_S, World
from tests.contracts.court import ACCUSED, FIRST_JUROR, REPORTER, TWIN, Court
from tests.contracts.market import fields
from tests.contracts.proofs import commitment, voucher
from tests.support.anvil import Reverted

RUNS = int(os.environ.get("CUCKOO_CONTRACT_RUNS", "1"))
MINERS = (ACCUSED, TWIN, FIRST_JUROR)
VOTE = 50_000 * CAI
miners, amounts = st.sampled_from(MINERS), st.sampled_from([1, 70 * CAI, 3000 * CAI])
OPERATIONS = st.one_of(
    st.tuples(st.just("deposit"), amounts),
    st.tuples(st.just("redeem"), miners, amounts),
    st.tuples(st.just("meet_debt")),
    st.tuples(st.just("take_escrow"), amounts),
    st.tuples(st.just("prove"), miners, st.integers(0, 2)),
    st.tuples(st.just("report"), st.sampled_from((ACCUSED, FIRST_JUROR))),
    st.tuples(st.just("go_on"), st.lists(st.integers(1, 3), min_size=11, max_size=11)),
    st.tuples(st.just("go_on"), st.sampled_from([[1] * 11, [2] * 11])),
    st.tuples(st.just("appeal")),
    st.tuples(st.just("unvote"), miners, amounts),
    st.tuples(st.just("withdraw"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1, 130, UNBONDING_DELAY_S])),
)


class Story:
    """What may happen; what the contracts refuse does not, and that is all right."""

    def __init__(self, court: Court) -> None:
        self.court, self.world = court, court.world
        self.promised = dict.fromkeys(MINERS, 0)
        self.prices = dict.fromkeys((*MINERS, REPORTER), 10**27)
        self.most = dict.fromkeys(MINERS, 0)
        """Most that ever was on a node, with what quorums took of it."""

    def settle(self, sender: str, function: str, *arguments: Any) -> None:
        self.world.anvil.send(sender, self.world.settlement, function, *arguments)

    def deposit(self, amount: int) -> None:
        self.settle(self.world.treasury, "deposit", REPORTER, amount)

    def redeem(self, miner: int, amount: int) -> None:
        self.promised[miner] += amount
        total = sum(self.promised.values())
        given_ = voucher(coordinator=REPORTER, miner=miner, cumulative=self.promised[miner], issued_total=total)
        signature = sign(self.court.keys[REPORTER], self.world.domain, given_)
        self.settle(self.world.treasury, "redeem", fields(given_), signature)

    def meet_debt(self) -> None:
        self.settle(self.world.treasury, "meet_debt", REPORTER, [])

    def take_escrow(self, amount: int) -> None:
        owner = self.court.owners[REPORTER]
        self.settle(owner, "request_withdrawal", REPORTER, amount)
        self.world.anvil.wait(UNBONDING_DELAY_S)
        self.settle(owner, "withdraw", REPORTER)

    def prove(self, miner: int, subject: int) -> None:
        pair = [commitment(miner=miner, award=bytes([subject]) * 32, artifact=bytes([n]) * 32) for n in (1, 2)]
        signatures = [sign(self.court.keys[miner], self.world.domain, one) for one in pair]
        arguments = (*(fields(one) for one in pair), *signatures, self.world.carol)
        self.world.anvil.send(self.world.carol, self.world.slashing, "prove_two_commitments", *arguments)

    def report(self, accused: int) -> None:
        self.court.report(accused)

    def go_on(self, words: list[int]) -> None:
        """Bring the latest dispute one step further."""
        court, dispute = self.court, self.court.read("dispute_count")
        round_ = court.dispute(dispute)["round"]
        self.court.mine()
        for _ in range(3):
            with suppress(Reverted):
                court.draw(dispute)
        with suppress(Reverted):
            court.vote(dispute, dict(zip(court.jurors(dispute), words, strict=False)), round_)
        for function in ("close", "execute"):
            with suppress(Reverted):
                court.send(self.world.carol, function, dispute)

    def appeal(self) -> None:
        self.court.appeal(self.court.read("dispute_count"))

    def unvote(self, miner: int, amount: int) -> None:
        self.world.unvote(self.world.treasury, miner, amount)

    def withdraw(self, index: int) -> None:
        self.world.withdraw(self.world.treasury, index)

    def wait(self, seconds: int) -> None:
        self.world.anvil.wait(seconds)

    def check(self) -> None:
        court, world, read = self.court, self.world, self.world.anvil.read
        assert world.balance(world.settlement.address) == read(world.settlement, "escrow", REPORTER)
        disputes = [court.dispute(number) for number in range(1, court.read("dispute_count") + 1)]
        bonds = sum(one["bond"] + one["appeal_bond"] for one in disputes)
        assert world.balance(world.disputes.address) == bonds
        assert all(one["bond"] == one["appeal_bond"] == 0 for one in disputes if one["status"] > 4)
        streams = 0
        for node, before in self.prices.items():
            standing = world.standing(node)
            assert standing["price"] <= before
            self.prices[node] = standing["price"]
            streams += standing["stream_left"]
        owed = read(world.staking, "total_staked") + read(world.staking, "total_unbonding") + streams
        assert world.balance(world.staking.address) >= owed
        for node in MINERS:
            taken = court.read("respite_slashed", node)
            standing = world.standing(node)
            left = (standing["bonded_shares"] + standing["unbonding_shares"]) * standing["price"] // 10**27
            if world.anvil.now() < court.read("respite_until", node):
                assert taken <= max(self.most[node], left + taken) * 200 // 10_000, "one slash in a respite"
            self.most[node] = max(self.most[node], left + taken)
        for miner, promised in self.promised.items():
            paid = read(world.settlement, "redeemed", REPORTER, miner)
            assert paid <= read(world.settlement, "acknowledged", REPORTER, miner) <= promised

    def end(self) -> None:
        """Whatever was done or left: waiting, closing and executing end each dispute, and nothing is left behind."""
        for _ in range(6):
            self.wait(86_400)
            for number in range(1, self.court.read("dispute_count") + 1):
                for function in ("close", "execute"):
                    with suppress(Reverted):
                        self.court.send(self.world.carol, function, number)
        assert all(not self.court.read("open_disputes", node) for node in MINERS)
        assert self.world.balance(self.world.disputes.address) == 0


@pytest.fixture(scope="module")
def opened_court(deployed: World) -> Iterator[Court]:
    with deployed.anvil.unchanged():
        court = Court.open(deployed, jurors=8)
        treasury = deployed.treasury
        for contract in (deployed.staking, deployed.settlement):
            deployed.anvil.send(treasury, deployed.cai, "approve", contract.address, 2**256 - 1)
        for miner in MINERS:
            deployed.vote(treasury, miner, VOTE)
        deployed.anvil.send(treasury, deployed.settlement, "deposit", REPORTER, 1000 * CAI)
        yield court


@settings(max_examples=10 * RUNS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, min_size=8, max_size=24))
def test_settlement_slashing_and_disputes__any_sequence__account_for_every_wei(
    opened_court: Court, operations: list[tuple]
):
    with opened_court.put_back() as court:
        story = Story(court)
        for name, *arguments in operations:
            with suppress(Reverted):
                getattr(story, name)(*arguments)
            story.check()
        story.end()
