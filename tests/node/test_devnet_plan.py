"""What a devnet writes before anything starts: settings that a node accepts, keys that open, different stakes."""

import pytest

from node import keystore
from node.configuration import load_settings
from node.devnet_plan import DevnetOptions, make_folder, make_members, write_api_key, write_config
from node.settings import NodeRole
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError

ENTRY = (f"/ip4/127.0.0.1/tcp/4001/p2p/{NodeKey(bytes([1]) * 32).peer_id}",)
CHAIN = {"rpc_urls": ["http://127.0.0.1:9"], "chain_id": 31337, "staking": "0x" + "ab" * 20, "start_block": 3}


def test_write_config__every_member__is_accepted_and_its_key_opens(tmp_path):
    options = DevnetOptions(coordinators=2, miners=2, engine="instant", port=9000, require_key=True)
    write_api_key(options, tmp_path)
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
        assert settings.exit_with_stdin
        assert keystore.unlock(settings.keystore, settings.key.password_file) == member.secret
        assert path.stat().st_mode & 0o077 == 0
    ports = [load_settings(m.folder / "node.toml", {}, {}).http.port for m in members if m.role == "coordinator"]
    assert ports == [9000, 9001]
    miner = load_settings(members[-1].folder / "node.toml", {}, {})
    assert miner.engine.engines_on_machine == 2


def test_make_members__three_miners__different_stakes_above_the_minimum(tmp_path):
    stakes = [m.stake_cai for m in make_members(DevnetOptions(), tmp_path) if m.role is NodeRole.MINER]
    assert len(set(stakes)) == 3
    assert min(stakes) > 20_000


def test_make_folder__path_is_a_file__one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^--data: .*file cannot be used: "):
        make_folder(DevnetOptions(data=tmp_path / "file"))
