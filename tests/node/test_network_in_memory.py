"""A coordinator and three miners through the real composition, driver, desk and gateway, over memory adapters."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from node.adapters.control import UnixControl
from node.adapters.engine.instant import InstantEngine
from node.adapters.engine.settings import EngineSettings
from node.adapters.memory import MemoryChain, MemoryNetwork, MemoryStore
from node.adapters.system import SystemClock
from node.apps.api_keys import changed_entries, entry_of, new_key
from node.compose import NodeInfo, identity_of, run_with
from node.journal import StructuredJournal
from node.model_files.catalog import load_catalog
from node.ports import Chain, EventSink, Ports, Ready
from node.settings import (
    ChainSection,
    ContentSection,
    HttpSection,
    MetricsSection,
    MinerSection,
    NodeRole,
    Settings,
    TracingSection,
)
from protocol.crypto.keys import NodeKey
from protocol.stake.epoch import epoch_at
from protocol.task.artifact import check_png
from protocol.task.webp import check_webp
from protocol.units import Epoch, Wei
from tests.support import networks
from tests.support.patience import PATIENCE_S
from tests.support.pictures import png
from tests.support.web_server import QuietHandler, listening

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:hypercorn")

ONE_PICTURE = Wei(128 * 128 * 15 * networks.network_params().price_per_pixel_step_wei)
"""What the embedded model's default costs."""


class Network:
    """Alice and bob mine, carol coordinates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = MemoryNetwork(latency_s=0.002)
        self.stores = {name: MemoryStore() for name in ("alice", "bob", "carol")}
        self.keys = {"alice": networks.ALICE, "bob": networks.BOB, "carol": networks.CAROL}
        self.metrics = MetricsSection()
        self.tracing = TracingSection()

    def settings(self, role: NodeRole, name: str, **miner: Any) -> Settings:
        return Settings(
            role=role,
            data=self.folder / name,
            params=networks.network_params(slot_step_ms=10, claim_allowance_ms=15),
            chain=ChainSection(rpc_urls=("http://127.0.0.1:1",), chain_id=31337, staking="0x" + "11" * 20),
            http=HttpSection(port=0),
            miner=MinerSection(**miner),
            metrics=self.metrics,
            tracing=self.tracing,
        )

    async def start(
        self,
        nursery: trio.Nursery,
        name: str,
        role: NodeRole,
        delay_ms: int = 0,
        chain: Chain | None = None,
        http: HttpSection | None = None,
        content: ContentSection | None = None,
        **miner: Any,
    ) -> NodeInfo:
        clock, journal = SystemClock(), StructuredJournal()
        epoch = epoch_at(clock.now(), networks.network_params())
        views = tuple(networks.view(Epoch(number)) for number in (epoch - 1, epoch, epoch + 1))
        engine = InstantEngine(EngineSettings(kind="instant", delay_ms=delay_ms), load_catalog(), clock, journal)
        key: NodeKey = self.keys[name]
        ports = Ports(
            transport=self.memory.transport(key.peer_id),
            chain=chain or MemoryChain(views),
            store=self.stores[name],
            engine=engine if role is NodeRole.MINER else None,
            clock=clock,
            journal=journal,
            control=UnixControl(self.folder / name),
        )
        secret = {"alice": b"alice", "bob": b"bob", "carol": b"carol"}[name]
        settings = self.settings(role, name, **miner)
        if http is not None:
            settings = settings.model_copy(update={"http": http})
        if content is not None:
            settings = settings.model_copy(update={"content": content})
        identity = identity_of(settings, hashlib.sha256(secret).digest())
        return await nursery.start(run_with, ports, settings, identity, journal)


async def serving(client: httpx.AsyncClient) -> None:
    """Wait until the coordinator knows its miners."""
    with trio.fail_after(PATIENCE_S):
        while (await client.get("/readyz")).status_code != 200:
            await trio.sleep(0.05)


async def test_generation__memory_network__is_a_picture_with_its_receipt(tmp_path: Path) -> None:
    network = Network(tmp_path)
    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob"):
            await network.start(nursery, name, NodeRole.MINER)
        info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
        assert info.http_url is not None
        async with httpx.AsyncClient(base_url=info.http_url) as client:
            await serving(client)
            answer = await client.post(
                "/v1/images/generations", json={"prompt": "a red heart", "response_format": "b64_json"}
            )
            assert answer.status_code == 200, answer.text
            picture = base64.b64decode(answer.json()["data"][0]["b64_json"])
            check_png(picture, 128, 128)
        nursery.cancel_scope.cancel()
    assert not network.memory.judged
    done = [stored for stored in network.stores["carol"]._tasks.values() if stored.done]
    assert len(done) == 1


async def test_generation__miner_leaves_mid_job__another_makes_it(tmp_path: Path) -> None:
    network = Network(tmp_path)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as leaving:
            await network.start(leaving, "alice", NodeRole.MINER, delay_ms=60_000)
            info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
            assert info.http_url is not None
            async with httpx.AsyncClient(base_url=info.http_url, timeout=PATIENCE_S) as client:
                await serving(client)
                answer = await client.post("/v1/tasks", json={"prompt": "a red heart"})
                assert answer.status_code == 202, answer.text
                with trio.fail_after(PATIENCE_S):
                    while not network.stores["carol"]._awards:
                        await trio.sleep(0.01)
                shown = (await client.get(answer.json()["url"])).json()
                assert shown["waiting"] == {"state": "awarded", "offers": 1, "reasons": {}}
            leaving.cancel_scope.cancel()
        with trio.fail_after(PATIENCE_S):
            async with httpx.AsyncClient(base_url=info.http_url) as client:
                while shown["waiting"]["state"] == "awarded":
                    await trio.sleep(0.05)
                    shown = (await client.get(answer.json()["url"])).json()
        assert shown["waiting"]["reasons"] == {"lease_expired": 1}
        await network.start(nursery, "bob", NodeRole.MINER)
        with trio.fail_after(PATIENCE_S):
            while not any(stored.done for stored in network.stores["carol"]._tasks.values()):
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    done = next(stored.done for stored in network.stores["carol"]._tasks.values())
    assert done is not None
    assert done.miner == 2


class Operator(QuietHandler):
    """Refuses prompts with guns, and every picture."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = asked["kind"] == "picture" or "gun" in asked["prompt"]
        self.answer(200, json.dumps({"refused": refused, "reason": "no guns"}).encode())


