"""Any sequence of deposits, vouchers, withdrawals and debts agrees with a model in Python; nothing is paid twice."""

import os
from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import NodeKey
from protocol.units import CAI
from tests.contracts.conftest import COORDINATOR_MINIMUM, ESCROW_NOTICE_S, UNBONDING_DELAY_S, World
from tests.contracts.market import BOBS, CAROLS, COORDINATOR, ESCROW, OWN, Market, fields
from tests.support.anvil import Reverted

RUNS = int(os.environ.get("CUCKOO_CONTRACT_RUNS", "1"))
SECOND = 4
"""A second coordinator; the treasury's."""
COORDINATORS, MINERS = (COORDINATOR, SECOND), (BOBS, CAROLS)
VOTE = 777 * CAI
coordinators, miners = st.sampled_from(COORDINATORS), st.sampled_from(MINERS)
amounts = st.sampled_from([0, 1, 300 * CAI, 300 * CAI, 1000 * CAI, 1700 * CAI, 2_500_000 * CAI])
vouchers = st.tuples(coordinators, miners, amounts)
OPERATIONS = st.one_of(
    st.tuples(st.just("deposit"), coordinators, amounts),
    st.tuples(st.just("redeem"), vouchers),
    st.tuples(st.just("redeem"), vouchers),
    st.tuples(st.just("redeem_by_the_first_key"), vouchers),
    st.tuples(st.just("rotate"), coordinators),
    st.tuples(st.just("redeem_many"), st.lists(vouchers, max_size=4)),
    st.tuples(st.just("request_withdrawal"), coordinators, amounts),
    st.tuples(st.just("cancel_withdrawal"), coordinators),
    st.tuples(st.just("withdraw"), coordinators),
    st.tuples(st.just("meet_debt"), coordinators),
    st.tuples(st.just("meet_debt"), coordinators),
    st.tuples(st.just("unvote"), coordinators, st.sampled_from([1, 5000 * CAI])),
    st.tuples(st.just("wait"), st.sampled_from([1, ESCROW_NOTICE_S, UNBONDING_DELAY_S])),
    st.tuples(st.just("wait"), st.just(UNBONDING_DELAY_S)),
)


@dataclass
class Model:
    """Settlement as SPEC.md tells it, in few words. What the operators own unslashed is wei for wei."""

    escrow: dict[int, int]
    bonded: dict[int, int]
    unbonding: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    shown: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    paid: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    request: dict[int, tuple[int, int]] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)
    first_key_retired: dict[int, int] = field(default_factory=dict)

    def owed(self, coordinator: int) -> int:
        return sum(self.shown[coordinator, miner] - self.paid[coordinator, miner] for miner in MINERS)

    def deposit(self, now: int, coordinator: int, amount: int) -> bool:
        self.escrow[coordinator] += amount
        return amount > 0

    def redeem(self, now: int, voucher: tuple[int, int, int]) -> bool:
        news = self._take(voucher)
        self._settle(now)
        return news

    def redeem_by_the_first_key(self, now: int, voucher: tuple[int, int, int]) -> bool:
        coordinator, miner, cumulative = voucher
        counts = now < self.first_key_retired.get(coordinator, now) + UNBONDING_DELAY_S
        return (counts or cumulative <= self.shown[coordinator, miner]) and self.redeem(now, voucher)

    def rotate(self, now: int, coordinator: int) -> bool:
        self.first_key_retired.setdefault(coordinator, now)
        return True

    def redeem_many(self, now: int, batch: list[tuple[int, int, int]]) -> bool:
        for place, voucher in enumerate(batch):
            self._take(voucher)
            # A debt is looked at where the vouchers of one coordinator end: paid in full there, it is over, and what
            # a later part of the batch leaves unpaid is a new one.
            if place + 1 == len(batch) or batch[place + 1][0] != voucher[0]:
                self._settle(now)
        return True

    def request_withdrawal(self, now: int, coordinator: int, amount: int) -> bool:
        if not 0 < amount <= self.escrow[coordinator]:
            return False
        self.request[coordinator] = (amount, now + ESCROW_NOTICE_S)
        return True

    def cancel_withdrawal(self, now: int, coordinator: int) -> bool:
        return self.request.pop(coordinator, None) is not None

    def withdraw(self, now: int, coordinator: int) -> bool:
        amount, ready = self.request.get(coordinator, (0, 0))
        if not amount or now < ready or self.owed(coordinator):
            return False
        del self.request[coordinator]
        self.escrow[coordinator] -= min(amount, self.escrow[coordinator])
        return True

    def meet_debt(self, now: int, coordinator: int) -> bool:
        missing = self.owed(coordinator) - self.escrow[coordinator]
        due = self.since.get(coordinator, now) + UNBONDING_DELAY_S
        if missing <= 0 or now < due:
            return False
        pots = [self.bonded[coordinator], *self.unbonding[coordinator]]
        if not sum(pots):
            return False
        for place, pot in enumerate(pots):
            taken = min(pot, missing)
            missing -= taken
            pots[place] -= taken
            self.escrow[coordinator] += taken
        self.bonded[coordinator], *self.unbonding[coordinator] = pots
        return True

    def unvote(self, now: int, coordinator: int, amount: int) -> bool:
        if self.owed(coordinator) or self.bonded[coordinator] < amount:
            return False
        self.bonded[coordinator] -= amount
        self.unbonding[coordinator].append(amount)
        return True

    def _take(self, voucher: tuple[int, int, int]) -> bool:
        coordinator, miner, cumulative = voucher
        pair = (coordinator, miner)
        before = (self.shown[pair], self.paid[pair])
        self.shown[pair] = max(self.shown[pair], cumulative)
        amount = min(self.shown[pair] - self.paid[pair], self.escrow[coordinator])
        self.paid[pair] += amount
        self.escrow[coordinator] -= amount
        return before != (self.shown[pair], self.paid[pair])

    def _settle(self, now: int) -> None:
        for coordinator in COORDINATORS:
            if self.owed(coordinator):
                self.since.setdefault(coordinator, now)
            else:
                self.since.pop(coordinator, None)


