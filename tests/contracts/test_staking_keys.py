"""Keys of a node over time: rotated, retired, answering for a while, and never back."""

import pytest

from tests.contracts.conftest import FAR, MINER_MINIMUM, UNBONDING_DELAY_S, World
from tests.support.anvil import Reverted

OWN = MINER_MINIMUM + 1


def hexed(key: object) -> str:
    return "0x" + key.address.hex()  # type: ignore[attr-defined] # a NodeKey


def rotate(world: World, owner: str, node_id: int, key: object, **changed: object) -> list[dict]:
    arguments = {
        "key": hexed(key),
        "deadline": FAR,
        "signature": changed.get("signature", world.consent(key, owner)),  # type: ignore[arg-type]
    } | changed
    return world.anvil.send(owner, world.staking, "rotate_key", node_id, *arguments.values())


def signing_id(world: World, key: object) -> int:
    return world.anvil.read(world.staking, "signing_id", hexed(key))


def test_rotate_key__by_the_owner__changes_the_row_and_nothing_else_of_it(world: World):
    old, new = world.key(), world.key()
    world.register(world.alice, OWN, node_key=old)
    before = world.node(1)
    rotated, changed = rotate(world, world.alice, 1, new)
    assert rotated == {"event": "KeyRotated", "id": 1, "before": hexed(old), "key": hexed(new)}
    assert changed == {"event": "NodeChanged", "id": 1, **before, "key": hexed(new)}
    assert world.node(1) == before | {"key": hexed(new)}


def test_rotate_key__by_anybody_else_or_for_no_node__is_refused(world: World):
    world.register(world.alice, OWN)
    for owner, node_id in ((world.bob, 1), (world.alice, 2)):
        with pytest.raises(Reverted, match="only the node's owner"):
            rotate(world, owner, node_id, world.key())


def test_rotate_key__without_the_new_keys_consent__is_refused(world: World):
    world.register(world.alice, OWN)
    key, other = world.key(), world.key()
    late = world.anvil.now() - 1
    refused = [
        ({"signature": world.consent(other, world.alice)}, "not signed by the node key"),
        ({"signature": world.consent(key, world.alice, role=2)}, "not signed by the node key"),
        ({"signature": world.consent(key, world.alice)[:64]}, "a signature has 65 bytes"),
        ({"deadline": late, "signature": world.consent(key, world.alice, deadline=late)}, "deadline has passed"),
        ({"key": world.alice}, "must differ from the owner's"),
        ({"key": "0x" + "00" * 20}, "zero address"),
    ]
    for changed, reason in refused:
        arguments = {"key": hexed(key), "deadline": FAR, "signature": b""} | changed
        with pytest.raises(Reverted, match=reason):
            world.anvil.send(world.alice, world.staking, "rotate_key", 1, *arguments.values())


def test_rotate_key__to_a_key_in_use_or_retired__is_refused_to_everybody(world: World):
    old, new, other = world.key(), world.key(), world.key()
    world.register(world.alice, OWN, node_key=old)
    world.register(world.bob, OWN, node_key=other)
    rotate(world, world.alice, 1, new)
    world.anvil.wait(2 * UNBONDING_DELAY_S)
    for key in (old, new, other):
        for owner, node_id in ((world.alice, 1), (world.bob, 2)):
            with pytest.raises(Reverted, match="registered already"):
                rotate(world, owner, node_id, key)
        with pytest.raises(Reverted, match="registered already"):
            world.register(world.alice, OWN, node_key=key)


def test_signing_id__retired_key__answers_for_one_unbonding_delay(world: World):
    old, new = world.key(), world.key()
    assert signing_id(world, old) == 0
    world.register(world.alice, OWN, node_key=old)
    assert signing_id(world, old) == 1
    rotate(world, world.alice, 1, new)
    retired = world.anvil.now()
    assert world.anvil.read(world.staking, "retired_at", hexed(old)) == retired
    assert world.anvil.read(world.staking, "retired_at", hexed(new)) == 0
    for second, expected in ((retired + UNBONDING_DELAY_S - 1, 1), (retired + UNBONDING_DELAY_S, 0)):
        world.anvil.next_at(second)
        world.anvil.rpc("evm_mine")
        assert (signing_id(world, old), signing_id(world, new)) == (expected, 1)
    assert world.anvil.read(world.staking, "id_by_key", hexed(old)) == 1


def test_rotate_key__twice_within_the_delay__both_old_keys_answer(world: World):
    first, second, third = world.key(), world.key(), world.key()
    world.register(world.alice, OWN, node_key=first)
    rotate(world, world.alice, 1, second)
    rotate(world, world.alice, 1, third)
    assert [signing_id(world, key) for key in (first, second, third)] == [1, 1, 1]
