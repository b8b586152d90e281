"""``cuckoo doctor``: what it says of each role, against a real chain, and how it judges what is not to be had here."""

import json
import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from node import keystore
from node.adapters.chain.devchain import DevnetNode, deploy_devnet, free_port
from node.adapters.control import UnixControl
from node.config.configuration import load_params, load_settings
from node.control import Control
from node.doctor.chain import judge_clock, judge_escrow, look_at_chain
from node.doctor.device import look_at_models
from node.doctor.findings import Finding
from node.doctor.machine import (
    host_and_port,
    judge_reach,
    look_at_bootstraps,
    look_at_data,
    look_at_key,
    look_at_node,
    look_at_ports,
    look_at_reach,
    running,
)
from node.network_file import NetworkChain, NetworkContracts, NetworkFile
from protocol.units import CAI, Role, Wei
from tests.support.anvil import running_anvil
from tests.support.overlay import peer_of

PASSWORD = "a password for tests"
PEER = "16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi"
ESCROW = Wei(1000 * CAI)


class Place:
    """A network with a chain, on which one coordinator and two miners are registered, and a folder for settings."""

    def __init__(self, anvil, folder: Path, network: Path, keys: dict[str, Path]) -> None:
        self.anvil, self.folder, self.network, self.keys = anvil, folder, network, keys

    def settings(self, role: str, key: str, **flags: object):
        chosen = {
            "role": role,
            "network": self.network,
            "data": self.folder / f"{role}-data",
            "key.keystore": self.keys[key],
            "key.password_file": self.folder / "password",
            "overlay.bootstrap": [f"/ip4/127.0.0.1/tcp/9/p2p/{PEER}"],
        }
        return load_settings(None, chosen | flags, {})

    def file(self, role: str, key: str, *sections: str) -> Path:
        """Write settings; of each section ``[name]|key = value|…`` the bars are ends of lines."""
        path = self.folder / f"{role}-{key}.toml"
        network, data, keystore_file, password = (
            self.network,
            self.folder / role,
            self.keys[key],
            self.folder / "password",
        )
        top = f'role = "{role}"\nnetwork = "{network}"\ndata = "{data}"\n'
        keys = f'[key]\nkeystore = "{keystore_file}"\npassword_file = "{password}"\n'
        path.write_text(top + keys + "\n".join(section.replace("|", "\n") for section in sections))
        return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    roles = {"coordinator": Role.COORDINATOR, "miner": Role.MINER, "other": Role.MINER}
    secrets = {name: bytes([number]) * 32 for number, name in enumerate(roles, 1)}
    stakes = {"coordinator": 2_500_000, "miner": 25_000, "other": 30_000}
    nodes = [DevnetNode(role, secrets[name], stakes[name], name) for name, role in roles.items()]
    keys = {}
    for name, secret in (secrets | {"stranger": bytes([9]) * 32}).items():
        keys[name] = folder / f"{name}.json"
        keystore.create(keys[name], PASSWORD, light=True, key=secret)
    keystore.write_private(folder / "password", PASSWORD + "\n")
    with running_anvil() as anvil:
        deployed = trio.run(partial(deploy_devnet, escrow=ESCROW), anvil.url, load_params("minimal"), nodes)
        network = folder / "network.toml"
        NetworkFile(
            params="minimal",
            chain=NetworkChain(rpc_urls=(anvil.url,), chain_id=deployed.chain_id),
            contracts=NetworkContracts(
                **{name: getattr(deployed.deployed, name) for name in NetworkContracts.model_fields}
            ),
        ).write(network)
        yield Place(anvil, folder, network, keys)


def by_name(findings):
    return {finding.name: finding for finding in findings}


def one(findings) -> Finding:
    (finding,) = findings
    assert finding.is_good is (finding.fix == ""), "what is red has a fix, and nothing else has"
    return finding


# The whole command


def examined(cuckoo, *arguments):
    code, out, err = cuckoo("doctor", *arguments, "--json")
    assert err == ""
    said = json.loads(out)
    assert said["good"] is (code == 0)
    assert all(finding["good"] is (finding["fix"] is None) for finding in said["findings"])
    return code, {finding["name"]: finding for finding in said["findings"]}


def listener():
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"/ip4/127.0.0.1/tcp/{server.getsockname()[1]}/p2p/{PEER}"


