"""Apps that order over the overlay, of real processes: coordinators die in the middle, and each order is paid once."""

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from node.apps.app_client import AppClient, OrderFailed, Picture, open_client, order_of
from node.apps.app_links import Parts
from protocol.notes import NoteName
from protocol.roles.app.app_events import Moved, Tell
from protocol.roles.app.app_order import PATIENCE_MS
from protocol.roles.coordinator.collecting import APP_LEASE_MS
from protocol.task.artifact import check_png
from protocol.units import DurationMs, PeerId
from protocol.wire.app_messages import Order, OrderNews
from protocol.wire.codec import RECEIPT_PLACE, decode
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until
from tests.support.pictures import png, with_remark

pytestmark = pytest.mark.e2e
DELAY_MS = 2500
ENDS = {NoteName.TASK_DONE, NoteName.TASK_FAILED}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    flags = ("--coordinators", "2", "--engine", "instant", "--delay-ms", str(DELAY_MS))
    with devnet(tmp_path_factory.mktemp("devnet"), *flags) as running:
        yield running


def entries(network: Running) -> tuple[str, ...]:
    return tuple(network.nodes("bootstrap")[0]["addresses"])


def coordinator_of(network: Running, peer: str) -> dict[str, Any]:
    return next(node for node in network.nodes("coordinator") if node["peer_id"] == peer)