async def test_content__hook_refuses__no_task_for_a_prompt_and_no_picture_but_the_miner_is_paid(tmp_path: Path) -> None:
    network = Network(tmp_path)
    with listening(Operator) as url:
        async with trio.open_nursery() as nursery:
            await network.start(nursery, "alice", NodeRole.MINER)
            content = ContentSection(hook=url, refused_words=("knife",))
            info = await network.start(nursery, "carol", NodeRole.COORDINATOR, content=content)
            assert info.http_url is not None
            async with httpx.AsyncClient(base_url=info.http_url) as client:
                await serving(client)
                for prompt, why in (("a gun", "no guns"), ("a knife", "what is not drawn here")):
                    refused = await client.post("/v1/images/generations", json={"prompt": prompt})
                    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt")
                    assert why in refused.json()["error"]["message"]
                assert network.stores["carol"]._tasks == {}
                withheld = await client.post("/v1/images/generations", json={"prompt": "a red heart"})
                assert withheld.status_code == 400
                assert withheld.json()["error"]["code"] == "content_policy_violation"
            with trio.fail_after(PATIENCE_S):
                while not network.stores["alice"]._held:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    (held,) = network.stores["alice"]._held.values()
    assert held.cumulative > 0


async def test_api_key__made_while_it_runs__counts_at_once_and_its_spending_outlives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.apps.api_keys.WATCH_S", 0.01)
    network, key = Network(tmp_path), new_key()
    async with trio.open_nursery() as nursery:
        await network.start(nursery, "alice", NodeRole.MINER)
        section = HttpSection(port=0, require_key=True)
        for run in range(2):
            async with trio.open_nursery() as life:
                info = await network.start(life, "carol", NodeRole.COORDINATOR, http=section)
                assert info.http_url is not None
                assert info.access is not None
                assert info.access.startswith("nobody yet" if run == 0 else "whoever has the API key")
                headers = {"Authorization": f"Bearer {key}"}
                async with httpx.AsyncClient(base_url=info.http_url, headers=headers) as client:
                    await serving(client)
                    if run == 0:
                        assert (await client.get("/v1/models")).status_code == 401
                        with changed_entries(tmp_path / "carol" / "api-keys.json") as entries:
                            entries.append(entry_of(key, "app", wei_per_day=ONE_PICTURE))
                        with trio.fail_after(PATIENCE_S):
                            while (await client.get("/v1/models")).status_code == 401:
                                await trio.sleep(0.01)
                    answer = await client.post("/v1/images/generations", json={"prompt": "a red heart"})
                    assert answer.status_code == (200 if run == 0 else 402), answer.text
                    await info.drain()
                    stopping = await client.post("/v1/tasks", json={"prompt": "a red heart"})
                    assert (stopping.status_code, stopping.json()["error"]["code"]) == (503, "stopping")
                life.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


