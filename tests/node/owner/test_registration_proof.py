"""A node key's word for an owner: holds for what it names, and for nothing else."""

import json
from pathlib import Path

import pytest

from node.network_file import NetworkFile
from node.owner.registration_proof import RegistrationProof
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError
from protocol.units import Role
from tests.node.test_network_file import NETWORK

KEY = NodeKey(bytes([9]) * 32)
OWNER = "0x534742eC308Ff68fBcfed369E45CCBBFBfa783B5"
OTHER = "0x031495497BB24679C3Aad38198Fd04015d598813"
NOW = 1_700_000_000


def made(network: NetworkFile = NETWORK, deadline: int = NOW + 3600) -> RegistrationProof:
    return RegistrationProof.make(network, KEY, OWNER, Role.MINER, deadline)


def written(folder: Path, **changed: object) -> Path:
    path = folder / "proof.json"
    path.write_text(json.dumps(json.loads(made().text()) | changed), encoding="utf-8")
    return path


def test_read__as_printed__is_the_same_proof(tmp_path):
    proof = RegistrationProof.read(written(tmp_path))
    assert proof == made()
    proof.check(NETWORK, OWNER, NOW)


def test_check__until_its_deadline__holds():
    made(deadline=NOW).check(NETWORK, OWNER, NOW)
    with pytest.raises(ConfigError, match=r"--proof: it held until .* ago"):
        made(deadline=NOW - 1).check(NETWORK, OWNER, NOW)


def test_check__another_owner__is_refused():
    with pytest.raises(ConfigError, match=f"it is for owner {OWNER}, and this account is {OTHER}"):
        made().check(NETWORK, OTHER, NOW)


@pytest.mark.parametrize("part", ["chain", "contracts"])
def test_check__another_network__is_refused(part):
    changed = {"chain_id": 1} if part == "chain" else {"staking": "0x" + "77" * 20}
    there = NETWORK.model_copy(update={part: getattr(NETWORK, part).model_copy(update=changed)})
    with pytest.raises(ConfigError, match="it is for another network"):
        made().check(there, OWNER, NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"deadline": NOW + 9999},
        {"role": "coordinator"},
        {"key": OTHER},
        {"signature": "0x" + "11" * 65},
        {"signature": "0x" + "11" * 64},
        {"signature": "0x"},
    ],
)
def test_check__changed_since__is_refused(tmp_path, changed):
    proof = RegistrationProof.read(written(tmp_path, **changed))
    with pytest.raises(ConfigError, match="its signature is not that of"):
        proof.check(NETWORK, OWNER, NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "bootstrap"},
        {"role": 1},
        {"owner": "0x12"},
        {"owner": None},
        {"deadline": "soon"},
        {"signature": 7},
        {"signature": "0xzz"},
        {"chain_id": None},
    ],
)
def test_read__not_as_printed__is_refused(tmp_path, changed):
    with pytest.raises(ConfigError, match=r"--proof: .*proof.json: no proof as cuckoo key prove prints it"):
        RegistrationProof.read(written(tmp_path, **changed))


@pytest.mark.parametrize("deadline", [-1, 2**33 + 1, 10**90])
def test_read__deadline_of_no_era__is_refused(tmp_path, deadline):
    with pytest.raises(ConfigError, match=r"proof\.json: its deadline is no time of this era"):
        RegistrationProof.read(written(tmp_path, deadline=deadline))


@pytest.mark.parametrize(
    "content", [b'{"chain_id": 1e999}', b"", b"[]", b"7", b"\xff\xfe", b"[" * 4000, b'{"chain_id": 1}']
)
def test_read__any_other_file__is_refused(tmp_path, content):
    path = tmp_path / "proof.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="no proof as cuckoo key prove prints it"):
        RegistrationProof.read(path)


def test_read__no_file__is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--proof: .*none: no such file"):
        RegistrationProof.read(tmp_path / "none")
