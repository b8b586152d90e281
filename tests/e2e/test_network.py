"""One devnet of real processes, chain and sockets with the instant engine, used as its users do."""

import base64
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import psutil
import pytest
from PIL import Image

from protocol.notes import NoteName
from protocol.task.artifact import check_png
from protocol.task.webp import check_webp
from tests.support.collector import Collector, collector
from tests.support.commands import command_here
from tests.support.devnet import PATIENCE_S, Running, devnet, wait_until

pytestmark = pytest.mark.e2e

LINE = [
    ("coordinator", NoteName.TASK_ACCEPTED),
    ("coordinator", NoteName.TASK_OFFERED),
    ("miner", NoteName.CLAIM_SENT),
    ("coordinator", NoteName.CLAIM_RECEIVED),
    ("coordinator", NoteName.TASK_AWARDED),
    ("miner", NoteName.AWARD_RECEIVED),
    ("miner", NoteName.JOB_STARTED),
    ("miner", NoteName.JOB_FINISHED),
    ("miner", NoteName.RESULT_SENT),
    ("coordinator", NoteName.RESULT_RECEIVED),
    ("coordinator", NoteName.TASK_DONE),
    ("miner", NoteName.RECEIPT_RECEIVED),
]


@pytest.fixture(scope="module")
def spans() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, spans: Collector) -> Iterator[Running]:
    with devnet(tmp_path_factory.mktemp("devnet"), "--engine", "instant", "--trace", spans.url) as running:
        yield running


def submit(network: Running, **order: object) -> str:
    """Have one picture made; gives its task."""
    with network.client as client:
        answer = client.post("/v1/images/generations", json={"prompt": "a red heart", **order})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]["cuckoo"]["task"]


def test_openai_client__unmodified__gets_pictures(network: Running) -> None:
    with openai.OpenAI(base_url=f"{network.url}/v1", api_key="any", max_retries=0) as client:
        answer = client.images.generate(model="dall-e-3", prompt="a red heart", n=2, response_format="b64_json")
        assert answer.data is not None
        pictures = [base64.b64decode(image.b64_json or "") for image in answer.data]
        assert [model.id for model in client.models.list()] == ["pocket-emoji", "dall-e-2", "dall-e-3", "gpt-image-1"]
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.generate(prompt="a red heart", size="1024x1024")
    assert len(pictures) == 2
    assert pictures[0] != pictures[1]
    for picture in pictures:
        check_png(picture, 128, 128)
    assert refused.value.code == "size_not_offered"


def test_openai_client__edits__reach_a_miner_behind_real_streams(network: Running, tmp_path: Path) -> None:
    # Noise does not compress: 1.5 MB, which waits for the receiver's word, beside a mask that does not.
    source, mask = noise(tmp_path / "source.png", 700), noise(tmp_path / "mask.png", 700)
    with (
        openai.OpenAI(base_url=f"{network.url}/v1", api_key="any", max_retries=0) as client,
        source.open("rb") as image,
        mask.open("rb") as over,
    ):
        answer = client.images.edit(
            image=image, mask=over, prompt="a red heart", n=2, output_format="webp", extra_body={"strength": 0.4}
        )
    assert answer.data is not None
    for made in answer.data:
        check_webp(base64.b64decode(made.b64_json or ""), 128, 128)
        cuckoo = (made.model_extra or {})["cuckoo"]
        assert (cuckoo["work"], cuckoo["strength"]) == ("inpaint", 0.4)
        events = [note["event"] for note in network.all_notes(cuckoo["task"])]
        assert NoteName.TASK_LEASE_EXPIRED not in events
        assert NoteName.JOB_FAILED not in events