class FailingChain:
    """A chain adapter with a fault of ours in it."""

    def __init__(self) -> None:
        self.fails = trio.Event()

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await self.fails.wait()
        raise ZeroDivisionError


@pytest.mark.parametrize(("given", "noted"), [("signal", "signal"), (None, "cancelled")])
async def test_run_with__told_to_stop__notes_why(tmp_path: Path, lines, given: str | None, noted: str) -> None:
    async with trio.open_nursery() as nursery:
        await Network(tmp_path).start(nursery, "alice", NodeRole.MINER)
        nursery.cancel_scope.cancel(given)
    assert [line["reason"] for line in lines() if line["event"] == "node.stopping"] == [noted]


async def test_run_with__part_fails__notes_a_fault(tmp_path: Path, lines) -> None:
    chain = FailingChain()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await Network(tmp_path).start(nursery, "alice", NodeRole.MINER, chain=chain)
            chain.fails.set()
    assert [line["reason"] for line in lines() if line["event"] == "node.stopping"] == ["fault"]


async def test_edit__memory_network__the_winner_gets_the_pictures_and_they_are_gone_with_the_task(
    tmp_path: Path,
) -> None:
    network, source, mask = Network(tmp_path), png(128, 128, 3), png(128, 128, 4)
    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob"):
            await network.start(nursery, name, NodeRole.MINER)
        info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
        assert info.http_url is not None
        async with httpx.AsyncClient(base_url=info.http_url, timeout=PATIENCE_S) as client:
            await serving(client)
            form = {"image": ("cat.png", source), "mask": ("mask.png", mask), "prompt": (None, "a red heart")}
            answer = await client.post(
                "/v1/images/edits", files=form, data={"strength": "0.5", "output_format": "webp", "n": "3"}
            )
            assert answer.status_code == 200, answer.text
            for image in answer.json()["data"]:
                check_webp(base64.b64decode(image["b64_json"]), 128, 128)
                assert image["cuckoo"]["work"] == "inpaint"
        nursery.cancel_scope.cancel()
    assert not network.memory.judged
    store = network.stores["carol"]
    assert {task for task, _ in store._inputs} == set(store._rechecks), "kept for who draws one again, and else gone"
    ended = [stored for stored in network.stores["carol"]._tasks.values() if stored.done]
    assert len(ended) == 3
    assert {stored.done.media_type for stored in ended} == {"image/webp"}
    assert {stored.accepted.price for stored in ended} == {
        networks.network_params().price_per_pixel_step_wei * 128 * 128 * 7
    }, "half of 15 steps"


async def test_edit__pictures_lost_on_their_way__are_asked_for_again(tmp_path: Path) -> None:
    network, source = Network(tmp_path), png(128, 128, 3)
    lost: list[bytes] = []

    def loses(_sender: str, _receiver: str, data: bytes) -> bool:
        if data == source and not lost:
            lost.append(data)
            return True
        return False

    network.memory.lose = loses
    async with trio.open_nursery() as nursery:
        await network.start(nursery, "alice", NodeRole.MINER)
        info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
        assert info.http_url is not None
        async with httpx.AsyncClient(base_url=info.http_url, timeout=PATIENCE_S) as client:
            await serving(client)
            form = {"image": ("cat.png", source), "prompt": (None, "a red heart")}
            answer = await client.post("/v1/images/edits", files=form)
            assert answer.status_code == 200, answer.text
        nursery.cancel_scope.cancel()
    assert lost
    assert not network.memory.judged
    assert len(network.stores["carol"]._awards) == 1
    assert all(len(awards) == 1 for awards in network.stores["carol"]._awards.values()), "by the first award"