@dataclass
class Run:
    """One example: the chain and the model side by side."""

    market: Market
    first_keys: dict[int, NodeKey]
    keys: dict[int, NodeKey]
    """Those of now."""
    model: Model

    @classmethod
    def begin(cls, world: World) -> "Run":
        market = Market.open(world)
        second = world.key()
        world.register(world.treasury, COORDINATOR_MINIMUM + 1, role=2, node_key=second)
        for coordinator in COORDINATORS:
            world.vote(world.bob, coordinator, VOTE)
        # More than 40 of the largest deposits: the model counts escrows, not what people have left.
        world.anvil.send(world.treasury, world.cai, "transfer", world.alice, 40 * 2_500_000 * CAI)
        model = Model({COORDINATOR: ESCROW, SECOND: 0}, {COORDINATOR: OWN, SECOND: COORDINATOR_MINIMUM + 1})
        keys = {COORDINATOR: market.key, SECOND: second}
        return cls(market, keys, dict(keys), model)

    def owner(self, coordinator: int) -> str:
        return self.market.world.alice if coordinator == COORDINATOR else self.market.world.treasury

    def apply(self, name: str, *arguments: object) -> None:
        """Do it on the chain, and ask the model whether it should have worked."""
        world = self.market.world
        if name == "wait":
            world.anvil.wait(*arguments)  # type: ignore[arg-type]
            return
        now = world.anvil.now() + 5
        self.market.world.anvil.next_at(now)
        try:
            self._send(name, *arguments)
            worked = True
        except Reverted:
            worked = False
            now = world.anvil.now()
        assert getattr(self.model, name)(now, *arguments) is worked, (name, arguments)

    def _send(self, name: str, *arguments: object) -> None:
        market = self.market
        match name, *arguments:
            case "redeem", (coordinator, miner, cumulative):
                voucher = market.voucher(cumulative, miner, coordinator=coordinator)
                market.redeem(voucher, market.sign(voucher, self.keys[coordinator]))
            case "redeem_by_the_first_key", (coordinator, miner, cumulative):
                voucher = market.voucher(cumulative, miner, coordinator=coordinator)
                market.redeem(voucher, market.sign(voucher, self.first_keys[coordinator]))
            case "rotate", int(coordinator):
                self.keys[coordinator] = market.rotate(coordinator, self.owner(coordinator))
            case "redeem_many", list(batch):
                signed = [(market.voucher(amount, miner, coordinator=c), self.keys[c]) for c, miner, amount in batch]
                signatures = [market.sign(voucher, key) for voucher, key in signed]
                market.settle(market.world.carol, "redeem_many", [fields(v) for v, _ in signed], signatures)
            case "meet_debt", int(coordinator):
                indices = list(range(len(self.model.unbonding[coordinator])))[:16]
                market.settle(market.world.carol, "meet_debt", coordinator, indices)
            case "unvote", int(coordinator), int(amount):
                market.world.unvote(self.owner(coordinator), coordinator, amount)
            case _, int(coordinator), *rest:
                market.settle(self.owner(coordinator), name, coordinator, *rest)
            case _:
                raise AssertionError(name)

    def check(self) -> None:
        world, model, read = self.market.world, self.model, self.market.read
        for coordinator in COORDINATORS:
            assert read("escrow", coordinator) == model.escrow[coordinator]
            assert read("owed", coordinator) == model.owed(coordinator)
            assert read("in_debt_since", coordinator) == model.since.get(coordinator, 0)
            assert read("pending_withdrawal", coordinator) == model.request.get(coordinator, (0, 0))
            paid = sum(model.paid[coordinator, miner] for miner in MINERS)
            assert read("redeemed_total", coordinator) == paid
            for miner in MINERS:
                assert read("acknowledged", coordinator, miner) == model.shown[coordinator, miner]
                assert read("redeemed", coordinator, miner) == model.paid[coordinator, miner]
            assert world.node(coordinator)["self_stake"] == model.bonded[coordinator]
            assert world.anvil.read(world.staking, "stake_of", coordinator, world.bob) == VOTE
            enough = model.bonded[coordinator] > COORDINATOR_MINIMUM
            assert world.node(coordinator)["active"] is (enough and not model.owed(coordinator))


PAID_IN_BETWEEN = [
    ("redeem", (COORDINATOR, MINERS[0], ESCROW + 400 * CAI)),
    ("deposit", COORDINATOR, 1000 * CAI),
    ("redeem_many", [(COORDINATOR, MINERS[0], 0), (SECOND, MINERS[0], 0), (COORDINATOR, MINERS[1], 1700 * CAI)]),
]


@settings(max_examples=25 * RUNS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(operations=PAID_IN_BETWEEN)
@given(operations=st.lists(OPERATIONS, min_size=15, max_size=40))
def test_settlement__any_sequence__agrees_with_the_model(world: World, operations: list[tuple]):
    with world.anvil.unchanged():
        run = Run.begin(world)
        for operation in operations:
            run.apply(*operation)
            assert world.balance(world.settlement.address) == sum(run.model.escrow.values())
        run.check()
