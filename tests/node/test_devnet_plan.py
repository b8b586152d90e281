"""What a devnet writes before anything starts: settings that a node accepts, keys that open, different stakes."""

import hashlib

import pytest

from node import keystore
from node.adapters.chain.devchain import FREE_PORTS
from node.apps.api_keys import read_api_keys
from node.config.configuration import load_settings
from node.devnet_plan import NETWORK_FILE, DevnetOptions, make_folder, make_members, write_api_key, write_config
from node.network_file import NetworkChain, NetworkContracts, NetworkFile
from node.policies import proof_policy, redeem_policy
from node.settings import NodeRole
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError

ENTRY = (f"/ip4/127.0.0.1/tcp/4001/p2p/{NodeKey(bytes([1]) * 32).peer_id}",)
CHAIN = {"rpc_urls": ["http://127.0.0.1:9"], "chain_id": 31337, "staking": "0x" + "ab" * 20, "start_block": 3}


@pytest.fixture(autouse=True)
def network_file(tmp_path):
    """What a devnet writes before its coordinators start: it names the faucet."""
    contracts = dict.fromkeys(("cai", "parameters", "staking", "settlement", "slashing", "disputes"), CHAIN["staking"])
    chain = NetworkChain(rpc_urls=("http://127.0.0.1:9",), chain_id=31337)
    NetworkFile(params="minimal", chain=chain, contracts=NetworkContracts(**contracts)).write(tmp_path / NETWORK_FILE)


def test_write_config__every_member__is_accepted_and_its_key_opens(tmp_path):
    options = DevnetOptions(
        coordinators=2, miners=2, engine="instant", delay_ms=30, places=5, threads=3, port=9000, require_key=True
    )
    key = write_api_key(options, tmp_path)
    assert key is not None
    members = make_members(options, tmp_path)
    assert [member.role for member in members] == [
        NodeRole.BOOTSTRAP,
        *[NodeRole.COORDINATOR] * 2,
        *[NodeRole.MINER] * 2,
    ]
    for member in members:
        path = write_config(member, options, CHAIN, () if member.role is NodeRole.BOOTSTRAP else ENTRY)
        settings = load_settings(path, {}, {})
        assert settings.role is member.role
        assert not settings.exit_with_stdin, "started again by hand, it runs whatever its input is"
        assert keystore.unlock(settings.keystore, settings.key.password_file) == member.secret
        assert path.stat().st_mode & 0o077 == 0
    ports = [load_settings(m.folder / "node.toml", {}, {}).http.port for m in members if m.role == "coordinator"]
    assert ports == [9000, 9001]
    for member in members:
        http = load_settings(member.folder / "node.toml", {}, {}).http
        assert http.require_key is (True if member.role is NodeRole.COORDINATOR else None)
        if http.require_key:
            (known,) = read_api_keys(http.keys_file).items()
            assert (known[0], known[1].label) == (hashlib.sha256(key.encode()).hexdigest(), "devnet")
    portal = load_settings(members[1].folder / "node.toml", {}, {}).portal
    assert (portal.chain_name, portal.wallet_rpc_url) == ("Cuckoo devnet", "http://127.0.0.1:9")
    miner = load_settings(members[-1].folder / "node.toml", {}, {})
    assert miner.engine.engines_on_machine == 2
    assert (miner.engine.kind, miner.engine.delay_ms, miner.engine.places) == ("instant", 30, 5)
    assert miner.engine.threads == 3


def test_write_config__any_port__is_one_under_which_a_coordinator_is_found_again(tmp_path):
    options = DevnetOptions(coordinators=2, port=0)
    members = make_members(options, tmp_path)
    coordinators = [member for member in members if member.role is NodeRole.COORDINATOR]
    files = [write_config(member, options, CHAIN, ENTRY) for member in coordinators]
    first, second = [load_settings(file, {}, {}).http.port for file in files]
    assert {first, second} <= set(FREE_PORTS)
    assert first != second


def test_write_config__registered_nodes__have_a_gas_key_of_their_own_and_redeem_soon(tmp_path):
    members = make_members(DevnetOptions(miners=2), tmp_path)
    gas = []
    for member in members:
        settings = load_settings(write_config(member, DevnetOptions(miners=2), CHAIN, ENTRY), {}, {})
        if member.role is NodeRole.BOOTSTRAP:
            assert (member.gas_secret, settings.chain.gas_keystore) == (None, None)
            continue
        assert settings.chain.gas_keystore is not None
        gas.append(keystore.unlock(settings.chain.gas_keystore, settings.chain.gas_password_file))
        assert gas[-1] == member.gas_secret != member.secret
        assert proof_policy(settings).proves
        if member.role is NodeRole.COORDINATOR:
            continue
        policy = redeem_policy(settings)
        assert (policy.has_gas_key, policy.after, policy.least) == (True, 5000, 0)
    assert len(set(gas)) == 3


def test_make_members__three_miners__different_stakes_above_the_minimum(tmp_path):
    stakes = [m.stake_cai for m in make_members(DevnetOptions(), tmp_path) if m.role is NodeRole.MINER]
    assert len(set(stakes)) == 3
    assert min(stakes) > 20_000


def test_make_folder__path_is_a_file__one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^--data: .*file cannot be used: "):
        make_folder(DevnetOptions(data=tmp_path / "file"))


def test_write_config__no_key_required__serves_everybody(tmp_path):
    options = DevnetOptions()
    assert write_api_key(options, tmp_path) is None
    coordinator = make_members(options, tmp_path)[1]
    http = load_settings(write_config(coordinator, options, CHAIN, ENTRY), {}, {}).http
    assert (http.require_key, http.keys_file) == (None, None)
    assert not (tmp_path / "api-keys.json").exists()
