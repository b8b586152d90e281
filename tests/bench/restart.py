"""How soon a coordinator that died with a long queue gives miners work again."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from node.adapters.store import SqliteStore
from node.adapters.system import SystemClock
from node.children import Child
from node.compose import identity_of, real_ports, run_with
from node.config.configuration import load_settings
from node.devnet import Devnet
from node.devnet_plan import DevnetMember
from node.journal import StructuredJournal
from protocol.notes import NoteName
from protocol.records import TaskAccepted
from protocol.stake.epoch import epoch_at
from protocol.stake.lottery import task_id
from protocol.task.priority import Priority, deadline
from protocol.units import StakingId, TaskId, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import TaskSpecification
from tests.bench.hops import moments_of

QUEUED = 10_000
BATCH = 500
"""Tasks that become durable together, while the queue is made."""
LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Seconds from each beginning to the first award: an offer that nobody hears yet is no work."""

    queued: int
    process_s: float
    """From the start of the process: Python and its libraries with it."""
    compose_s: float
    """From the composition of the node, in a process that has its libraries."""


async def restart(network: Devnet, queued: int = QUEUED) -> Restart:
    """Kill the first coordinator of a network, give it a queue, and start it again, twice; then it runs on."""
    member, staking_id = next(pair for pair in network.registered() if pair[0].name.startswith("coordinator"))
    assert member.child is not None
    await _kill(member.child)
    await _make_queue(member, staking_id, queued)
    compose_s = await _compose(member)
    begun = time.time()
    member.child = await Child.start(member.name, member.role, member.child.config, member.folder / "restarted.log")
    process_s = await _first_award(member.child.log) - begun
    return Restart(queued, process_s, compose_s)


async def _kill(child: Child) -> None:
    child.stopping = True
    os.kill(child.pid, 9)
    await child.ended()


async def _make_queue(member: DevnetMember, own: StakingId, queued: int) -> None:
    """Accept so many tasks in the coordinator's store, as an earlier run of it did."""
    assert member.child is not None
    settings = load_settings(member.child.config, {})
    identity, clock = identity_of(settings, member.secret), SystemClock()
    model = next(iter(identity.catalog.models.values()))
    now = clock.now()
    epoch, boot = epoch_at(now, identity.params), now // 1000
    width, height = model.default_size
    store = SqliteStore(settings.data, clock)
    records = []
    for number in range(queued):
        specification = TaskSpecification(
            model=model.name, prompt="a red heart", width=width, height=height,
            steps=model.default_steps, guidance=model.default_guidance, seed=number,
        )  # fmt: skip
        records.append(
            TaskAccepted(
                task=TaskId(task_id(identity.network_id, own, epoch, boot, number)),
                epoch=epoch,
                boot=boot,
                number=number,
                specification=encode(specification),
                salt=os.urandom(16),
                price=Wei(specification.pixel_steps * identity.params.price_per_pixel_step_wei),
                detached=True,
                idempotency_key=f"bench {number}",
                accepted_at=now,
                deadline=deadline(Priority.NORMAL, now, identity.params.task_limit_ms),
            )
        )
    async with store.opened():
        for first in range(0, queued, BATCH):
            await store.persist(tuple(records[first : first + BATCH]))


async def _compose(member: DevnetMember) -> float:
    """Run the coordinator in this process until it awards a task; gives how long that took (s)."""
    assert member.child is not None
    settings = load_settings(member.child.config, {})
    awarded = trio.Event()
    journal = _Listening(awarded.set)
    with trio.fail_after(LIMIT_S):
        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            identity = identity_of(settings, member.secret)
            ports = real_ports(settings, member.secret, identity.catalog, SystemClock(), journal)  # type: ignore[arg-type]
            nursery.start_soon(run_with, ports, settings, identity, journal)
            await awarded.wait()
            elapsed = time.perf_counter() - begun
            nursery.cancel_scope.cancel()
    return elapsed


class _Listening:
    """A journal that tells when a task is awarded."""

    def __init__(self, awarded: Callable[[], None]) -> None:
        self._journal = StructuredJournal()
        self.registry = self._journal.registry
        self._awarded = awarded

    def note(self, name: NoteName, task: TaskId | None = None, **fields: str | int) -> None:
        if name is NoteName.TASK_AWARDED:
            self._awarded()


async def _first_award(log: Path) -> float:
    """Wait for the first award that a log tells of; gives when it was (unix seconds)."""
    with trio.fail_after(LIMIT_S):
        while True:
            moments = [m[NoteName.TASK_AWARDED] for m in moments_of([log]).values() if NoteName.TASK_AWARDED in m]
            if moments:
                return min(moments)
            await trio.sleep(0.05)