@pytest.mark.parametrize(
    ("role", "section", "beside"),
    [
        ("bootstrap", "", set()),
        ("coordinator", "[http]|port = 0", {"stake", "escrow"}),
        ("miner", "[engine]|kind = 'instant'", {"stake", "device", "model"}),
    ],
)
def test_doctor__each_role__looks_at_what_it_needs(cuckoo, place, role, section, beside):
    server, entry = listener()
    port = 0 if role == "miner" else free_port(0)
    overlay = f"[overlay]|listen = ['/ip4/127.0.0.1/tcp/{port}']|bootstrap = ['{entry}']"
    with server:
        file = place.file(role, "stranger" if role == "bootstrap" else role, overlay, section)
        code, found = examined(cuckoo, "--config", str(file))
    assert {name: finding["detail"] for name, finding in found.items() if not finding["good"]} == {}
    assert code == 0
    names = {"settings", "key", "disk", "port", "reach", "entry points", "chain", "contract", "clock", "gas", "node"}
    assert set(found) == names | beside


def test_doctor__much_is_wrong__each_red_line_has_a_fix_and_the_exit_code_is_one(cuckoo, place):
    overlay = f"[overlay]|bootstrap = ['/ip4/127.0.0.1/tcp/{free_port(0)}/p2p/{PEER}']"
    file = place.file("miner", "stranger", overlay, "[engine]|kind = 'instant'")
    code, out, _ = cuckoo("doctor", "--config", str(file))
    assert code == 1
    lines = out.splitlines()
    red = [number for number, line in enumerate(lines) if line.startswith("RED ")]
    assert [lines[number].split()[1] for number in red] == ["entry", "registration"]
    assert all(lines[number + 1].lstrip().startswith("→ ") for number in red)
    assert lines[-1] == f"{sum(line[:4] in {'ok  ', 'RED '} for line in lines)} checks, 2 red"


def test_doctor__settings_are_wrong__is_the_one_red_line_and_the_exit_code_is_two(cuckoo, tmp_path):
    (tmp_path / "node.toml").write_text('role = "minor"\n')
    code, found = examined(cuckoo, "--config", str(tmp_path / "node.toml"))
    assert (code, list(found)) == (2, ["settings"])
    assert "is not one of bootstrap, coordinator, miner" in found["settings"]["detail"]
    assert cuckoo("doctor", "--config", str(tmp_path / "node.toml"))[1].endswith("\n1 check, 1 red\n")


def test_doctor__nothing_named__is_misuse(cuckoo):
    code, _, error = cuckoo("doctor")
    assert code == 2
    assert error.startswith("error: --config: name the node's settings")


# Key, folder, ports, reach


async def test_look_at_key__whatever_is_wrong__is_red(place, tmp_path):
    settings = place.settings("miner", "miner")
    assert one(await look_at_key(settings)).is_good
    keys = {
        "none": tmp_path / "none.json",
        "public": tmp_path / "public.json",
        "garbage": tmp_path / "garbage.json",
    }
    keystore.create(keys["public"], PASSWORD, light=True)
    keys["public"].chmod(0o644)
    keystore.write_private(keys["garbage"], "{}")
    for path in keys.values():
        changed = settings.model_copy(update={"key": settings.key.model_copy(update={"keystore": path})})
        assert not one(await look_at_key(changed)).is_good, path
    wrong = tmp_path / "wrong"
    keystore.write_private(wrong, "another password")
    changed = settings.model_copy(update={"key": settings.key.model_copy(update={"password_file": wrong})})
    assert not one(await look_at_key(changed)).is_good


async def test_look_at_data__folder_that_cannot_be_made__is_red(place, tmp_path):
    (tmp_path / "file").write_text("")
    settings = place.settings("miner", "miner").model_copy(update={"data": tmp_path / "file" / "data"})
    assert not one(await look_at_data(settings)).is_good