def promised(network: Running) -> int:
    """What all coordinators together owe to miners for orders of apps (wei), as their stores say.

    What they had drawn again by lot, to look at it, is left out: nobody knows when that is.
    """
    total = 0
    for node in network.nodes("coordinator"):
        store = Path(node["config"]).parent / "store.sqlite"
        with closing(sqlite3.connect(store, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # one moment for both
            issued = connection.execute("SELECT cumulative FROM vouchers_issued").fetchall()
            again = connection.execute("SELECT price FROM tasks WHERE receipt IS NOT NULL AND NOT collected").fetchall()
        total += sum(int.from_bytes(row[0], "big") for row in issued)
        total -= sum(int.from_bytes(row[0], "big") for row in again)
    return total


def ended(network: Running) -> list[dict[str, Any]]:
    """Ends of tasks at all coordinators so far."""
    return [n for node in network.nodes("coordinator") for n in network.notes(node) if n["event"] in ENDS]


@contextmanager
def started_again(node: dict[str, Any]) -> Iterator[None]:
    """A node that was killed is back, under its address."""
    address = node["addresses"][0].partition("/p2p/")[0]
    command = [sys.executable, "-m", "node", "node", "--role", "coordinator", "--config", node["config"]]
    command.append("--exit-with-stdin")
    port = node["http_url"].rsplit(":", 1)[1]
    with Path(node["log"]).open("ab") as log:
        again = subprocess.Popen(
            [*command, "--http-port", port, "--listen", address], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    node["pid"] = again.pid
    try:
        yield
    finally:
        again.terminate()
        again.wait(PATIENCE_S)
        assert again.stdin is not None
        again.stdin.close()


class Follower:
    """What an order is told, and at whose hand it was when a miner began."""

    def __init__(self) -> None:
        self.moved: list[str] = []
        self.stages: list[str] = []
        self.drawn_by: str | None = None
        self.step = trio.Event()

    def __call__(self, news: Tell | Moved) -> None:
        if isinstance(news, Moved):
            self.moved.append(news.why)
        elif isinstance(news.news, OrderNews):
            self.stages.append(news.news.stage)
            if news.news.stage == "progress" and news.news.step:
                self.drawn_by = news.peer
                self.step.set()


async def drawn_while(
    client: AppClient,
    then: Callable[[Follower], None],
    *,
    patience_ms: int = PATIENCE_MS,
    order: Order | None = None,
    files: tuple[bytes, ...] = (),
) -> tuple[Picture, Follower]:
    """Order a picture, and do something to the network while a miner draws it."""
    follower, pictures = Follower(), []
    wanted = order or order_of("a red heart")

    async def draw() -> None:
        pictures.append(await client.draw(wanted, follower, patience_ms=DurationMs(patience_ms), pictures=files))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(draw)
            await follower.step.wait()
            then(follower)
    return pictures[0], follower


async def test_order__over_the_overlay__gets_picture_news_and_a_receipt(network: Running) -> None:
    async with open_client(entries(network), network="devnet") as client:
        picture, follower = await drawn_while(client, lambda _: None)
    check_png(picture.data, 128, 128)
    assert {"queued", "offered", "claimed", "progress", "ready"} == set(follower.stages)
    receipt = decode(picture.done.receipt, RECEIPT_PLACE)
    assert receipt.statement.task == picture.task
    assert coordinator_of(network, picture.coordinator)["staking_id"] == receipt.statement.coordinator
    (done,) = [note for note in ended(network) if note["task"] == picture.task.hex()]
    assert done["event"] == NoteName.TASK_DONE


async def test_order__refused_by_all__says_why(network: Running) -> None:
    async with open_client(entries(network), network="devnet") as client:
        with pytest.raises(OrderFailed) as caught:
            await client.draw(order_of("a red heart", model="no-such-model"))
    assert caught.value.code == "unknown_model"


async def test_order__given_up_by_its_app__reaches_the_gpu(network: Running) -> None:
    before = len(ended(network))
    async with open_client(entries(network), network="devnet") as client:
        follower = Follower()
        with trio.move_on_after(PATIENCE_S) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.draw, order_of("a red heart"), follower)
                await follower.step.wait()
                scope.cancel()
    wait_until(lambda: len(ended(network)) > before, "the end of the task")
    assert "cancelled" in {note.get("reason") for note in ended(network)}


async def test_coordinator__killed_and_back_in_time__same_task_ends_and_is_paid_once(
    network: Running, restarts: ExitStack
) -> None:
    owed, before = promised(network), len(ended(network))

    def kill_and_restart(follower: Follower) -> None:
        assert follower.drawn_by is not None
        node = coordinator_of(network, follower.drawn_by)
        os.kill(node["pid"], signal.SIGKILL)
        restarts.enter_context(started_again(node))

    async with open_client(entries(network), network="devnet") as client:
        picture, follower = await drawn_while(client, kill_and_restart)
    assert follower.moved, "it noticed"
    assert picture.coordinator == follower.drawn_by
    check_png(picture.data, 128, 128)
    assert promised(network) - owed == decode(picture.done.receipt, RECEIPT_PLACE).statement.price
    assert len(ended(network)) == before + 1


def files_of_its_own() -> tuple[bytes, bytes]:
    """A source and a mask that nothing else begins from: what is looked at again by lot is kept for a while."""
    name = secrets.token_hex(150_000)
    return with_remark(png(128, 128, seed=5), name), with_remark(png(128, 128, seed=250), name[:100])


def kept(node: dict[str, Any], files: tuple[bytes, ...]) -> int:
    """How many of these files a coordinator has on its disk, to begin from."""
    with closing(sqlite3.connect(Path(node["config"]).parent / "store.sqlite")) as connection:
        stored = {data for (data,) in connection.execute("SELECT data FROM inputs")}
    return len(stored & set(files))


def edit(files: tuple[bytes, bytes]) -> Order:
    return order_of("a blue heart", source=files[0], mask=files[1], strength=0.9)


def asked_for_pictures(client: AppClient, then: Callable[[str], None] = lambda _: None) -> list[str]:
    """Note who asks for pictures, and do something before they are sent."""
    asked: list[str] = []
    send_inputs = client.send_inputs

    def noted(peer: PeerId, parts: Parts, are_wanted: Callable[[], bool]) -> None:
        asked.append(peer)
        then(peer)
        send_inputs(peer, parts, are_wanted)

    client.send_inputs = noted  # type: ignore[method-assign]  # it is sent all the same
    return asked


def serves(node: dict[str, Any]) -> bool:
    """Whether a coordinator takes orders."""
    try:
        return httpx.get(f"{node['http_url']}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


async def test_coordinators__killed_and_away__others_draw_a_picture_and_an_edit_and_no_order_is_paid_twice(
    network: Running, restarts: ExitStack
) -> None:
    """One story, since what a dead coordinator had begun ends with its app's lease, a quarter of a minute later."""
    owed, files, price = promised(network), files_of_its_own(), 0
    killed: list[dict[str, Any]] = []
    left: list[str] = []

    def kill(follower: Follower) -> None:
        assert follower.drawn_by is not None
        killed.append(coordinator_of(network, follower.drawn_by))
        os.kill(killed[-1]["pid"], signal.SIGKILL)

    def kill_with_files(follower: Follower) -> None:
        assert follower.drawn_by is not None
        assert kept(coordinator_of(network, follower.drawn_by), files) == len(files), "before it was acknowledged"
        kill(follower)

    for then, order, given in ((kill, None, ()), (kill_with_files, edit(files), files)):
        async with open_client(entries(network), network="devnet") as client:
            picture, _ = await drawn_while(client, then, patience_ms=2000, order=order, files=given)
        check_png(picture.data, 128, 128)
        assert picture.coordinator != killed[-1]["peer_id"]
        price += decode(picture.done.receipt, RECEIPT_PLACE).statement.price
        left.append([n["task"] for n in network.notes(killed[-1]) if n["event"] == NoteName.TASK_ACCEPTED][-1])
        restarts.enter_context(started_again(killed[-1]))
        wait_until(lambda: serves(killed[-1]), "it is back")
    limit_s = PATIENCE_S + APP_LEASE_MS / 1000
    for task in left:
        wait_until(lambda task=task: task in {note["task"] for note in ended(network)}, "the end of the first", limit_s)
        (end,) = [note for note in ended(network) if note["task"] == task]
        assert end["event"] == NoteName.TASK_FAILED
        assert end["reason"] in {"not_taken", "client_gone"}
    assert promised(network) - owed == price
    assert not kept(killed[-1], files), "gone with its end"


async def test_edit__its_coordinator_is_killed_and_back_in_time__goes_on_and_is_sent_nothing_again(
    network: Running, restarts: ExitStack
) -> None:
    owed, files = promised(network), files_of_its_own()

    def kill_and_restart(follower: Follower) -> None:
        assert follower.drawn_by is not None
        node = coordinator_of(network, follower.drawn_by)
        os.kill(node["pid"], signal.SIGKILL)
        restarts.enter_context(started_again(node))

    async with open_client(entries(network), network="devnet") as client:
        asked = asked_for_pictures(client)
        picture, follower = await drawn_while(client, kill_and_restart, order=edit(files), files=files)
    check_png(picture.data, 128, 128)
    assert [picture.coordinator] == asked == [follower.drawn_by]
    assert promised(network) - owed == decode(picture.done.receipt, RECEIPT_PLACE).statement.price


async def test_edit__its_coordinator_is_killed_while_pictures_go_out__another_is_sent_them(
    network: Running, restarts: ExitStack
) -> None:
    owed, files = promised(network), files_of_its_own()
    killed: list[dict[str, Any]] = []

    def kill_the_first(peer: str) -> None:
        if not killed:
            killed.append(coordinator_of(network, peer))
            os.kill(killed[0]["pid"], signal.SIGKILL)

    async with open_client(entries(network), network="devnet") as client:
        asked = asked_for_pictures(client, kill_the_first)
        picture, _ = await drawn_while(client, lambda _: None, patience_ms=2000, order=edit(files), files=files)
    check_png(picture.data, 128, 128)
    assert asked == [killed[0]["peer_id"], picture.coordinator]
    assert not kept(killed[0], files), "nothing is kept of which a part is missing"
    restarts.enter_context(started_again(killed[0]))
    assert promised(network) - owed == decode(picture.done.receipt, RECEIPT_PLACE).statement.price
