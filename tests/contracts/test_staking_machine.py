"""Any sequence of operations: the contract does what the simple model says, and owes no more than it holds.

`make contracts-long` runs 2,000 steps; the number is in CUCKOO_CONTRACT_RUNS, in runs of 100 steps.
"""

import os
from fractions import Fraction

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from protocol.stake.table import StakeRow, StakeTable
from protocol.units import CAI, Address, Role, StakingId, Wei
from tests.contracts.conftest import COORDINATOR_MINIMUM, MINER_MINIMUM, PARAMETER_DELAY_S, UNBONDING_DELAY_S, World
from tests.contracts.model import Model
from tests.support.anvil import Contract, Reverted

LONG_RUNS = int(os.environ.get("CUCKOO_CONTRACT_RUNS", "0"))
PEOPLE = ("alice", "bob", "carol")
PERSON = st.sampled_from(PEOPLE)
NODE = st.sampled_from([1, 2, 3, 1, 2, 3, 4, 5])
"""Three nodes exist from the beginning, a fourth may come, and there is never a fifth."""
STAKE = st.sampled_from([1, 999, CAI, MINER_MINIMUM, MINER_MINIMUM + 1, 3 * MINER_MINIMUM])
ALL = 2**256 - 1
EMISSION_RATE, COMMISSION_MAXIMUM = 1, 2
MOST_COMMISSION = 3000


