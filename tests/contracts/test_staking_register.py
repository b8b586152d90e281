"""Staking.register and what it refuses."""

import json

import pytest

from contracts.bindings import load
from protocol.crypto.keys import CURVE_ORDER
from protocol.crypto.typed_data import digest
from protocol.wire.statements import Registration
from tests.contracts.conftest import COORDINATOR_MINIMUM, FAR, MINER_MINIMUM, World, raw
from tests.support.anvil import Reverted

ZERO = "0x" + "00" * 20


@pytest.mark.parametrize(("role", "minimum"), [(1, MINER_MINIMUM), (2, COORDINATOR_MINIMUM)])
def test_register__stake_just_above_the_minimum__is_active_with_the_next_id(world: World, role: int, minimum: int):
    before = world.balance(world.alice)
    key = world.key()
    events = world.register(world.alice, minimum + 1, role, node_key=key)
    address = "0x" + key.address.hex()
    assert world.anvil.read(world.staking, "node_count") == 1
    assert world.anvil.read(world.staking, "id_by_key", address) == 1
    node = world.node(1)
    assert (node["owner"], node["key"], node["role"]) == (world.alice.lower(), address, role)
    assert (node["active"], node["self_stake"], node["effective_stake"]) == (True, minimum + 1, minimum + 1)
    assert world.balance(world.alice) == before - minimum - 1
    assert world.balance(world.staking.address) == minimum + 1
    assert [event["event"] for event in events] == ["Registered", "Voted", "NodeChanged"]
    assert events[-1] == {"event": "NodeChanged", "id": 1, **node}
    assert json.loads(world.anvil.read(world.staking, "profile", 1)) == {"name": "x"}


@pytest.mark.parametrize(("role", "minimum"), [(1, MINER_MINIMUM), (2, COORDINATOR_MINIMUM)])
def test_register__stake_at_the_minimum__is_refused(world: World, role: int, minimum: int):
    with pytest.raises(Reverted, match="own stake must be above the minimum"):
        world.register(world.alice, minimum, role)
    assert world.anvil.read(world.staking, "node_count") == 0


@pytest.mark.parametrize("role", [0, 3, 255])
def test_register__unknown_role__is_refused(world: World, role: int):
    with pytest.raises(Reverted, match="role must be 1"):
        world.register(world.alice, COORDINATOR_MINIMUM + 1, role=role, signature=bytes(65))


def test_register__key_of_the_owner__is_refused(world: World):
    with pytest.raises(Reverted, match="must differ from the owner's"):
        world.register(world.alice, MINER_MINIMUM + 1, key=world.alice)


@pytest.mark.parametrize("signature", [b"", bytes(65), bytes(64), b"\xff" * 65])
def test_register__zero_key_with_an_unusable_signature__is_refused(world: World, signature: bytes):
    with pytest.raises(Reverted, match="zero address"):
        world.register(world.alice, MINER_MINIMUM + 1, key=ZERO, signature=signature)


def test_register__key_used_before__is_refused_for_every_owner_and_role(world: World):
    key = world.key()
    world.register(world.alice, MINER_MINIMUM + 1, node_key=key)
    for owner, role in ((world.alice, 1), (world.bob, 2)):
        with pytest.raises(Reverted, match="registered already"):
            world.register(owner, COORDINATOR_MINIMUM + 1, role, node_key=key)


def test_register__deadline__holds_until_its_second_and_not_longer(world: World):
    key = world.key()
    now = world.anvil.now()
    late = world.consent(key, world.alice, deadline=now - 1)
    with pytest.raises(Reverted, match="deadline has passed"):
        world.register(world.alice, MINER_MINIMUM + 1, node_key=key, deadline=now - 1, signature=late)
    deadline = now + 60
    good = world.consent(key, world.alice, deadline=deadline)
    world.register(world.alice, MINER_MINIMUM + 1, node_key=key, deadline=deadline, signature=good)


def test_register__signature_for_something_else__is_refused(world: World):
    key, other = world.key(), world.key()
    wrong = {
        "another owner": world.consent(key, world.bob),
        "another role": world.consent(key, world.alice, role=2),
        "another deadline": world.consent(key, world.alice, deadline=FAR - 1),
        "another key": world.consent(other, world.alice),
    }
    for signature in wrong.values():
        with pytest.raises(Reverted, match="not signed by the node key"):
            world.register(world.alice, MINER_MINIMUM + 1, node_key=key, signature=signature)


def test_register__compact_form_of_a_good_signature__is_refused(world: World):
    key = world.key()
    good = world.consent(key, world.alice)
    compact = good[:32] + (int.from_bytes(good[32:64], "big") | (good[64] - 27) << 255).to_bytes(32, "big")
    with pytest.raises(Reverted, match="a signature has 65 bytes"):
        world.register(world.alice, MINER_MINIMUM + 1, node_key=key, signature=compact)


