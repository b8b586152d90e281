"""``cuckoo miner`` against nodes that run: what its owner says reaches the network."""

import json

import httpx
import pytest
import trio

from node.adapters.control import UnixControl
from node.control import Control
from node.settings import NodeRole
from protocol.units import CAI
from tests.node.test_network_in_memory import Network, serving
from tests.support.patience import PATIENCE_S

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:hypercorn"),
    pytest.mark.usefixtures("lines"),  # logs go elsewhere than what the commands say
]

PROMPT = {"prompt": "a red heart", "response_format": "b64_json"}


@pytest.fixture
def miner(cuckoo, tmp_path):
    """Runs ``cuckoo miner`` for alice while her node goes on."""

    async def run(*arguments, data=tmp_path / "alice"):
        return await trio.to_thread.run_sync(lambda: cuckoo("miner", *arguments, "--data", str(data)))

    return run


async def until_not_ready(client):
    with trio.fail_after(PATIENCE_S):
        while (await client.get("/readyz")).status_code == 200:
            await trio.sleep(0.02)


async def test_miner__paused_and_resumed__the_network_knows_it_at_once(tmp_path, nursery, miner):
    network = Network(tmp_path)
    await network.start(nursery, "alice", NodeRole.MINER)
    info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
    async with httpx.AsyncClient(base_url=info.http_url) as client:
        await serving(client)
        code, out, _ = await miner("status")
        assert code == 0
        assert out.startswith("takes work; nothing to do\n  engine    up on instant\n")
        assert "pocket-emoji" in out

        code, out, _ = await miner("pause")
        assert (code, out.splitlines()[0]) == (0, "takes no work: paused by its owner; nothing to do")
        await until_not_ready(client)
        refused = await client.post("/v1/images/generations", json=PROMPT)
        assert refused.json()["error"]["code"] == "no_miner"

        code, out, _ = await miner("resume", "--json")
        assert (code, json.loads(out)["service"]["open"]) == (0, True)
        await serving(client)
        assert (await client.post("/v1/images/generations", json=PROMPT)).status_code == 200
    nursery.cancel_scope.cancel()


async def test_status__node_here__says_who_it_is_and_how_fast_each_model_draws(tmp_path, nursery, cuckoo):
    network = Network(tmp_path)
    alice = await network.start(nursery, "alice", NodeRole.MINER)
    carol = await network.start(nursery, "carol", NodeRole.COORDINATOR)

    async def status(name, *more):
        return await trio.to_thread.run_sync(lambda: cuckoo("status", "--node", str(tmp_path / name), *more))

    code, out, _ = await status("alice")
    assert code == 0
    assert out.startswith(f"miner {alice.peer_id}\n  key       {alice.address}, node 1\n")
    (row,) = [line.split() for line in out.splitlines() if "pocket-emoji" in line]
    assert row == ["pocket-emoji", "1", "1,228,800,000", "yes"]
    code, out, _ = await status("alice", "--json")
    (model,) = json.loads(out)["engine"]["models"]
    assert model == {"model": "pocket-emoji", "in_memory": True, "speeds": [[1, 1_228_800_000]]}
    code, out, _ = await status("carol")
    assert out.startswith(f"coordinator {carol.peer_id}\n")
    assert f"  API       {carol.http_url}\n" in out
    assert (await status("bob"))[0] == 2
    nursery.cancel_scope.cancel()


async def test_status__miner_that_was_paid_and_starts_again__says_how_its_coordinator_stands(tmp_path, nursery, cuckoo):
    network = Network(tmp_path)

    async def status(*more):
        return await trio.to_thread.run_sync(lambda: cuckoo("status", "--node", str(tmp_path / "alice"), *more))

    info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
    async with trio.open_nursery() as alice:
        await network.start(alice, "alice", NodeRole.MINER)
        async with httpx.AsyncClient(base_url=info.http_url) as client:
            await serving(client)
            assert (await client.post("/v1/images/generations", json=PROMPT)).status_code == 200
        with trio.fail_after(PATIENCE_S):
            while not network.stores["alice"]._payers:
                await trio.sleep(0.02)
        (payer,) = network.stores["alice"]._payers.values()
        alice.cancel_scope.cancel()
    await network.start(nursery, "alice", NodeRole.MINER)
    with trio.fail_after(PATIENCE_S):
        while not (told := json.loads((await status("--json"))[1])["coordinators"]):
            await trio.sleep(0.05)
    (coordinator,) = told
    assert (coordinator["standing"], coordinator["paid_ever"], coordinator["may_owe_wei"]) == (
        66,
        1,
        str(payer.allowed),
    )
    code, out, _ = await status()
    assert code == 0
    assert (
        f"  coordinator {coordinator['id']:<6}  66 of 100: 1 paid picture, may owe {payer.allowed / CAI:g} CAI\n" in out
    )
    nursery.cancel_scope.cancel()


async def test_miner__drained_in_the_middle_of_a_picture__delivers_it_and_stops(tmp_path, nursery, miner):
    network = Network(tmp_path)
    async with trio.open_nursery() as alice:
        await network.start(alice, "alice", NodeRole.MINER, delay_ms=1500)
        info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
        async with httpx.AsyncClient(base_url=info.http_url, timeout=PATIENCE_S) as client:
            await serving(client)
            task = (await client.post("/v1/tasks", json={"prompt": "a red heart"})).json()["url"]
            with trio.fail_after(PATIENCE_S):
                while not network.stores["carol"]._awards:
                    await trio.sleep(0.01)
            with trio.fail_after(PATIENCE_S):
                code, out, _ = await miner("drain")
            assert (code, out) == (0, "the miner has delivered everything and stopped\n")
            assert (await client.get(task)).json()["status"] == "done"
    # The nursery of alice ends by itself: her node has stopped.
    nursery.cancel_scope.cancel()


async def test_miner__owner_refuses_the_words__the_app_is_told_by_name(tmp_path, nursery):
    network = Network(tmp_path)
    await network.start(nursery, "alice", NodeRole.MINER, refused_words=("heart",))
    info = await network.start(nursery, "carol", NodeRole.COORDINATOR)
    async with httpx.AsyncClient(base_url=info.http_url) as client:
        await serving(client)
        refused = await client.post("/v1/images/generations", json=PROMPT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_policy")
        drawn = await client.post("/v1/images/generations", json=PROMPT | {"prompt": "a turtle"})
        assert drawn.status_code == 200
    nursery.cancel_scope.cancel()


async def test_miner__node_of_another_role__is_one_line(tmp_path, nursery, miner):
    await nursery.start(UnixControl(tmp_path).run, Control(lambda: {"role": "bootstrap"}).answer)
    for command, line in (
        ("status", "error: the node that runs there is a bootstrap: only a miner takes work\n"),
        ("pause", "error: pause: only a miner takes work, and this node is none\n"),
    ):
        assert await miner(command, data=tmp_path) == (2, "", line)


async def test_miner__no_node__is_one_line(tmp_path, miner):
    code, _, error = await miner("status", data=tmp_path)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(f"error: no node runs with the data folder {tmp_path}: ")


@pytest.mark.parametrize("command", [None, "stop", 5, "x" * 1000])
async def test_answer__no_command__names_those_that_there_are(tmp_path, command):
    from protocol.errors import ConfigError

    with pytest.raises(ConfigError, match=r"is no command of a running node: status, pause, resume, drain$"):
        await Control(dict).answer({"command": command})