async def test_look_at_ports__taken_by_another_and_by_this_node__only_the_first_is_red(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = [f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"]
        settings = place.settings("miner", "miner", **{"overlay.listen": listen})
        found = one(await look_at_ports(settings, {}))
        assert not found.is_good
        assert "EADDRINUSE" in found.detail
        assert one(await look_at_ports(settings, {"role": "miner"})).is_good


async def test_look_at_ports__any_port_for_who_must_be_found__is_red(place):
    listen = {"overlay.listen": ["/ip4/127.0.0.1/tcp/0"]}
    assert not one(await look_at_ports(place.settings("bootstrap", "stranger", **listen), {})).is_good
    assert one(await look_at_ports(place.settings("miner", "miner", **listen), {})).is_good


async def test_look_at_ports__any_port_of_a_node_that_runs_for_this_machine_alone__is_good(place):
    running = {"role": "coordinator", "addresses": ["/ip4/127.0.0.1/tcp/40123/p2p/" + PEER]}
    here, everywhere = ({"overlay.listen": [f"/ip4/{host}/tcp/0"]} for host in ("127.0.0.1", "0.0.0.0"))
    found, http = await look_at_ports(place.settings("coordinator", "coordinator", **here), running)
    assert (found.is_good, "127.0.0.1:40123" in found.detail, http.is_good) == (True, True, True)
    found, _ = await look_at_ports(place.settings("coordinator", "coordinator", **everywhere), running)
    assert not found.is_good


async def test_look_at_reach__reached_through_relays__is_good_where_nobody_can_dial_it(place):
    relay = f"/ip4/203.0.114.9/tcp/4001/p2p/{peer_of(5)}"
    hidden = {"overlay.listen": ["/ip4/10.0.0.1/tcp/4001"], "overlay.bootstrap": [relay]}
    settings = place.settings("coordinator", "stranger", **hidden)
    assert not one(await look_at_reach(settings)).is_good
    settings = place.settings("coordinator", "stranger", **hidden, **{"overlay.relays": [relay]})
    assert one(await look_at_reach(settings)).is_good


ANY, HOME, PUBLIC = "/ip4/0.0.0.0/tcp/4001", "192.168.1.5", "203.0.114.9"


@pytest.mark.parametrize(
    ("listen", "announce", "bootstrap", "own", "is_good"),
    [
        (ANY, None, f"/ip4/{PUBLIC}/tcp/1", PUBLIC, True),
        (ANY, None, f"/ip4/{PUBLIC}/tcp/1", HOME, False),
        (ANY, f"/ip4/{PUBLIC}/tcp/4001", f"/ip4/{PUBLIC}/tcp/1", HOME, True),
        (ANY, "/dns4/node.example.org/tcp/4001", f"/ip4/{PUBLIC}/tcp/1", HOME, True),
        (ANY, None, "/ip4/192.168.1.2/tcp/1", HOME, True),
        ("/ip4/127.0.0.1/tcp/4001", None, f"/ip4/{PUBLIC}/tcp/1", PUBLIC, False),
        ("/ip4/127.0.0.1/tcp/4001", None, "/ip4/127.0.0.1/tcp/1", HOME, True),
        ("/ip4/10.0.0.1/tcp/4001", None, None, HOME, False),
    ],
)
def test_judge_reach__addresses_that_are_told__good_where_those_it_meets_can_dial_them(
    listen, announce, bootstrap, own, is_good
):
    finding = judge_reach([listen], [announce] if announce else [], [bootstrap] if bootstrap else [], own)
    assert finding.is_good is is_good
    assert is_good is (finding.fix == "")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/ip4/1.2.3.4/tcp/4001/p2p/x", ("1.2.3.4", 4001)),
        ("/dns4/a.example/tcp/1", ("a.example", 1)),
        ("/ip6/::1/tcp/5", ("::1", 5)),
        ("/ip4/1.2.3.4/udp/4001/quic-v1", ("1.2.3.4", 0)),
    ],
)
def test_host_and_port__multiaddress__are_read(address, expected):
    assert host_and_port(address) == expected


async def test_look_at_bootstraps__one_of_two_alive__is_good(place):
    server, entry = listener()
    dead = f"/ip4/127.0.0.1/tcp/{free_port(0)}/p2p/{PEER}"
    with server:
        found = one(await look_at_bootstraps(place.settings("miner", "miner", **{"overlay.bootstrap": [dead, entry]})))
        assert (found.is_good, found.detail) == (True, "1 of 2 answer")
    assert not one(await look_at_bootstraps(place.settings("miner", "miner", **{"overlay.bootstrap": [dead]}))).is_good


# A node that runs


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ({}, True),
        ({"staking_id": 3, "service": {"open": True, "held_by": []}}, True),
        ({"staking_id": None}, False),
        ({"staking_id": 3, "service": {"open": False, "held_by": ["owner"]}}, False),
        ({"staking_id": 3, "service": {"open": False, "held_by": ["hours"]}}, False),
        ({"staking_id": 3, "service": {"open": False, "held_by": ["heat", "hours"]}}, False),
        ({"hangs": "it does not answer"}, False),
    ],
)
async def test_look_at_node__as_it_stands__is_judged(place, standing, expected):
    assert one(await look_at_node(place.settings("miner", "miner"), standing)).is_good is expected


async def test_look_at_node__rechecks_can_blame_nobody__says_so_and_is_well(place):
    standing = {"staking_id": 3, "few_witnesses": [{"model": "pocket-emoji", "owners": 1}]}
    node, rechecks = await look_at_node(place.settings("coordinator", "coordinator"), standing)
    assert node.is_good
    assert (rechecks.name, rechecks.is_good) == ("rechecks", True)
    assert "all miners of pocket-emoji belong to one owner" in rechecks.detail


async def test_running__node_that_runs__says_how_it_stands(tmp_path, nursery):
    assert running(tmp_path) == {}
    await nursery.start(UnixControl(tmp_path).run, Control(lambda: {"role": "bootstrap"}).answer)
    assert await trio.to_thread.run_sync(running, tmp_path) == {"role": "bootstrap"}


