"""A devnet's folder goes with it unless somebody wants it, and it serves only once every miner is known."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import trio

from contracts.deploy import DeployedSet
from node import devnet as module
from node.adapters.chain.devchain import DevnetContracts
from node.children import Readiness
from node.config.configuration import load_settings
from node.devnet import Devnet, by_hand
from node.devnet_plan import DevnetMember, DevnetOptions
from node.settings import NodeRole
from protocol.errors import Unavailable
from tests.support.patience import PATIENCE_S
from tests.support.web_server import QuietHandler, listening

ONE_MINER = DevnetOptions(miners=1, engine="instant", port=0)


class Mistake(Exception):
    """Something that goes wrong while a network runs."""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where temporary folders are made during the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def quiet(_line: str) -> None:
    """Hear a report and say nothing."""


def end(fails: bool) -> None:
    """Leave a network, by a mistake where that is wanted."""
    if fails:
        raise Mistake


@pytest.mark.e2e
async def test_by_hand__ends__temporary_folder_is_gone_and_its_settings_were_good(temporary):
    with trio.fail_after(60):
        async with by_hand(ONE_MINER, quiet) as (network, configs):
            assert network.folder.parent == temporary
            assert [load_settings(config, {}, {}).role.value for config in configs] == [
                "bootstrap",
                "coordinator",
                "miner",
            ]
    assert list(temporary.iterdir()) == []


@pytest.mark.e2e
@pytest.mark.parametrize("wanted", ["keep", "data", "mistake"])
async def test_by_hand__folder_is_wanted__stays_with_the_log(temporary, wanted):
    changes = {"keep": {"keep": True}, "data": {"data": temporary / "net"}, "mistake": {}}[wanted]
    options = DevnetOptions(miners=1, engine="instant", port=0, **changes)
    fails = wanted == "mistake"
    with trio.fail_after(60):
        with pytest.RaisesGroup(Mistake, flatten_subgroups=True, allow_unwrapped=True) if fails else nullcontext():
            async with by_hand(options, quiet):
                end(fails)
    (folder,) = temporary.iterdir()
    assert (folder / "anvil.log").is_file()


@contextmanager
def coordinator(answers: list[tuple[int, int]], asked: list[tuple[str, str]]) -> Iterator[str]:
    """A coordinator that says of itself, one look after the other, its status and how many miners it knows."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            status, miners = answers[0]
            if self.path == "/v1/models" or status != 200:
                status, miners = answers.pop(0) if len(answers) > 1 else answers[0]
            models = {"data": [{"id": "pocket-emoji", "cuckoo": {"miners": miners}}]}
            content = json.dumps(models).encode() if status == 200 else b"chain: no stake table yet\n"
            self.answer(status, content)

    with listening(Handler) as url:
        yield url


def network_of(urls: list[str], api_key: str | None = None) -> Devnet:
    contracts = DevnetContracts(31_337, DeployedSet(*["0x" + "00" * 20] * 7, start_block=0), ids=())
    members = [
        DevnetMember(
            name=f"coordinator-{number}",
            role=NodeRole.COORDINATOR,
            folder=Path(),
            secret=bytes(32),
            stake_cai=1,
            readiness=Readiness("coordinator", "", "", (), 1, url),
        )
        for number, url in enumerate(urls, start=1)
    ]
    return Devnet(Path("net"), "http://127.0.0.1:9", contracts, tuple(members), api_key)


async def test_wait_until_serving__miners_come_one_by_one__waits_for_the_last_one(monkeypatch):
    monkeypatch.setattr(module, "READY_POLL_SECONDS", 0.001)
    asked: list[tuple[str, str]] = []
    with coordinator([(503, 0), (200, 0), (200, 1), (200, 2), (200, 3)], asked) as url:
        with trio.fail_after(PATIENCE_S):
            await module._wait_until_serving(network_of([url], "sk-1"), DevnetOptions(miners=3), quiet)
    assert [path for path, _ in asked] == ["/readyz", *["/readyz", "/v1/models"] * 4]
    assert {key for _, key in asked} == {"Bearer sk-1"}


@pytest.mark.parametrize(
    ("last", "why"),
    [((200, 2), "of 3 miners so few draw yet: 2 for pocket-emoji"), ((503, 0), "chain: no stake table yet")],
)
async def test_wait_until_serving__a_miner_or_the_chain_is_missing__says_who_and_why(monkeypatch, last, why):
    monkeypatch.setattr(module, "READY_POLL_SECONDS", 0.001)
    monkeypatch.setattr(module, "SERVING_SECONDS", 0.3)
    with coordinator([(200, 3)], []) as good, coordinator([last], []) as bad, pytest.raises(Unavailable) as caught:
        await module._wait_until_serving(network_of([good, bad]), DevnetOptions(miners=3), quiet)
    assert str(caught.value) == (
        f"{bad} did not serve within 0 s: {why}; on a busy machine try again, or with --miners 1; "
        "each node's log is in net"
    )


async def test_wait_until_serving__nobody_listens__says_so(monkeypatch):
    monkeypatch.setattr(module, "SERVING_SECONDS", 0.3)
    with pytest.raises(Unavailable, match=r"did not serve within 0 s: no answer \(ConnectError\)"):
        await module._wait_until_serving(network_of(["http://127.0.0.1:9"]), DevnetOptions(), quiet)
