"""A model in Python and the contract agree over any sequence of operations, and the token covers every promise."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.conftest import MINER_MINIMUM, UNBONDING_DELAY_S, World
from tests.support.anvil import Reverted

PEOPLE = ("alice", "bob", "carol")
AMOUNTS = st.sampled_from([0, 1, 1000, MINER_MINIMUM, MINER_MINIMUM + 1, 3 * MINER_MINIMUM])
PERSON = st.sampled_from(PEOPLE)
OPERATIONS = st.one_of(
    st.tuples(st.just("register"), PERSON, AMOUNTS),
    st.tuples(st.just("vote"), PERSON, st.integers(1, 3), AMOUNTS),
    st.tuples(st.just("unvote"), PERSON, st.integers(1, 3), AMOUNTS),
    st.tuples(st.just("withdraw"), PERSON, st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1, UNBONDING_DELAY_S])),
)


@dataclass
class Unbonding:
    amount: int
    at: int


class Model:
    """Staking as SPEC.md tells it, in few words."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owners: list[str] = []
        self.stakes: dict[tuple[int, str], int] = {}
        self.unbondings: dict[str, list[Unbonding]] = {person: [] for person in PEOPLE}
        self.balances = {person: world.balance(getattr(world, person)) for person in PEOPLE}

    def register(self, person: str, amount: int) -> bool:
        if amount <= MINER_MINIMUM:
            return False
        self.owners.append(person)
        self._add(len(self.owners), person, amount)
        return True

    def vote(self, person: str, node_id: int, amount: int) -> bool:
        if node_id > len(self.owners) or amount == 0:
            return False
        self._add(node_id, person, amount)
        return True

    def unvote(self, person: str, node_id: int, amount: int) -> bool:
        if amount == 0 or self.stakes.get((node_id, person), 0) < amount:
            return False
        self.stakes[node_id, person] -= amount
        self.unbondings[person].append(Unbonding(amount, self.world.anvil.now()))
        return True

    def withdraw(self, person: str, index: int, now: int) -> bool:
        if index >= len(self.unbondings[person]):
            return False
        entry = self.unbondings[person][index]
        if entry.amount == 0 or now < entry.at + UNBONDING_DELAY_S:
            return False
        self.balances[person] += entry.amount
        entry.amount = 0
        return True

    def _add(self, node_id: int, person: str, amount: int) -> None:
        self.stakes[node_id, person] = self.stakes.get((node_id, person), 0) + amount
        self.balances[person] -= amount

    def check(self) -> None:
        world = self.world
        rows = world.anvil.read(world.staking, "nodes", 1, 128)
        assert len(rows) == len(self.owners)
        for node_id, (row, owner) in enumerate(zip(rows, self.owners, strict=True), start=1):
            own = self.stakes.get((node_id, owner), 0)
            effective = sum(stake for (node, _), stake in self.stakes.items() if node == node_id)
            assert row[3:] == (own > MINER_MINIMUM, own, effective)
        staked = sum(self.stakes.values())
        unbonding = sum(entry.amount for entries in self.unbondings.values() for entry in entries)
        assert world.anvil.read(world.staking, "total_staked") == staked
        assert world.anvil.read(world.staking, "total_unbonding") == unbonding
        assert world.balance(world.staking.address) == staked + unbonding
        for person, balance in self.balances.items():
            assert world.balance(getattr(world, person)) == balance


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=PERSON, operations=st.lists(OPERATIONS, min_size=4, max_size=16))
def test_staking__any_sequence__agrees_with_the_model(world: World, first: str, operations: list[tuple]):
    with world.anvil.unchanged():
        model = Model(world)
        for operation, *arguments in [("register", first, MINER_MINIMUM + 1), *operations]:
            _apply(world, model, operation, arguments)
            model.check()


def _apply(world: World, model: Model, operation: str, arguments: list) -> None:
    """Do it on the chain, then ask the model whether it should have worked."""
    if operation == "wait":
        world.anvil.wait(*arguments)
        return
    person, *rest = arguments
    try:
        getattr(world, operation)(getattr(world, person), *rest)
        worked = True
    except Reverted:
        worked = False
    if operation == "withdraw":
        rest.append(world.anvil.now())
    assert getattr(model, operation)(person, *rest) is worked
