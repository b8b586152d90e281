"""What was said once is said again by somebody else, also after a restart has emptied every memory."""

from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from node.adapters.libp2p.identity import key_pair_of, to_libp2p
from protocol.crypto.publication import Publication
from protocol.notes import NoteName
from tests.support.adversary import gossip
from tests.support.overlay import WallClock, secret_of, until
from tests.support.whole_nodes import CAROL, HONEST, MESH, PARAMS, TOPIC, Scene, scene_of


def _again(said: Publication) -> rpc_pb2.Message:
    """The very message that a publication was."""
    return rpc_pb2.Message(
        from_id=to_libp2p(said.publisher).to_bytes(),
        seqno=said.sequence.to_bytes(8, "big"),
        topicIDs=[said.topic],
        data=said.data,
        signature=said.signature,
    )


def _said_long_ago(scene: Scene) -> rpc_pb2.Message:
    """What carol did say, longer ago than any boundary is tolerated."""
    age_ms = 1000 * (PARAMS.boundary_tolerance_s + 30)
    data = scene.bulletin(CAROL, sent_at=WallClock().now() - age_ms)
    identity = to_libp2p(scene.carol.id).to_bytes()
    message = rpc_pb2.Message(from_id=identity, seqno=bytes(7) + b"\x07", topicIDs=[TOPIC], data=data)
    signed = PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString()
    message.signature = key_pair_of(secret_of(CAROL)).private_key.sign(signed)
    return message


async def test_gossip__replayed_by_another__heard_once_and_nobody_judged() -> None:
    async with scene_of(HONEST) as (scene, enemy):
        (said,) = scene.gate.record.publications
        await enemy.say(MESH, gossip(_again(said)) * 20)
        await scene.goes_on()
        assert len(scene.gate.heard(scene.carol.id)) == 2
        assert len(scene.listener.heard(scene.carol.id)) == 2
        assert scene.gate.rules_against(enemy.id) == set()


async def test_gossip__replayed_to_a_node_that_restarted__goes_no_further_than_that_node() -> None:
    async with scene_of(HONEST) as (scene, enemy):
        (said,) = scene.gate.record.publications
        await scene.restart_gate()
        await enemy.follow(scene.gate)
        await enemy.say(MESH, gossip(_again(said)) * 20)
        await until(lambda: scene.gate.heard(scene.carol.id), "the replay")
        await scene.goes_on()
        assert scene.gate.heard(scene.carol.id) == [NoteName.GOSSIP_ACCEPTED] * 2
        assert scene.listener.heard(scene.carol.id) == [NoteName.GOSSIP_ACCEPTED] * 2


async def test_gossip__replayed_after_long_to_a_node_that_restarted__ignored_and_not_forwarded() -> None:
    async with scene_of(HONEST) as (scene, enemy):
        await scene.restart_gate()
        await enemy.follow(scene.gate)
        await enemy.say(MESH, gossip(_said_long_ago(scene)))
        await until(lambda: NoteName.GOSSIP_IGNORED in scene.gate.heard(scene.carol.id), "the replay")
        known = len(scene.listener.heard(scene.carol.id))
        scene.carol.transport.publish(TOPIC, scene.bulletin(CAROL))
        await until(lambda: len(scene.listener.heard(scene.carol.id)) > known, "carol's offers")
        assert set(scene.listener.heard(scene.carol.id)) == {NoteName.GOSSIP_ACCEPTED}
        assert len(scene.listener.heard(scene.carol.id)) == known + 1
        assert scene.gate.rules_against(scene.carol.id) == set()
        assert scene.gate.rules_against(enemy.id) == set()
