"""The real desk over a store in memory. The core behind it is a script: it holds tasks until told, or draws at once."""

import hashlib
import itertools

import trio

from node.adapters.memory.store import MemoryStore
from node.desk import TaskDesk
from node.desk_ports import OfferedModel, Waiting
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.events import (
    AppLeft,
    AppReturned,
    Event,
    KeyGiven,
    PictureRejected,
    TaskCancelled,
    TaskSubmitted,
    TaskTaken,
)
from protocol.records import ArtifactStored, TaskAccepted, TaskDone, TaskFailed
from protocol.units import Digest, Epoch, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Receipt, TaskSpecification
from protocol.wire.statements import ReceiptStatement, VoucherStatement
from tests.support.records import NOW, SIGNATURE, digest_of

PNG = b"\x89PNG\r\n\x1a\n"
MINER = StakingId(7)
PRICE = Wei(10**18)
"""Of every task."""
_boots = itertools.count(1)


class Workbench:
    """``draws`` makes every task end at once; otherwise the test calls ``finish`` and ``fail``.

    A second workbench over the ``store`` of a first is the coordinator after a restart.
    """

    def __init__(self, *, draws: bool = True, store: MemoryStore | None = None, picture: bytes | None = None) -> None:
        self.draws = draws
        self.picture = picture
        """What every task ends with; where None, bytes that tell what was asked for."""
        self.refusal: Refused | None = None
        self.takes: int | None = None
        """How many tasks are taken before ``refusal`` holds; None: it holds from the start."""
        self.broken: Exception | None = None
        self.not_ready = ""
        self.why: Waiting | None = None
        self.specifications: dict[TaskId, TaskSpecification] = {}
        self.detached: dict[TaskId, bool] = {}
        self.inputs: list[dict[Digest, bytes]] = []
        """What each task begins from."""
        self.cancelled: list[TaskId] = []
        self.heard_of_app: list[TaskTaken | AppLeft | AppReturned | KeyGiven | PictureRejected] = []
        """What is told of apps whose tasks wait for their word, which ends them here."""
        self.accepted: dict[TaskId, TaskAccepted] = {}
        self.ends: dict[TaskId, TaskDone | TaskFailed] = {}
        self.store = store or MemoryStore()
        self.desk = TaskDesk(
            self.store,
            lambda: (OfferedModel("tiny", ((64, 64), (128, 128)), 50, 3, 2, max_prompt_tokens=75),),
            lambda: (not self.not_ready, self.not_ready),
            lambda task: self.why if task not in self.ends else None,
            lambda _: PRICE,
        )
        self.desk.connect(self._post)
        self._by_key: dict[str, TaskId] = {}
        self._boot = next(_boots)
        self._news = trio.Event()

    @property
    def watching(self) -> int:
        """Who follows a task that goes on, or waits for its end."""
        following = sum(len(watchers) for watchers in self.desk._watchers.values())
        return following + sum(end.waiting for end in self.desk._ends.values())

    async def _post(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken
        if isinstance(event, TaskSubmitted):
            await self._take(event)
        elif isinstance(event, TaskTaken | AppLeft | AppReturned | KeyGiven | PictureRejected):
            self.heard_of_app.append(event)
            if isinstance(event, TaskTaken):
                await self.finish(event.task)
        elif isinstance(event, TaskCancelled):
            self.cancelled.append(event.task)
            if event.task in self.accepted and event.task not in self.ends:
                await self.fail(event.task, "cancelled")
        self._tell_news()

    async def _take(self, event: TaskSubmitted) -> None:
        key = event.idempotency_key
        if key is not None and key in self._by_key:
            self.desk.reply(event.request, Accepted(self._by_key[key]))
            return
        if self.refusal is not None and len(self.accepted) >= (self.takes or 0):
            self.desk.reply(event.request, self.refusal)
            return
        number = len(self.accepted)
        task = TaskId(digest_of("desk", self._boot, number))
        record = TaskAccepted(
            task=task,
            epoch=Epoch(1),
            boot=self._boot,
            number=number,
            specification=encode(event.specification),
            salt=b"s" * 16,
            price=PRICE,
            detached=event.detached,
            idempotency_key=key,
            accepted_at=NOW,
            deadline=UnixMillis(NOW + 600_000),
            priority=event.priority,
            account=event.account,
            collected=event.collected,
            may_be_disputed=event.may_be_disputed,
        )
        await self.store.persist((record,))
        self.specifications[task] = event.specification
        self.detached[task] = event.detached
        self.inputs.append(dict(event.inputs))
        self.accepted[task] = record
        if key is not None:
            self._by_key[key] = task
        self.desk.reply(event.request, Accepted(task))
        self.desk.deliver(task, Update(Stage.QUEUED, NOW))
        if self.draws and event.collected:
            self.desk.deliver(task, Update(Stage.READY, NOW, 1, MINER))
        elif self.draws:
            await self.finish(task)

    def _tell_news(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    async def finish(self, task: TaskId) -> None:
        """Let a miner draw it."""
        data = self.picture or PNG + encode(self.specifications[task])
        artifact = Digest(hashlib.sha256(data).digest())
        receipt = encode(receipt_for(task, artifact))
        end = TaskDone(task, 1, MINER, artifact, "image/png", receipt, NOW, 412)
        self.desk.deliver(task, Update(Stage.CLAIMED, NOW, 1, MINER))
        self.desk.deliver(task, Update(Stage.PROGRESS, NOW, 1, MINER, step=2, steps=4))
        await self.store.persist((ArtifactStored(artifact, data), end))
        self.ends[task] = end
        self.desk.deliver(task, Update(Stage.DONE, NOW, 1, MINER, artifact=artifact, receipt=receipt))

    async def fail(self, task: TaskId, reason: str) -> None:
        """End it without a picture."""
        end = TaskFailed(task, reason, NOW)
        await self.store.persist((end,))
        self.ends[task] = end
        self.desk.deliver(task, Update(Stage.FAILED, NOW, reason=reason))

    async def wait_for_tasks(self, count: int) -> list[TaskId]:
        """Wait until so many tasks were handed in."""
        while len(self.accepted) < count:
            await self._news.wait()
        return list(self.accepted)

    async def wait_for_cancelled(self, count: int) -> list[TaskId]:
        """Wait until so many cancellations were handed in."""
        while len(self.cancelled) < count:
            await self._news.wait()
        return self.cancelled


def receipt_for(task: TaskId, artifact: Digest) -> Receipt:
    coordinator = StakingId(2**63 + 1)
    return Receipt(
        statement=ReceiptStatement(
            commitment=digest_of("commitment"),
            task=task,
            attempt=1,
            coordinator=coordinator,
            miner=MINER,
            artifact=artifact,
            price=Wei(10**18),
            accepted=NOW,
        ),
        signature=SIGNATURE,
        voucher=VoucherStatement(
            coordinator=coordinator, miner=MINER, cumulative=Wei(2**200), boot=1, sequence=5, issued_total=Wei(2**201)
        ),
        voucher_signature=SIGNATURE,
    )