@pytest.mark.parametrize("way", ["http", "overlay"])
def test_submit__from_a_picture__saves_what_the_network_made(network: Running, tmp_path: Path, way: str) -> None:
    source, out = noise(tmp_path / "source.png", 64), tmp_path / "made.webp"
    entry = ["--bootstrap", network.nodes("bootstrap")[0]["addresses"][0], "--params", "minimal"]
    to = ["--api", network.url] if way == "http" else entry
    command = [sys.executable, "-m", "node", "submit", "a red heart", *to, "--image", str(source)]
    made = subprocess.run(
        [*command, "--strength", "0.5", "--out", str(out)], capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stderr
    check_webp(out.read_bytes(), 128, 128)
    wrong = subprocess.run(
        [*command, "--mask", str(out.with_suffix(".none"))], capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 2
    assert "--mask" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1


def noise(path: Path, edge: int) -> Path:
    """A picture that no compression makes smaller."""
    pixels = np.random.default_rng(edge).integers(0, 256, (edge, edge, 3), dtype=np.uint8)
    Image.fromarray(pixels, "RGB").save(path)
    return path


def test_task__over_real_processes__walks_the_straight_line(network: Running) -> None:
    task = submit(network)
    wait_until(lambda: any(n["event"] == NoteName.RECEIPT_RECEIVED for n in network.all_notes(task)), "the receipt")
    winner = network.holder(task)["name"]
    wanted = {name.value for _, name in LINE}
    walked = [
        (note["role"], note["event"])
        for note in network.all_notes(task)
        if note["event"] in wanted and note["node"] in (winner, "coordinator-1")
    ]
    own_claims = [step for step in walked if step[1] != NoteName.CLAIM_RECEIVED]
    assert own_claims == [step for step in LINE if step[1] != NoteName.CLAIM_RECEIVED]
    assert ("coordinator", NoteName.CLAIM_RECEIVED) in walked


def test_trace__over_real_processes__is_one_though_nobody_told_anybody(network: Running, spans: Collector) -> None:
    task = submit(network)
    winner, coordinator = network.holder(task), network.nodes("coordinator")[0]
    ours = {winner["peer_id"], coordinator["peer_id"]}
    mine = {"claim", "prepare", "draw", "result", "settle"}

    def walked() -> dict[str, set[str]]:
        return {peer: {span.name for span in spans.of(task) if span.instance == peer} for peer in ours}

    wanted = {winner["peer_id"]: mine, coordinator["peer_id"]: {"task", "accept", "offer", "award", "work", "finish"}}
    wait_until(lambda: walked() == wanted, "the spans of both processes")
    found = spans.of(task)
    (root,) = [span for span in found if not span.parent]
    assert {span.trace for span in found} == {root.trace}
    assert {span.parent for span in found if span is not root} == {root.span}
    assert {span.service for span in found} == {"cuckoo-coordinator", "cuckoo-miner"}
    (draw,) = [span for span in found if span.name == "draw"]
    assert root.start_ns < draw.start_ns <= draw.end_ns < root.end_ns


def test_receipt__of_a_task__verifies_and_a_changed_one_does_not(network: Running, tmp_path: Path) -> None:
    task = submit(network)
    with network.client as client:
        receipt = client.get(f"/v1/receipts/{task}").json()
    good, bad = tmp_path / "receipt.json", tmp_path / "changed.json"
    good.write_text(json.dumps(receipt))
    changed = re.sub(r'("price": ?"?)(\d)', lambda m: m[1] + str((int(m[2]) + 1) % 10), json.dumps(receipt), count=1)
    assert changed != json.dumps(receipt)
    bad.write_text(changed)
    chain = network.description["chain"]
    flags = ["--chain-rpc", chain["rpc_url"], "--staking", chain["staking"]]
    file = ["--network", network.description["network"]]
    results = [
        subprocess.run(
            [sys.executable, "-m", "node", "verify", str(path), *named], capture_output=True, text=True, timeout=60
        )
        for path, named in ((good, flags), (good, file), (bad, file))
    ]
    assert results[0].returncode == results[1].returncode == 0, results[0].stderr + results[1].stderr
    assert "which is that coordinator's key in the staking contract" in results[1].stdout
    assert results[2].returncode != 0
    assert "Traceback" not in results[2].stderr


def test_memory__coordinator_and_bootstrap__hold_no_torch(network: Running) -> None:
    for role in ("bootstrap", "coordinator", "miner"):
        for node in network.nodes(role):
            maps = Path(f"/proc/{node['pid']}/maps").read_text()
            assert "libtorch" not in maps, role
            assert "libcrypto" in maps or "secp256k1" in maps, "the process is a node"


def test_processes__ps__shows_each_role(network: Running) -> None:
    for node in network.description["nodes"]:
        command = Path(f"/proc/{node['pid']}/cmdline").read_bytes().split(b"\0")
        assert b"--role" in command
        assert command[command.index(b"--role") + 1].decode() == node["role"]


def test_discovery__configs__name_only_the_bootstrap(network: Running) -> None:
    bootstrap = network.nodes("bootstrap")[0]
    for node in network.nodes("miner") + network.nodes("coordinator"):
        text = Path(node["config"]).read_text()
        assert bootstrap["peer_id"] in text
        others = [other["peer_id"] for other in network.description["nodes"] if other is not bootstrap]
        assert not any(peer in text for peer in others)


def test_stranger__runs_a_miner__never_gets_work(network: Running, tmp_path: Path) -> None:
    miner = network.nodes("miner")[0]
    (tmp_path / "password").write_text("a long password for a test")
    (tmp_path / "password").chmod(0o600)
    key = [sys.executable, "-m", "node", "key", "new", "--light", "--keystore", str(tmp_path / "key.json")]
    made = subprocess.run(
        [*key, "--password-file", str(tmp_path / "password")], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert made.returncode == 0, made.stderr
    flags = ["--data", str(tmp_path / "data"), "--keystore", str(tmp_path / "key.json"), "--json", "--exit-with-stdin"]
    flags += ["--password-file", str(tmp_path / "password"), "--listen", "/ip4/127.0.0.1/tcp/0"]
    log = (tmp_path / "log").open("wb")
    stranger = subprocess.Popen(
        [sys.executable, "-m", "node", "node", "--config", miner["config"], "--log-level", "debug", *flags],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
    )  # fmt: skip
    try:
        assert stranger.stdout is not None
        ready = json.loads(stranger.stdout.readline())
        assert ready["staking_id"] is None
        wait_until(lambda: b"peer.up" in (tmp_path / "log").read_bytes(), "the stranger is connected")
        for _ in range(5):
            submit(network)
    finally:
        stranger.terminate()
        assert stranger.wait(PATIENCE_S) == 0
        for pipe in (stranger.stdin, stranger.stdout, log):
            pipe.close()  # type: ignore[union-attr]
    said = (tmp_path / "log").read_text()
    assert "claim.sent" not in said
    assert "Traceback" not in said
    accused = [note for note in network.notes(network.nodes("coordinator")[0]) if note.get("peer") == ready["peer_id"]]
    assert not any(note["event"] == NoteName.CAPABILITY_RECEIVED for note in accused)


NOTICED_WHILE_IT_RUNS = {
    "overlay port in use",
    "http port in use",
    "chain unreachable",
    "another chain",
    "folder in use",
}
"""These take a process each; what is wrong in flags and files is told before a node begins to run."""


def bad_starts(network: Running, folder: Path) -> dict[str, tuple[list[str], str]]:
    """What people get wrong when they start a node: (flags, the words that must stand in the one line)."""
    miner, coordinator = network.nodes("miner")[0]["config"], network.nodes("coordinator")[0]["config"]
    wrong = folder / "wrong-password"
    wrong.write_text("not the password")
    wrong.chmod(0o600)
    taken = network.nodes("bootstrap")[0]["addresses"][0].split("/p2p/")[0]
    return {
        "unknown role": (["--role", "dancer"], "--role: 'dancer' is not one of bootstrap, coordinator, miner"),
        "bootstrap without peer id": (["--config", miner, "--bootstrap", "/ip4/1.2.3.4/tcp/1"], "/p2p/PEER_ID"),
        "bootstrap is nonsense": (["--config", miner, "--bootstrap", "nonsense"], "no multiaddress"),
        "wrong password": (["--config", miner, "--password-file", str(wrong)], "wrong password"),
        "overlay port in use": (["--config", miner, "--listen", taken], "in use"),
        "http port in use": (["--config", coordinator, "--http-port", network.url.rsplit(":", 1)[1]], "in use"),
        "chain unreachable": (["--config", miner, "--chain-rpc", "http://127.0.0.1:9"], "chain.rpc_urls"),
        "another chain": (["--config", miner, "--chain-id", "5"], "chain.chain_id"),
        "folder in use": (["--config", miner], "in use"),
        "model folder missing": (
            ["--config", miner, "--engine", "diffusion", "--model-folder", "pocket-emoji=/does/not/exist"],
            "/does/not/exist",
        ),
        "unknown model": (["--config", miner, "--model", "mona-lisa"], "pocket-emoji"),
    }


def test_start__with_what_people_get_wrong__is_one_clear_line(network: Running, tmp_path: Path) -> None:
    cases = bad_starts(network, tmp_path)
    running, told = {}, {}
    for number, (name, (flags, _)) in enumerate(cases.items()):
        own = [] if name == "folder in use" else ["--data", str(tmp_path / str(number))]
        if name in NOTICED_WHILE_IT_RUNS:
            command = [sys.executable, "-m", "node", "node", *flags, *own]
            running[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        else:
            code, _, said = command_here("node", *flags, *own, network=None)
            told[name] = (code, said)
    for name, process in running.items():
        process.wait(PATIENCE_S)
        assert process.stdin is not None
        assert process.stderr is not None
        with process.stdin, process.stderr as stderr:
            told[name] = (process.returncode, stderr.read())
    for name, (code, said) in told.items():
        errors = [line for line in said.splitlines() if not line.startswith("{")]
        assert code == 2, (name, said)
        assert len(errors) == 1, (name, said)
        assert errors[0].startswith("error: "), (name, said)
        assert cases[name][1] in errors[0], (name, said)


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"prompt": ""}, 400, "prompt_empty"),
        ({"prompt": "x" * 2001}, 400, "prompt_too_long"),
        ({"prompt": "a red heart", "size": "640x480"}, 400, "size_not_offered"),
        ({"prompt": "a red heart", "model": "mona-lisa"}, 404, "unknown_model"),
        ({"prompt": "a red heart", "steps": 5000}, 400, "too_many_steps"),
    ],
)
def test_order__nobody_can_do__is_refused_by_code(
    network: Running, order: dict[str, object], status: int, code: str
) -> None:
    with network.client as client:
        answer = client.post("/v1/images/generations", json=order)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_devnet__interrupted__stops_within_five_seconds(network: Running) -> None:
    """The last one: nothing is left of the network."""
    pids = network.pids()
    network.process.send_signal(signal.SIGINT)
    assert network.process.wait(5 * network.slowness) == 130
    assert not any(psutil.pid_exists(pid) for pid in pids)
