"""Two miners with engines of their own. One stands still; sealed orders are read by no coordinator, whoever dies."""

import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from node.apps.app_client import AppClient, Picture, open_client, order_of
from node.apps.award_check import awards_of_chain
from node.cli.submit_overlay import Entries
from node.receipts import ChainToAsk, check_receipt, look_up_domain
from protocol.notes import NoteName
from protocol.roles.app.app_events import KeySealed, Moved, Tell
from protocol.task.artifact import check_png
from protocol.wire.codec import RECEIPT_PLACE, decode
from tests.e2e.test_app_orders import coordinator_of, promised, started_again
from tests.e2e.test_failures import frozen, noted
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until
from tests.support.process_memory import memory_holds
from tests.support.processes import ask, done

pytestmark = pytest.mark.e2e
PROMPT = "a red heart of xyzzyplugh"
SEED = 7


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with devnet(tmp_path_factory.mktemp("devnet"), "--miners", "2") as running:
        yield running


@asynccontextmanager
async def an_app(network: Running) -> AsyncIterator[AppClient]:
    """An app that looks awards up in the chain."""
    entries = Entries.given(None, Path(network.description["network"]), None)
    assert entries.described is not None
    async with (
        awards_of_chain(entries.described, entries.params) as awards,
        open_client(entries.bootstraps, network=entries.params.name, awards=awards) as client,
    ):
        yield client


class Follower:
    """What an order is told; the first time that a miner has its key, something is done to the network."""

    def __init__(self, then: Callable[[KeySealed], None]) -> None:
        self.then = then
        self.keys: list[KeySealed] = []
        self.moved: list[str] = []
        self.previews = 0

    def __call__(self, news: Tell | Moved | KeySealed) -> None:
        match news:
            case KeySealed():
                self.keys.append(news)
                if len(self.keys) == 1:
                    self.then(news)
            case Moved():
                self.moved.append(news.why)
            case Tell():
                self.previews += getattr(news.news, "preview", None) is not None


async def drawn(
    network: Running, then: Callable[[KeySealed], None] = lambda _: None, *, prompt: str = PROMPT, sealed: bool = True
) -> tuple[Picture, Follower]:
    follower = Follower(then)
    with trio.fail_after(2 * PATIENCE_S):
        async with an_app(network) as app:
            picture = await app.draw(order_of(prompt, seed=SEED), follower, sealed=sealed)
    check_png(picture.data, 128, 128)
    return picture, follower


def knows(node: dict[str, Any], secret: str) -> list[str]:
    """Where a node has these words: in a file of its folder, its log, or its memory."""
    words = secret.encode()
    files = [Path(node["log"]), *(path for path in Path(node["config"]).parent.rglob("*") if path.is_file())]
    found = [str(path) for path in files if words in path.read_bytes()]
    return [*found, *(["its memory"] if memory_holds(node["pid"], words) else [])]


def test_engine__frozen_in_the_middle__another_delivers_within_the_lease(network: Running) -> None:
    answer = ask(network, "POST", "/v1/tasks", json={"prompt": "a red heart", "steps": 50})
    assert answer is not None
    task = answer.json()["task"]
    wait_until(lambda: bool(noted(network, task, NoteName.JOB_STARTED)), "the job")
    first = network.holder(task)
    (engine,) = psutil.Process(first["pid"]).children()
    with frozen(engine.pid):
        wait_until(
            lambda: len(noted(network, task, NoteName.TASK_AWARDED)) == 2, "the second award", 10 * network.slowness
        )
        assert network.holder(task)["name"] != first["name"]
        done(network, task)
    assert len(noted(network, task, NoteName.TASK_DONE)) == 1
    lost = noted(network, task, NoteName.TASK_LEASE_EXPIRED) + noted(network, task, NoteName.TASK_ABANDONED)
    assert [note["reason"] for note in lost] in (["engine_frozen"], ["silent"]), "given back by name, or taken back"


async def test_sealed_order__its_words__are_nowhere_at_the_coordinator_and_the_picture_is_the_same(
    network: Running,
) -> None:
    sealed, follower = await drawn(network)
    (node,) = network.nodes("coordinator")
    assert knows(node, PROMPT) == []
    assert knows(network.nodes("bootstrap")[0], PROMPT) == []
    assert sealed.data not in [path.read_bytes() for path in Path(node["config"]).parent.rglob("*") if path.is_file()]
    assert not memory_holds(node["pid"], sealed.data[-120:-12])
    (key,) = follower.keys
    assert "both are registered" in key.found
    assert "drawn number" in key.found
    assert follower.previews == 0
    statement = decode(sealed.done.receipt, RECEIPT_PLACE)
    chain = network.description["chain"]
    asked = ChainToAsk(chain["rpc_url"], chain["staking"])
    domain, registered = await look_up_domain(asked, statement.statement.coordinator)
    findings = check_receipt(
        statement, task=sealed.task, picture=sealed.delivered, domain=domain, registered_key=registered
    )
    assert findings.problems == ()
    assert findings.signer_is_registered
    plain, _ = await drawn(network, sealed=False)
    assert plain.data == sealed.data
    assert knows(node, PROMPT), "a plain order is found where a sealed one is not"


async def test_coordinator__killed_when_the_key_was_just_given__same_task_ends_and_is_paid_once(
    network: Running, restarts: ExitStack
) -> None:
    owed = promised(network)

    def kill_and_restart(key: KeySealed) -> None:
        node = coordinator_of(network, key.peer)
        os.kill(node["pid"], signal.SIGKILL)
        restarts.enter_context(started_again(node))

    secret = "a blue star of frobozzmagic"
    picture, follower = await drawn(network, kill_and_restart, prompt=secret)
    assert follower.moved, "it noticed"
    (node,) = network.nodes("coordinator")
    assert knows(node, secret) == []
    assert promised(network) - owed == decode(picture.done.receipt, RECEIPT_PLACE).statement.price
    with closing(sqlite3.connect(Path(node["config"]).parent / "store.sqlite")) as connection:
        ended = connection.execute("SELECT count(*) FROM tasks WHERE task = ?", (picture.task,)).fetchone()
    assert ended == (1,)


async def test_miner__killed_when_it_was_just_given_the_key__next_winner_has_a_key_of_its_own(
    network: Running, restarts: ExitStack
) -> None:
    owed = promised(network)
    killed: list[int] = []

    def kill(key: KeySealed) -> None:
        miner = next(node for node in network.nodes("miner") if node["staking_id"] == key.miner)
        os.kill(miner["pid"], signal.SIGKILL)
        killed.append(key.miner)

    secret = "a green turtle of wibblewobble"
    picture, follower = await drawn(network, kill, prompt=secret)
    assert [key.attempt for key in follower.keys] == sorted({key.attempt for key in follower.keys})
    assert len(follower.keys) > 1
    assert picture.done.miner not in killed
    assert knows(network.nodes("coordinator")[0], secret) == []
    assert promised(network) - owed == decode(picture.done.receipt, RECEIPT_PLACE).statement.price