def test_register__signature_with_high_s__is_refused(world: World):
    key = world.key()
    good = world.consent(key, world.alice)
    high = good[:32] + (CURVE_ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big") + bytes([55 - good[64]])
    with pytest.raises(Reverted):
        world.register(world.alice, MINER_MINIMUM + 1, node_key=key, signature=high)


def test_register__without_allowance_or_balance__is_refused_and_changes_nothing(world: World):
    world.anvil.send(world.alice, world.cai, "approve", world.staking.address, MINER_MINIMUM)
    with pytest.raises(Reverted, match="insufficient allowance"):
        world.register(world.alice, MINER_MINIMUM + 1)
    with pytest.raises(Reverted, match="exceeds balance"):
        world.register(world.bob, world.balance(world.bob) + 1)
    assert world.anvil.read(world.staking, "total_staked") == 0


def test_register__profile__up_to_512_bytes(world: World):
    with pytest.raises(Reverted):
        world.register(world.alice, MINER_MINIMUM + 1, profile="x" * 513)
    world.register(world.alice, MINER_MINIMUM + 1, profile="x" * 512)
    assert world.anvil.read(world.staking, "profile", 1) == "x" * 512


def test_set_profile__by_the_owner_only(world: World):
    world.register(world.alice, MINER_MINIMUM + 1)
    for stranger, node_id in ((world.bob, 1), (world.alice, 2)):
        with pytest.raises(Reverted, match="only the node's owner"):
            world.anvil.send(stranger, world.staking, "set_profile", node_id, "mine")
    events = world.anvil.send(world.alice, world.staking, "set_profile", 1, "new")
    assert events == [{"event": "ProfileChanged", "id": 1, "profile": "new"}]
    assert world.anvil.read(world.staking, "profile", 1) == "new"


@pytest.mark.parametrize("role", [1, 2])
@pytest.mark.parametrize("deadline", [0, 1, 2**64 - 1])
def test_registration_digest__equals_the_protocols(world: World, role: int, deadline: int):
    statement = Registration(owner=raw(world.alice), role=role, deadline=deadline)
    found = world.anvil.read(world.staking, "registration_digest", world.alice, role, deadline)
    assert found == digest(world.domain, statement)


def test_eip712_domain__is_cuckoo_1_on_this_chain_and_contract(world: World):
    _bits, name, version, chain_id, contract, _salt, _more = world.anvil.read(world.staking, "eip712Domain")
    assert (name, version, chain_id, contract) == ("Cuckoo", "1", 31_337, world.staking.address.lower())


def test_nodes__pages__cover_every_node_once(world: World):
    for _ in range(3):
        world.register(world.alice, MINER_MINIMUM + 1)
    read = lambda start, count: world.anvil.read(world.staking, "nodes", start, count)  # noqa: E731
    rows = read(1, 10)
    assert len(rows) == 3
    assert read(1, 2) + read(3, 2) == rows
    assert (read(0, 5), read(4, 5), read(1, 0), read(2**256 - 1, 2**256 - 1)) == ((), (), (), ())
    assert len(read(1, 2**256 - 1)) == 3


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ((0, 2, 4, 1), "minimums"),
        ((3, 2, 4, 1), "minimums"),
        ((1, 2, 3, 1), "epoch"),
        ((1, 2, 86_401, 1), "epoch"),
        ((1, 2, 4, 0), "stream"),
        ((1, 2, 4, 30 * 86_400 + 1), "stream"),
    ],
)
def test_constructor__senseless_terms__are_refused(world: World, terms: tuple[int, int, int, int], reason: str):
    with pytest.raises(Reverted, match=reason):
        world.anvil.deploy(load("Staking"), world.cai.address, world.parameters.address, *terms)


@pytest.mark.parametrize("terms", [(1, 1, 4, 1), (1, 2, 86_400, 30 * 86_400)])
def test_constructor__terms_at_their_limits__are_taken(world: World, terms: tuple[int, int, int, int]):
    staking = world.anvil.deploy(load("Staking"), world.cai.address, world.parameters.address, *terms)
    assert world.anvil.read(staking, "epoch_s") == terms[2]
    assert world.anvil.read(staking, "stream_s") == terms[3]


def test_constructor__token_or_parameters_without_code__is_refused(world: World):
    with pytest.raises(Reverted, match="token is not a contract"):
        world.anvil.deploy(load("Staking"), world.bob, world.parameters.address, 1, 2, 4, 1)
    with pytest.raises(Reverted, match="parameters is not a contract"):
        world.anvil.deploy(load("Staking"), world.cai.address, world.bob, 1, 2, 4, 1)