# The chain


async def looked(place, key="miner", role="miner", *, at_s=None, **flags):
    now_s = place.anvil.now() if at_s is None else at_s
    return by_name(await look_at_chain(place.settings(role, key, **flags), now_s))


async def test_look_at_chain__registered_miner__is_all_good(place):
    assert all(finding.is_good for finding in (await looked(place)).values())


@pytest.mark.parametrize(
    ("key", "role", "name", "part"),
    [
        ("stranger", "miner", "registration", "is not registered"),
        ("miner", "coordinator", "registration", "is registered as a miner"),
        ("coordinator", "miner", "registration", "is registered as a coordinator"),
    ],
)
async def test_look_at_chain__registration_that_will_not_do__is_red(place, key, role, name, part):
    found = (await looked(place, key, role))[name]
    assert not found.is_good
    assert part in found.detail


async def test_look_at_chain__escrow_of_a_coordinator__is_compared_with_what_it_warns_of(place):
    assert (await looked(place, "coordinator", "coordinator"))["escrow"].is_good
    low = (await looked(place, "coordinator", "coordinator", **{"coordinator.escrow_low_cai": 1500}))["escrow"]
    assert not low.is_good
    assert low.detail == "1,000 CAI, less than coordinator.escrow_low_cai: 1,500"
    assert low.fix == "cuckoo escrow deposit 1 500, or more"


@pytest.mark.parametrize(("low_cai", "amount"), [(0.0, 1), (100.0, 100)])
def test_judge_escrow__nothing_deposited__says_that_no_task_is_taken(low_cai, amount):
    finding = one([judge_escrow(7, 0.0, low_cai)])
    assert "no task is taken (escrow_short)" in finding.detail
    assert finding.fix == f"cuckoo escrow deposit 7 {amount}, or more"


async def test_look_at_chain__wrong_chain_or_nobody__nothing_else_is_asked(place):
    wrong = await looked(
        place, **{"chain.rpc_urls": [place.anvil.url], "chain.chain_id": 5, "chain.staking": "0x" + "1" * 40}
    )
    assert list(wrong) == ["chain"]
    assert not wrong["chain"].is_good
    assert "serves chain 31337, chain.chain_id says 5" in wrong["chain"].detail
    nobody = await looked(place, **{"chain.rpc_urls": [f"http://127.0.0.1:{free_port(0)}"]})
    assert [finding.is_good for finding in nobody.values()] == [False]


async def test_look_at_chain__another_contract_or_none__is_red(place):
    empty = await looked(place, **{"chain.staking": "0x" + "1" * 40})
    assert "no contract lies at" in empty["contract"].detail
    network = place.network.read_text()
    token = next(line.split('"')[1] for line in network.splitlines() if line.startswith("cai"))
    other = await looked(place, **{"chain.staking": token})
    assert "is not this version's staking contract" in other["contract"].detail
    assert "registration" not in other


@pytest.mark.parametrize(("age_s", "is_good"), [(-20, False), (-10, True), (0, True), (5, True), (10_000, False)])
def test_judge_clock__age_of_the_newest_block__says_which_way_the_clock_is_wrong(place, age_s, is_good):
    finding = judge_clock(age_s, place.settings("miner", "miner"))
    assert finding.is_good is is_good
    assert is_good or "clock" in finding.detail


async def test_look_at_chain__gas_account_without_coins__says_how_many_to_send(place, tmp_path):
    keystore.create(tmp_path / "gas.json", PASSWORD, light=True)
    settings = place.settings("miner", "miner")
    chain = settings.chain.model_copy(update={"gas_keystore": tmp_path / "gas.json"})
    found = by_name(await look_at_chain(settings.model_copy(update={"chain": chain}), place.anvil.now()))["gas"]
    assert not found.is_good
    assert found.fix.startswith("send 0x")


# The device


async def test_look_at_models__unknown_absent_and_not_pinned__are_red_with_what_to_run(place, tmp_path):
    settings = place.settings("miner", "miner", **{"engine.models": ["pocket-emoji"], "engine.pulled_models": tmp_path})
    assert one(await look_at_models(settings, quick=False)).detail.startswith("pocket-emoji: ")
    assert "not compared" in one(await look_at_models(settings, quick=True)).detail
    engine = settings.engine.model_copy(update={"models": ("nothing", "sd-1.5")})
    unknown, unpinned = await look_at_models(settings.model_copy(update={"engine": engine}), quick=False)
    assert (unknown.is_good, unpinned.is_good) == (False, False)
    assert "not in the catalog" in unknown.detail
    assert "cuckoo models pull sd-1.5" in unpinned.fix