class StakingMachine(RuleBasedStateMachine):
    """Does each thing on the chain first, then asks the model, at the second of that block, whether it was right."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        world = self.world
        self.undo = world.anvil.unchanged()
        self.undo.__enter__()
        self.people = {name: getattr(world, name) for name in PEOPLE}
        world.begin_epoch()
        balances = {name: world.balance(address) for name, address in self.people.items()}
        rate = world.anvil.read(world.parameters, "value", EMISSION_RATE)
        self.model = Model(world.anvil.now(), rate, balances)
        self.rate = rate
        self.steps = 0
        self.paid = 0
        self.rate_changes = 0
        self.rows: dict[int, StakeRow] = {}
        self.prices: dict[int, int] = {}
        self.supply = world.anvil.read(world.cai, "totalSupply")

    def teardown(self) -> None:
        self.undo.__exit__(None, None, None)

    def _do(self, sender: str, contract: Contract, function: str, *arguments: object) -> bool:
        """Send; then the model is at the second of it. The contract's new rate holds once it stored anything."""
        self.steps += 1
        events, worked = [], True
        try:
            events = self._send(sender, contract, function, *arguments)
        except Reverted:
            worked = False
        self.model.advance(self.world.anvil.now())
        if worked and contract is self.world.staking and function != "withdraw":
            self.model.rate = self.rate
        for event in events:
            if event["event"] == "NodeChanged":
                self._take_row(event)
        return worked

    def _send(self, sender: str, contract: Contract, function: str, *arguments: object) -> list[dict]:
        """Send in the next second, whatever the time here: a run can be repeated."""
        self.world.anvil.next_at(self.world.anvil.now() + 1)
        return self.world.anvil.send(sender, contract, function, *arguments)

    def _wait(self, seconds: int) -> None:
        self.world.anvil.next_at(self.world.anvil.now() + seconds)
        self.world.anvil.rpc("evm_mine")
        self.model.advance(self.world.anvil.now())

    def _take_row(self, event: dict) -> None:
        node_id = StakingId(event["id"])
        key = Address(bytes.fromhex(event["key"][2:]))
        stake = Wei(event["effective_stake"])
        self.rows[node_id] = StakeRow(node_id, key, Role(event["role"]), stake, event["active"])

    def _by(self, caller: Contract, function: str, *arguments: object) -> bool:
        self.world.anvil.impersonate(caller.address)
        return self._do(caller.address, self.world.staking, function, *arguments)

    def _staking(self, person: str, function: str, *arguments: object) -> bool:
        return self._do(self.people[person], self.world.staking, function, *arguments)

    def _consent(self, person: str, role: int) -> tuple:
        key = self.world.key()
        return "0x" + key.address.hex(), 2**40, self.world.consent(key, self.people[person], role)

    @initialize(third=PERSON, amount=STAKE)
    def begin(self, third: str, amount: int) -> None:
        self.fund(10**5 * CAI)
        for owner in ("alice", "bob", third):
            self.register(owner, 1, 2 * MINER_MINIMUM)
        for voter in PEOPLE:
            self.vote(voter, 1, amount)
            self.vote(voter, 2, 1000 * CAI)

    @rule(person=PERSON, role=st.integers(1, 2), amount=st.one_of(STAKE, st.just(COORDINATOR_MINIMUM + 1)))
    def register(self, person: str, role: int, amount: int) -> None:
        if len(self.model.nodes) < 4:
            worked = self._staking(person, "register", role, *self._consent(person, role), amount, "{}")
            assert self.model.register(person, role, amount) is worked

    @rule(person=PERSON, node_id=NODE, amount=STAKE)
    def vote(self, person: str, node_id: int, amount: int) -> None:
        worked = self._staking(person, "vote", node_id, amount)
        assert self.model.vote(person, node_id, amount) is worked

    @rule(person=PERSON, node_id=NODE, amount=st.one_of(STAKE, st.just(ALL)))
    def unvote(self, person: str, node_id: int, amount: int) -> None:
        worked = self._staking(person, "unvote", node_id, amount)
        assert self.model.unvote(person, node_id, amount) is worked

    @rule(caller=PERSON, person=PERSON, index=st.integers(0, 3))
    def withdraw(self, caller: str, person: str, index: int) -> None:
        worked = self._staking(caller, "withdraw", self.people[person], index)
        assert self.model.withdraw(person, index) is worked

    @rule(person=PERSON, index=st.integers(0, 3))
    def withdraw_in_time(self, person: str, index: int) -> None:
        entries = self.model.leaving[person]
        if index < len(entries):
            self._wait(max(1, entries[index].release_at - self.model.now))
            self.withdraw(person, person, index)

    @rule(person=PERSON, node_id=NODE)
    def claim(self, person: str, node_id: int) -> None:
        before = self.world.balance(self.people[person])
        worked = self._staking(person, "claim", node_id)
        paid = self.world.balance(self.people[person]) - before
        assert worked is (paid > 0)
        self.paid += paid
        if worked:
            self._near(paid, self.model.claimed(person, node_id, paid))
        else:
            self._near(0, self.model.rewards.get((node_id, person), Fraction(0)))

    @rule(person=PERSON, node_ids=st.lists(NODE, max_size=4))
    def claim_many(self, person: str, node_ids: list[int]) -> None:
        before = self.world.balance(self.people[person])
        worked = self._staking(person, "claim_many", node_ids)
        paid = self.world.balance(self.people[person]) - before
        assert worked is (paid > 0)
        self.paid += paid
        if worked:
            self._near(paid, sum(self.model.claimed(person, node_id, 0) for node_id in set(node_ids)))
            self.model.balances[person] += paid

    @rule(node_id=NODE)
    def poke(self, node_id: int) -> None:
        worked = self._staking("carol", "poke", node_id)
        assert self.model.poke(node_id) is worked

    @rule(seconds=st.sampled_from([1, 7, 60, 100, 399, UNBONDING_DELAY_S]))
    def wait(self, seconds: int) -> None:
        self._wait(seconds)

    @rule(amount=st.sampled_from([1, 50 * CAI, 10**5 * CAI]))
    def fund(self, amount: int) -> None:
        world = self.world
        self._send(world.treasury, world.cai, "approve", world.staking.address, amount)
        worked = self._do(world.treasury, world.staking, "fund_emission", amount)
        assert self.model.fund(amount) is worked

    @rule(node_id=NODE, amount=st.sampled_from([1, 12_345, CAI, 1000 * CAI]))
    def pay(self, node_id: int, amount: int) -> None:
        world = self.world
        self._send(world.treasury, world.cai, "transfer", world.settlement.address, amount)
        world.anvil.impersonate(world.settlement.address)
        self._send(world.settlement.address, world.cai, "approve", world.staking.address, amount)
        worked = self._by(world.settlement, "pay", node_id, amount)
        assert self.model.pay(node_id, amount) is worked

    @rule(
        node_id=NODE,
        bps=st.sampled_from([0, 1, 500, 1000, 5000]),
        bounty=st.sampled_from([0, 1000, 9999]),
        to=st.one_of(PERSON, st.none()),
    )
    def slash(self, node_id: int, bps: int, bounty: int, to: str | None) -> None:
        receiver = self.people[to] if to else self.world.disputes.address
        worked = self._by(self.world.disputes, "slash", node_id, bps, receiver, bounty)
        assert self.model.slash(node_id, bps, to, bounty) is worked

    @rule(node_id=NODE, seconds=st.sampled_from([0, 50, 500]))
    def jail(self, node_id: int, seconds: int) -> None:
        start = self.world.anvil.now() + 1
        worked = self._by(self.world.disputes, "jail", node_id, start + seconds, "test")
        assert self.model.jail(node_id, seconds) is worked

    @rule(person=PERSON, node_id=NODE)
    def unjail(self, person: str, node_id: int) -> None:
        worked = self._staking(person, "unjail", node_id)
        assert self.model.unjail(person, node_id) is worked

    @rule(node_id=NODE, seconds=st.sampled_from([0, 500, 5 * UNBONDING_DELAY_S]))
    def freeze(self, node_id: int, seconds: int) -> None:
        start = self.world.anvil.now() + 1
        worked = self._by(self.world.disputes, "freeze", node_id, start + seconds)
        assert self.model.freeze(node_id, seconds) is worked

    @rule(node_id=NODE, in_debt=st.booleans())
    def set_debt(self, node_id: int, in_debt: bool) -> None:
        worked = self._by(self.world.settlement, "set_debt", node_id, in_debt)
        assert self.model.set_debt(node_id, in_debt) is worked

    @rule(node_id=NODE, amount=STAKE, indices=st.lists(st.integers(0, 3), max_size=3))
    def seize(self, node_id: int, amount: int, indices: list[int]) -> None:
        before = self.world.balance(self.world.settlement.address)
        worked = self._by(self.world.settlement, "seize", node_id, amount, indices)
        taken = self.world.balance(self.world.settlement.address) - before
        assert self.model.seize(node_id, amount, indices) == (taken if worked else None)

    @rule(person=PERSON, node_id=NODE)
    def rotate(self, person: str, node_id: int) -> None:
        role = 2 if node_id in self.model.nodes and self.model.nodes[node_id].minimum == COORDINATOR_MINIMUM else 1
        worked = self._staking(person, "rotate_key", node_id, *self._consent(person, role))
        assert self.model.rotate(person, node_id) is worked

    @rule(person=PERSON, node_id=NODE, bps=st.sampled_from([0, 777, MOST_COMMISSION, MOST_COMMISSION + 1]))
    def set_commission(self, person: str, node_id: int, bps: int) -> None:
        worked = self._staking(person, "set_commission", node_id, bps)
        assert self.model.set_commission(person, node_id, bps, MOST_COMMISSION) is worked

    @precondition(lambda self: self.rate_changes < 5)
    @rule(rate=st.sampled_from([0, 1, CAI, 32 * CAI]))
    def change_rate(self, rate: int) -> None:
        world = self.world
        self._send(world.treasury, world.parameters, "propose", EMISSION_RATE, rate)
        self._wait(PARAMETER_DELAY_S)
        assert self._do(world.carol, world.parameters, "enact", EMISSION_RATE)
        self.rate = rate
        self.rate_changes += 1

    def _near(self, found: int, exact: Fraction | int) -> None:
        """Rounding costs a few wei in each settlement, never more."""
        assert abs(found - exact) <= 10 * (self.steps + 1), (found, float(exact))

    @invariant()
    def rows_are_the_models(self) -> None:
        model, world = self.model, self.world
        rows = world.anvil.read(world.staking, "nodes", 1, 128)
        assert len(rows) == len(model.nodes)
        for (node_id, node), row in zip(model.nodes.items(), rows, strict=True):
            assert row[3:] == (node.active, node.value(node.own), node.value(node.bonded))
            assert node.price <= self.prices.get(node_id, 10**27), "a price never rises"
            self.prices[node_id] = node.price
            standing = world.standing(node_id)
            assert (standing["price"], standing["bonded_shares"]) == (node.price, node.bonded)
            assert (standing["own_shares"], standing["unbonding_shares"]) == (node.own, node.unbonding)
            assert standing["in_debt"] is node.in_debt
            assert (standing["jailed_until"] > 0) is (node.jailed_until is not None)
        assert world.anvil.read(world.staking, "total_staked") == sum(n.value(n.bonded) for n in model.nodes.values())
        unbonding = sum(n.value(n.unbonding) for n in model.nodes.values())
        assert world.anvil.read(world.staking, "total_unbonding") == unbonding

    @invariant()
    def table_from_events_is_the_contracts(self) -> None:
        found = self.world.anvil.read(self.world.staking, "nodes", 1, 128)
        rows = [
            StakeRow(StakingId(number), Address(bytes.fromhex(row[1][2:])), Role(row[2]), Wei(row[5]), row[3])
            for number, row in enumerate(found, start=1)
        ]
        assert StakeTable.of(self.rows.values()).root == StakeTable.of(rows).root

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        for name, address in self.people.items():
            assert self.world.balance(address) == self.model.balances[name]
        burnt = self.supply - self.world.anvil.read(self.world.cai, "totalSupply")
        assert burnt == self.model.burnt

    @invariant()
    def all_that_is_owed_is_held(self) -> None:
        world, model = self.world, self.model
        pool = world.anvil.read(world.staking, "emission_status")[0]
        assert pool == model.pool
        earned = 0
        for node_id in model.nodes:
            for name, address in self.people.items():
                due = world.earned(node_id, address)
                self._near(due, model.rewards.get((node_id, name), Fraction(0)))
                earned += due
            earned += world.standing(node_id)["stream_left"]
        staked = sum(node.value(node.bonded + node.unbonding) for node in model.nodes.values())
        assert world.balance(world.staking.address) >= staked + pool + earned
        assert self.paid + earned + pool <= model.funded, "rewards are never more than what came in for them"

    @invariant()
    def earned_is_what_claim_pays(self) -> None:
        if self.model.nodes:
            node_id, name = self.steps % len(self.model.nodes) + 1, PEOPLE[self.steps % 3]
            due = self.world.earned(node_id, self.people[name])
            if due:
                read = self.world.anvil.read
                assert read(self.world.staking, "claim", node_id, sender=self.people[name]) == due


def test_staking__any_sequence__agrees_with_the_model(world: World):
    class Machine(StakingMachine):
        pass

    Machine.world = world
    runs, steps = (LONG_RUNS, 100) if LONG_RUNS else (5, 25)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=runs, stateful_step_count=steps, suppress_health_check=checks)
    )
