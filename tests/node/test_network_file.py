"""The file that describes a network: written and read again, and enough for a node to join."""

from pathlib import Path

import pytest

from node.config.configuration import load_settings
from node.network_file import NetworkChain, NetworkContracts, NetworkFile, addresses_file, read_network
from node.settings import NodeRole
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError

ENTRY = f"/ip4/127.0.0.1/tcp/4001/p2p/{NodeKey(bytes([1]) * 32).peer_id}"
CONTRACTS = NetworkContracts(
    **{
        name: f"0x{number:040x}"
        for number, name in enumerate(
            ("cai", "parameters", "staking", "settlement", "slashing", "disputes", "faucet"), start=1
        )
    },
    start_block=7,
)
NETWORK = NetworkFile(
    params="minimal",
    bootstrap=(ENTRY,),
    chain=NetworkChain(rpc_urls=("http://127.0.0.1:8545",), chain_id=31_337),
    contracts=CONTRACTS,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "network.toml"
    NETWORK.write(file)
    return file


def test_write__network__is_read_back(path):
    assert read_network(path) == NETWORK


def test_read_network__no_contracts__are_taken_from_the_file_beside(path):
    text = path.read_text(encoding="utf-8")
    head, _, contracts = text.partition("[contracts]\n")
    path.write_text(head, encoding="utf-8")
    addresses_file(path).write_text(contracts, encoding="utf-8")
    assert read_network(path) == NETWORK


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "[contracts]",
            "[contract]",
            "{path}: no contracts: deploy them with cuckoo contracts deploy --network {path}",
        ),
        ('staking = "0x0', 'staking = "0y0', "{path}: contracts.staking: '0y00"),
        ("chain_id", "chain_ids", "chain.chain_id is missing: set it in {path}"),
        ("start_block", "start_blok", "{path}: contracts.start_blok: unknown key (did you mean 'start_block'?)"),
        ("/p2p/", "/p3p/", "{path}: bootstrap: '/ip4/127.0.0.1/tcp/4001/p3p/"),
    ],
)
def test_read_network__wrong__names_file_and_key(path, old, new, line):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_network(path)
    assert str(caught.value).startswith(line.format(path=path))


def test_read_network__no_such_file__says_how_to_name_one(tmp_path):
    with pytest.raises(ConfigError, match=r"--network: .*none.toml: no such file: name the network's file"):
        read_network(tmp_path / "none.toml")


def test_load_settings__network__is_all_that_a_node_needs_to_join(path):
    settings = load_settings(None, {"role": "miner", "network": path}, {})
    assert settings.role is NodeRole.MINER
    assert settings.params.name == "devnet"
    assert settings.chain.rpc_urls == NETWORK.chain.rpc_urls
    assert settings.chain.staking == CONTRACTS.staking
    assert settings.chain.start_block == CONTRACTS.start_block
    assert settings.overlay.bootstrap == (ENTRY,)


def test_load_settings__network_and_flags__flags_win(path):
    flags = {"role": "miner", "network": path, "params": "testnet", "chain.rpc_urls": ["http://127.0.0.1:9"]}
    settings = load_settings(None, flags, {})
    assert settings.params.name == "testnet"
    assert settings.chain.rpc_urls == ("http://127.0.0.1:9",)
    assert settings.chain.chain_id == NETWORK.chain.chain_id


def test_load_settings__network_in_a_file__is_meant_from_that_file(path):
    config = path.with_name("node.toml")
    config.write_text('role = "bootstrap"\nnetwork = "network.toml"\n', encoding="utf-8")
    assert load_settings(config, {}, {}).chain.staking == CONTRACTS.staking


def test_load_settings__network_in_a_file_missing__names_the_key(tmp_path):
    config = tmp_path / "node.toml"
    config.write_text('role = "bootstrap"\nnetwork = "none.toml"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"node.toml: network: .*none.toml: no such file"):
        load_settings(config, {}, {})


def test_read__settings_of_a_node_as_a_network_and_the_reverse__say_which_file_is_meant(path):
    config = path.with_name("node.toml")
    config.write_text('role = "bootstrap"\nnetwork = "network.toml"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^--network: .*node.toml: has the settings of one node: name the file"):
        read_network(config)
    with pytest.raises(ConfigError, match=r"network.toml: describes a network, and no node: name it with --network"):
        load_settings(path, {}, {})
