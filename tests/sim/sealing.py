"""An app that seals its orders, in a world of pure cores: it gives keys, opens pictures, and may be away."""

from protocol.crypto.keys import NodeKey
from protocol.effects import Accepted, Deliver, Stage, Update
from protocol.errors import InvalidMessage
from protocol.events import Acceptance, AppReturned, KeyGiven, PictureRejected, TaskSubmitted, TaskTaken
from protocol.roles.app.order_seal import OrderSeal, seal_order
from protocol.units import Digest, PeerId, StakingId, TaskId
from protocol.wire.app_messages import Order
from protocol.wire.messages import TaskSpecification
from protocol.wire.sealed_messages import OrderSealed, SealedOrder
from tests.sim.machine import Machine
from tests.sim.world import MODEL, World

CONTENT_KEY = b"c" * 32
PROMPT = "a red heart of xyzzyplugh"
WAY_MS = 40
"""How long (ms) it takes to hear and answer."""
REQUEST = 500_000


class SealingApp:
    """Orders one sealed picture of the first coordinator."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine = world.machines["coordinator0"]
        self.key = NodeKey(b"\x77" * 32)
        self.order: SealedOrder = seal_order(Order(order=b"o" * 16, prompt=PROMPT, seed=7), CONTENT_KEY)
        self.seal = OrderSeal(self.order, CONTENT_KEY, self.key, world.random.randbytes)
        self.task: TaskId | None = None
        self.is_away = False
        self.opened_to: list[StakingId] = []
        self.keys: list[KeyGiven] = []
        self.picture: bytes | None = None
        world.watch(Deliver, self._hear)

    @property
    def peer(self) -> PeerId:
        """The coordinator's."""
        return self.machine.key.peer_id

    def submit(self) -> TaskId:
        """Have it accepted."""
        size = {"width": 128, "height": 128, "steps": 10, "guidance": 4.0}
        sealed = {"model": MODEL.name, "prompt": "", "seed": 0, "version": 3, "sealed": self.order.sealed}
        specification = TaskSpecification.model_validate(size | sealed)
        self.world.post(
            self.machine, TaskSubmitted(REQUEST, specification, True, "an order", account="app", collected=True)
        )
        assert self.world.run(1000, lambda: REQUEST in self.world.replies)
        answer = self.world.replies[REQUEST]
        assert isinstance(answer, Accepted), answer
        self.task = answer.task
        return answer.task

    def come_back(self) -> None:
        """Its coordinator was started again: it says what it said last."""
        assert self.task is not None
        self.world.post(self.machine, AppReturned(self.task))
        for key in self.keys[-1:]:
            self.world.post(self.machine, key)

    def _hear(self, machine: Machine, effect: Deliver) -> None:
        if machine is self.machine and effect.task == self.task and not self.is_away:
            self.world.at(WAY_MS, self._answer, effect.update)

    def _answer(self, update: Update) -> None:
        assert self.task is not None
        if self.machine.core is None:
            return
        if update.award is not None:
            self.seal.check(self.peer, update.award, self.world.now)
            key = self.seal.key_for(update.award, self.world.now)
            self.opened_to.append(update.award.award.miner)
            self.keys.append(KeyGiven(self.task, key.attempt, key.award, key.sealed_key))
            self.world.post(self.machine, self.keys[-1])
        elif update.stage is Stage.READY:
            assert update.artifact is not None
            self._look(update.attempt, update.artifact, self.machine.store._artifacts[update.artifact])

    def _look(self, attempt: int, artifact: Digest, data: bytes) -> None:
        assert self.task is not None
        message = OrderSealed(
            order=b"o" * 16,
            task=self.task,
            attempt=attempt,
            artifact=artifact,
            media_type="image/png",
            size=len(data),
        )
        try:
            self.picture = self.seal.open(message, data)
        except InvalidMessage:
            self.world.post(self.machine, PictureRejected(self.task, attempt))
            return
        word = self.seal.accept(message)
        self.world.post(self.machine, TaskTaken(self.task, Acceptance(self.key.peer_id, attempt, word.signature)))
