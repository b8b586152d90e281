"""How often a coordinator speaks, however much it has to say."""

from dataclasses import replace
from itertools import pairwise

from protocol.crypto.envelope import seal
from protocol.effects import Publish
from protocol.events import StreamOpened, TaskSubmitted
from protocol.gossip.admission import ACCEPTED
from protocol.roles.coordinator import CoordinatorCore
from protocol.task.catalog import Catalog
from protocol.units import UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Bulletin, Capability, CapabilityUpdate, ServedModel
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import ALICE_ID, MODEL, NETWORK_ID, PARAMS, SPECIFICATION, hello
from tests.protocol.roles.seats import CoordinatorSeat, MinerSeat
from tests.support.networks import ALICE, BOB, CAROL

NAMES = ("first", "second", "third")
CATALOG = Catalog(models={name: MODEL.model_copy(update={"name": name}) for name in NAMES}, default="first")
LOAD_MS = 2500
"""So long does a message per topic and interval use up the burst that a quota allows."""
STEP_MS = PARAMS.publish_interval_ms // 2


class ThreeModels(CoordinatorSeat):
    """Carol's coordinator with a catalog of three models, all served by alice."""

    def __init__(self) -> None:
        super().__init__(miners=())
        self.identity = replace(self.identity, catalog=CATALOG)
        self.core = CoordinatorCore(self.identity, tuple)
        self.start()
        served = tuple(
            ServedModel(model=name, digest=MODEL.digest, warm=True, pixel_steps_per_s=10**7, max_batch=1)
            for name in NAMES
        )
        fields = {"miner": ALICE_ID, "sequence": 1, "expires_at": self.now + 60_000, "models": served}
        rest = {"free_places": 1, "places": 1, "price_floor": Wei(0), "addresses": ()}
        body = encode(Capability.model_validate(fields | rest))
        self.hear(StreamOpened(ALICE.peer_id))
        self.say(ALICE, hello(ALICE_ID))
        self.say(ALICE, CapabilityUpdate(body=body, signature=seal(ALICE, NETWORK_ID, body)))


def published(seat: ThreeModels, tasks_at_once: int = 1) -> list[Bulletin]:
    """Submit tasks for every model in every step, and give what is gossiped."""
    effects = []
    for step in range(LOAD_MS // STEP_MS):
        for request in range(tasks_at_once * len(NAMES)):
            work = SPECIFICATION.model_copy(update={"model": NAMES[request % len(NAMES)], "seed": step})
            effects += seat.hear(TaskSubmitted(1, work, True, None))
        effects += seat.wait(STEP_MS)
    return [effect.message for effect in effects if isinstance(effect, Publish)]


def verdicts(messages: list[Bulletin]) -> set[str]:
    """What another node says to all this at the moment at which it was sent."""
    judge = MinerSeat().core
    return {
        judge.judge(offers_topic(PARAMS.name, m.model), encode(m), CAROL.peer_id, UnixMillis(m.sent_at)).rule
        for m in messages
    }


def test_offers__of_three_models_under_load__all_come_and_none_meets_the_quota() -> None:
    messages = published(ThreeModels())
    assert verdicts(messages) == {ACCEPTED}
    for name in NAMES:
        times = [message.sent_at for message in messages if message.model == name and message.offers]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert times[-1] - times[0] > LOAD_MS * 0.9
        assert max(gaps) <= 2 * len(NAMES) * PARAMS.publish_interval_max_ms
        assert len({offer.task for m in messages if m.model == name for offer in m.offers}) > 100


def test_offers__many_exclusions_in_one_flush__put_the_next_one_off() -> None:
    seat = ThreeModels()
    for _ in range(3):
        seat.hear(TaskSubmitted(1, SPECIFICATION.model_copy(update={"model": "first"}), True, None))
    for number, task in enumerate(seat.core._tasks.values()):
        task.excluded = frozenset({seat.number(BOB)}) if number == 1 else frozenset()
    effects = seat.wait(PARAMS.publish_interval_ms)
    seat.hear(TaskSubmitted(1, SPECIFICATION.model_copy(update={"model": "second"}), True, None))
    effects += seat.wait(100)
    sent = [effect.message.sent_at for effect in effects if isinstance(effect, Publish)]
    assert len(sent) == 3, "one more field, one more message"
    assert sent[0] == sent[1]
    assert sent[2] == sent[0] + 2 * PARAMS.publish_interval_ms
