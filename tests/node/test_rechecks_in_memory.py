"""Rechecks through the real composition, driver and child process, over memory adapters: SPEC.md §12.8."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from node.adapters.control import UnixControl, ask
from node.adapters.engine.instant import InstantEngine
from node.adapters.engine.settings import EngineSettings
from node.adapters.memory import MemoryChain, MemoryStore
from node.adapters.pictures import ChildComparer
from node.adapters.system import SystemClock
from node.compose import NodeInfo, identity_of, run_with
from node.journal import StructuredJournal
from node.model_files.catalog import load_catalog
from node.ports import Ports
from node.settings import CoordinatorSection, NodeRole
from protocol.effects import StartJob
from protocol.records import RecheckKept
from protocol.stake.epoch import epoch_at
from protocol.units import Epoch
from tests.node.test_network_in_memory import Network, serving
from tests.support import networks
from tests.support.networks import ALICE, BOB, CAROL, DAVE
from tests.support.patience import PATIENCE_S
from tests.support.pictures import png
from tests.support.wrapped_engine import WrappedEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:hypercorn")

KEYS = {"alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}
ROWS = (*networks.trio(), networks.row(DAVE, 4, stake=75_000 * 10**18))
RECHECKS = CoordinatorSection(recheck_percent=25, recheck_newcomer_percent=100, recheck_within_s=1)


class OtherColours(WrappedEngine):
    """An engine that draws something else than was ordered."""

    def start(self, job: StartJob) -> None:
        other = job.specification.model_copy(update={"seed": job.specification.seed ^ 1})
        super().start(replace(job, specification=other))


async def start(network: Network, nursery: trio.Nursery, name: str, role: NodeRole, *, lies: bool = False) -> NodeInfo:
    """Start a node of a network of four."""
    clock, journal = SystemClock(), StructuredJournal()
    epoch = epoch_at(clock.now(), networks.network_params())
    engine = InstantEngine(EngineSettings(kind="instant"), load_catalog(), clock, journal)
    ports = Ports(
        transport=network.memory.transport(KEYS[name].peer_id),
        chain=MemoryChain(tuple(networks.view(Epoch(number), ROWS) for number in (epoch - 1, epoch, epoch + 1))),
        store=network.stores.setdefault(name, MemoryStore()),
        engine=None if role is NodeRole.COORDINATOR else OtherColours(engine) if lies else engine,
        clock=clock,
        journal=journal,
        control=UnixControl(network.folder / name),
        pictures=ChildComparer(),
    )
    settings = network.settings(role, name).model_copy(update={"coordinator": RECHECKS})
    identity = replace(identity_of(settings, bytes([1]) * 32), key=KEYS[name])
    return await nursery.start(run_with, ports, settings, identity, journal)


def odd_ones(store: MemoryStore) -> list[int]:
    """Who was the odd one out, in each recheck that is over."""
    return [miner for record in store._rechecks.values() for miner in record.odd]


async def status(folder: Path) -> dict[str, Any]:
    """Ask a node how it stands, as its owner does."""
    return await trio.to_thread.run_sync(lambda: dict(ask(folder, {"command": "status"})))


async def test_rechecks__miner_that_draws_something_else__is_found_out_and_shown_to_its_coordinators_owner(
    tmp_path: Path, cuckoo: Callable[..., tuple[int, str, str]]
) -> None:
    network = Network(tmp_path)
    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob", "dave"):
            await start(network, nursery, name, NodeRole.MINER, lies=name == "dave")
        info = await start(network, nursery, "carol", NodeRole.COORDINATOR)
        assert info.http_url is not None
        store = network.stores["carol"]
        async with httpx.AsyncClient(base_url=info.http_url, timeout=PATIENCE_S) as client:
            await serving(client)
            with trio.fail_after(5 * PATIENCE_S):  # four nodes in one process, until the lot has it
                # While others are busy it may be one half of those who serve, who are not left out: so until it is.
                while not (said := await status(tmp_path / "carol"))["miners"] or (
                    said["miners"][0]["left_out_hours"] < 167
                ):
                    answer = await client.post("/v1/tasks", json={"prompt": "a red heart"})
                    assert answer.status_code == 202, answer.text
                    await trio.sleep(0.5)
        code, out, _ = await trio.to_thread.run_sync(lambda: cuckoo("status", "--node", str(tmp_path / "carol")))
        nursery.cancel_scope.cancel()
    assert set(odd_ones(store)) == {4}
    worst = said["miners"][0]
    assert (worst["id"], worst["odd_ever"] >= 2) == (4, True)
    assert code == 0
    assert next(line.split(":")[0].split() for line in out.splitlines() if " of 100: " in line)[:2] == ["miner", "4"]
    kept = [record for record in store._rechecks.values() if isinstance(record, RecheckKept)]
    assert {record.outcome for record in kept} <= {"", "agreed", "odd_one_out", "undecided"}


async def test_rechecks__of_an_edit__go_from_its_source_and_leave_nothing_behind(tmp_path: Path) -> None:
    network, source = Network(tmp_path), base64.b64encode(png(128, 128, 3)).decode()
    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob", "dave"):
            await start(network, nursery, name, NodeRole.MINER, lies=name == "dave")
        info = await start(network, nursery, "carol", NodeRole.COORDINATOR)
        assert info.http_url is not None
        store = network.stores["carol"]
        order = {"prompt": "a blue heart", "source": source, "strength": 0.6}
        async with httpx.AsyncClient(base_url=info.http_url, timeout=PATIENCE_S) as client:
            await serving(client)
            with trio.fail_after(5 * PATIENCE_S):  # four nodes in one process, until the lot has it
                while not {"agreed", "odd_one_out"} <= {record.outcome for record in store._rechecks.values()}:
                    answer = await client.post("/v1/tasks", json=order | {"seed": len(store._tasks)})
                    assert answer.status_code == 202, answer.text
                    await trio.sleep(0.5)
                while any(not record.outcome for record in store._rechecks.values()):
                    await trio.sleep(0.1)
        assert not store._inputs or any(not (one.done or one.failed) for one in store._tasks.values())
        nursery.cancel_scope.cancel()
    assert set(odd_ones(store)) == {4}
    assert not network.memory.judged
