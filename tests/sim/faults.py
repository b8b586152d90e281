"""A world in which everything goes wrong for a while, and what must hold whatever went wrong.

Faults: machines die and come back, connections break, frames, bulletins and artifacts are lost or come twice, engines
hang, apps cancel, nodes leave the stake table for some epochs. Invariants are checked while it runs and at its end.
"""

import random
from copy import deepcopy

from protocol.effects import Accepted, Effect, Persist, Publish, Send, SendEncoded, Stage, StartJob
from protocol.events import JobFailed, TaskCancelled
from protocol.records import ClaimSigned
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.look_ahead import LOOK_AHEAD
from protocol.roles.miner.miner import MinerCore
from protocol.units import Role, StakingId, TaskId
from protocol.wire.codec import WORK_PLACE, decode
from protocol.wire.messages import Award, Bulletin, Hello, Receipt
from tests.sim.world import World
from tests.support.networks import network_params

SETTLE_MS = 3000
STORM_MS = 20_000
CALM_MS = 90_000
"""Within so long after the last fault every accepted task has ended: far less than its deadline."""
NAMED_ENDS = {"cancelled", "client_gone", "attempts_exhausted"}
"""Why a task may fail here; never at its deadline."""


class Chaos:
    """One seeded run."""

    def __init__(self, seed: int, *, miners: int = 4, coordinators: int = 2, tasks: int = 24) -> None:
        """Let a network settle; ``run`` then breaks it."""
        self.random = random.Random(seed)
        self.world = World(
            miners=miners,
            coordinators=coordinators,
            seed=seed,
            latency_ms=self.random.choice([(2, 8), (10, 75), (2, 400), (100, 900)]),
            params=network_params(epoch_s=12, boundary_tolerance_s=3),
        )
        self.names = sorted(self.world.machines)
        self.loss = self.random.choice([0.0, 0.03, 0.15])
        for machine in self.world.machines.values():
            machine.step_ms = self.random.choice([5, 20, 150])
            machine.places = self.random.choice([1, 1, 3])
        self.tasks = tasks
        self.storm = False
        self.claims: set[bytes] = set()
        self.awards: dict[bytes, Award] = {}
        self.receipts: dict[TaskId, bytes] = {}
        self.world.tamper = self._watch
        self.world.lose = self._lose
        self.world.repeat = lambda: self.storm and self.random.random() < 0.05
        self.world.chain.follow()
        self.world.run(SETTLE_MS)

    # Faults

    def _lose(self, _sender: str, _receiver: str, message: object) -> bool:
        """Lose anything but a greeting: a stream whose first frame is lost is a broken stream."""
        return self.storm and not isinstance(message, Hello) and self.random.random() < self.loss

    def run(self) -> None:
        """Submit tasks into a storm, let it pass, and check what must hold."""
        self.storm = True
        spread_ms = self.random.choice([500, STORM_MS])
        for _ in range(self.tasks):
            self.world.at(self.random.randrange(spread_ms), self._submit)
        faults = (self._crash, self._crash, self._cut, self._cut, self._hang, self._cancel, self._lose_disk, self._jail)
        for _ in range(self.random.randrange(4, 24)):
            self.world.at(self.random.randrange(STORM_MS), self.random.choice(faults))
        if self.random.random() < 0.4:
            self.leave_table(self.random.choice(self.names), self.random.randrange(14_000, 30_000))
        self.world.run(STORM_MS)
        self.storm = False
        self.world.run(CALM_MS)
        self.check_end()

    def _submit(self) -> None:
        name = self.random.choice([name for name in self.names if name.startswith("coordinator")])
        detached = self.random.random() < 0.8
        self.world.submit(name, detached=detached, key=f"key{self.random.randrange(1000)}" if detached else None)

    def _crash(self) -> None:
        name = self.random.choice(self.names)
        if self.world.machines[name].core is not None:
            self.world.crash(name)
            self.world.at(self.random.randrange(10, 4000), lambda: self.world.start(name))

    def _jail(self) -> None:
        """A node is inactive at once, whatever its table says, and comes back after a while."""
        name = self.random.choice(self.names)
        self.world.jail(name)
        self.world.at(self.random.randrange(10, 8000), lambda: self.world.jail(name, free=True))

    def _lose_disk(self) -> None:
        """A miner comes back on a copy of its disk from now, taken a while before it dies."""
        name = self.random.choice([name for name in self.names if name.startswith("miner")])
        machine = self.world.machines[name]
        copy = deepcopy(machine.store)

        def die() -> None:
            if machine.core is not None:
                self.world.crash(name)
                machine.store = copy
                self.world.at(100, lambda: self.world.start(name))

        self.world.at(self.random.randrange(10, 5000), die)

    def _cut(self) -> None:
        one, other = self.random.sample(self.names, 2)
        if self.world.machines[one].core is not None and self.world.machines[other].core is not None:
            self.world.cut(one, other)

    def _hang(self) -> None:
        """An engine is silent for a while; then its process is killed, and what it had fails."""
        machine = self.world.machines[self.random.choice(self.names)]
        machine.hangs = True

        def recover() -> None:
            machine.hangs = False
            for task, attempt in sorted(machine.jobs):
                self.world.post(machine, JobFailed(task, attempt, "engine_died"))
            machine.jobs.clear()

        self.world.at(self.random.randrange(500, 8000), recover)

    def _cancel(self) -> None:
        accepted = [reply.task for reply in self.world.replies.values() if isinstance(reply, Accepted)]
        if accepted:
            task = self.random.choice(accepted)
            for name in self.names:
                self.world.post(self.world.machines[name], TaskCancelled(task))

    def leave_table(self, name: str, for_ms: int) -> None:
        """A node is inactive in the tables that are fixed from now on, for a while."""
        rows, address = self.world.chain.rows, self.world.machines[name].key.address
        self.world.chain.rows = tuple(
            row if row.address != address else type(row)(row.id, row.address, row.role, row.stake, active=False)
            for row in rows
        )

        def come_back() -> None:
            self.world.chain.rows = rows

        self.world.at(for_ms, come_back)

    # Invariants

    def _watch(self, name: str, effect: Effect) -> Effect:
        match effect:
            case Persist(records=records):
                self.claims |= {record.claim for record in records if isinstance(record, ClaimSigned)}
            case Send(message=Award() as award):
                assert award.statement.claim in self.claims, "an award for a claim that nobody signed"
                assert self.awards.setdefault(award.statement.claim, award) == award, "two awards for one claim"
            case SendEncoded(data=data):
                message = decode(data, WORK_PLACE)
                if isinstance(message, Receipt):
                    assert self.receipts.setdefault(message.statement.task, data) == data, "two receipts of one task"
            case StartJob():
                machine = self.world.machines[name]
                assert len(machine.jobs) < machine.places + LOOK_AHEAD, "more jobs than places and look-ahead"
            case Publish(message=Bulletin() as bulletin):
                for offer in bulletin.offers:
                    assert offer.attempt <= 255
            case _:
                pass
        assert self.world.judged == [], "an honest peer is judged"
        return effect

    def check_end(self) -> None:
        """Check what must hold once everything is calm."""
        world = self.world
        held: dict[tuple[StakingId, StakingId], int] = {}
        issued: dict[tuple[StakingId, StakingId], int] = {}
        for name, machine in world.machines.items():
            own = world.staking_id(name)
            for record in machine.store._held.values():
                held[(record.coordinator, own)] = record.cumulative
            for voucher in machine.store._issued.values():
                issued[(own, voucher.miner)] = voucher.cumulative
            if machine.role is Role.COORDINATOR:
                self._check_tasks(name)
            else:
                self._check_miner(name)
        assert held == issued, "what is promised and what is held differ"

    def _check_tasks(self, name: str) -> None:
        world, machine = self.world, self.world.machines[name]
        core, store = machine.core, machine.store
        assert isinstance(core, CoordinatorCore)
        prices = 0
        for task, stored in store._tasks.items():
            assert (stored.done is None) != (stored.failed is None), f"{task.hex()} has no end"
            ends = [u for u in world.updates[task] if u.stage in (Stage.DONE, Stage.FAILED)]
            assert len(ends) <= 1, "its app was told two ends"
            is_paid = stored.done is not None or task in store._left
            prices += stored.accepted.price if is_paid else 0
            if stored.failed is not None:
                assert stored.failed.reason in NAMED_ENDS, stored.failed.reason
                assert stored.failed.reason != "client_gone" or not stored.accepted.detached
        assert sum(voucher.cumulative for voucher in store._issued.values()) == prices
        assert core.waiting() == 0
        assert not core._settlement.keys
        assert {key[0] for key in machine.timers} <= {"discover", "epoch"}, machine.timers
        for miner in core.roster:
            assert not miner.working_on
            assert miner.has_place()

    def _check_miner(self, name: str) -> None:
        machine = self.world.machines[name]
        core = machine.core
        assert isinstance(core, MinerCore)
        assert not core._working._jobs
        assert not core._working.delivering.undelivered()
        assert not core._claiming._claims
        assert sum(core._claiming._heard.values()) == len(core._claiming._offers)
        assert not machine.jobs
        assert len(core._streams) == len([n for n in self.names if n.startswith("coordinator")])
