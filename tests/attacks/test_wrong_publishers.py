"""Who may not offer is not heard, whatever it signs: whole nodes, with real tables, over real sockets.

Enemy - gate - listener, and carol, an honest coordinator, at the gate as well.
"""

from collections.abc import Iterable

import pytest

from node.adapters.libp2p import gossip as limits
from protocol.crypto.keys import NodeKey
from protocol.notes import NoteName
from tests.support.adversary import Adversary, gossip
from tests.support.networks import coordinator, row
from tests.support.overlay import secret_of, until
from tests.support.whole_nodes import CAROL, ENEMY, HONEST, MESH, TOPIC, scene_of


async def _say(enemy: Adversary, messages: Iterable[bytes]) -> None:
    await enemy.say(MESH, b"".join(gossip(enemy.message(TOPIC, data)) for data in messages))


@pytest.mark.parametrize(("speaker", "rule"), [(ENEMY, "gossip.not_coordinator"), (CAROL, "gossip.coordinator")])
async def test_gossip__offers_of_a_registered_miner__heard_by_nobody_and_it_is_banned(speaker: int, rule: str) -> None:
    async with scene_of((*HONEST, row(NodeKey(secret_of(ENEMY)), ENEMY))) as (scene, enemy):
        await _say(enemy, [scene.bulletin(speaker)])
        await until(lambda: scene.gate.rules_against(enemy.id), "the judgement")
        await scene.goes_on()
        assert enemy.is_connected(), "one is not enough for a ban"
        await _say(enemy, [scene.bulletin(speaker) for _ in range(10)])
        await until(lambda: not enemy.is_connected(), "the ban")
        await scene.goes_on()
        assert scene.gate.rules_against(enemy.id) == {rule}
        assert set(scene.gate.heard(enemy.id)) == {NoteName.GOSSIP_REJECTED}
        assert scene.listener.heard(enemy.id) == []
        assert scene.listener.rules_against(scene.gate.id) == set()


async def test_gossip__offers_of_an_unregistered_coordinator__heard_by_nobody_and_it_is_banned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REFUSED_BURST", 10)
    monkeypatch.setattr(limits, "REFUSED_PER_S", 1)
    async with scene_of(HONEST) as (scene, enemy):
        await _say(enemy, [scene.bulletin(speaker) for speaker in (ENEMY, CAROL)])
        await scene.goes_on()
        assert scene.gate.rules_against(enemy.id) == set(), "a few may be honest at the edge of an epoch"
        await _say(enemy, [scene.bulletin(ENEMY) for _ in range(60)])
        await until(lambda: not enemy.is_connected(), "the ban")
        await scene.goes_on()
        assert scene.gate.rules_against(enemy.id) == {"gossip.refused"}
        assert scene.gate.heard(enemy.id) == scene.listener.heard(enemy.id) == []


async def test_gossip__offers_of_a_coordinator_below_its_minimum__heard_by_nobody_and_nobody_is_blamed() -> None:
    """Its stake may have fallen after it last looked: it is not forwarded, and not judged."""
    async with scene_of((*HONEST, coordinator(NodeKey(secret_of(ENEMY)), ENEMY, active=False))) as (scene, enemy):
        await _say(enemy, [scene.bulletin(ENEMY) for _ in range(3)])
        await until(lambda: len(scene.gate.heard(enemy.id)) == 3, "the bulletins")
        await scene.goes_on()
        assert set(scene.gate.heard(enemy.id)) == {NoteName.GOSSIP_IGNORED}
        assert scene.listener.heard(enemy.id) == []
        assert scene.gate.rules_against(enemy.id) == set()
