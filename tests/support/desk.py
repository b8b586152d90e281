"""A Desk in memory whose miners are the test: it holds tasks until told, or draws at once."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import trio

from node.ports import OfferedModel, StoredTask
from protocol.effects import Accepted, Refused, Stage, Update
from protocol.errors import Unavailable
from protocol.records import TaskAccepted, TaskDone, TaskFailed
from protocol.units import Digest, Epoch, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import Receipt, TaskSpecification
from protocol.wire.statements import ReceiptStatement, VoucherStatement
from tests.support.records import NOW, SIGNATURE, digest_of

PNG = b"\x89PNG\r\n\x1a\n"
MINER = StakingId(7)


class MemoryDesk:
    """``draws`` makes every task end at once; otherwise the test calls ``finish`` and ``fail``."""

    def __init__(self, *, draws: bool = True) -> None:
        self.draws = draws
        self.refusal: Refused | None = None
        self.broken: Unavailable | None = None
        self.not_ready = ""
        self.specifications: dict[TaskId, TaskSpecification] = {}
        self.detached: dict[TaskId, bool] = {}
        self.cancelled: list[TaskId] = []
        self.accepted: dict[TaskId, TaskAccepted] = {}
        self.ends: dict[TaskId, TaskDone | TaskFailed] = {}
        self.stories: dict[TaskId, list[Update]] = {}
        self.artifacts: dict[Digest, bytes] = {}
        self.watching = 0
        self._news = trio.Event()

    async def submit(
        self, specification: TaskSpecification, *, detached: bool, idempotency_key: str | None = None
    ) -> Accepted | Refused:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken
        if self.refusal is not None:
            return self.refusal
        number = len(self.accepted)
        task = TaskId(digest_of("desk", number))
        assert idempotency_key is None or len(idempotency_key) <= 256
        assert await self.find_by_key(idempotency_key or "") is None, "two tasks under one key"
        self.specifications[task] = specification
        self.detached[task] = detached
        self.accepted[task] = TaskAccepted(
            task=task,
            epoch=Epoch(1),
            boot=1,
            number=number,
            specification=encode(specification),
            salt=b"s" * 16,
            price=Wei(10**18),
            detached=detached,
            idempotency_key=idempotency_key,
            accepted_at=NOW,
            deadline=UnixMillis(NOW + 600_000),
        )
        self.tell(task, Update(Stage.QUEUED, NOW))
        if self.draws:
            self.finish(task)
        return Accepted(task)

    def tell(self, task: TaskId, update: Update) -> None:
        self.stories.setdefault(task, []).append(update)
        news, self._news = self._news, trio.Event()
        news.set()

    def finish(self, task: TaskId) -> None:
        data = PNG + encode(self.specifications[task])
        artifact = Digest(hashlib.sha256(data).digest())
        self.artifacts[artifact] = data
        receipt = encode(receipt_for(task, artifact))
        self.ends[task] = TaskDone(task, 1, MINER, artifact, "image/png", receipt, NOW, 412)
        self.tell(task, Update(Stage.CLAIMED, NOW, 1, MINER))
        self.tell(task, Update(Stage.PROGRESS, NOW, 1, MINER, step=2, steps=4))
        self.tell(task, Update(Stage.DONE, NOW, 1, MINER, artifact=artifact, receipt=receipt))

    def fail(self, task: TaskId, reason: str) -> None:
        self.ends[task] = TaskFailed(task, reason, NOW)
        self.tell(task, Update(Stage.FAILED, NOW, reason=reason))

    @asynccontextmanager
    async def watch(self, task: TaskId) -> AsyncGenerator[AsyncIterator[Update]]:
        self.watching += 1
        try:
            async with aclosing(self._follow(task)) as updates:
                yield updates
        finally:
            self.watching -= 1

    async def _follow(self, task: TaskId) -> AsyncGenerator[Update]:
        told = 0
        while True:
            news = self._news
            for update in self.stories.get(task, [])[told:]:
                told += 1
                yield update
                if update.stage in {Stage.DONE, Stage.FAILED}:
                    return
            await news.wait()

    async def wait_for_tasks(self, count: int) -> list[TaskId]:
        """Wait until so many tasks were handed in."""
        while len(self.accepted) < count:
            await self._news.wait()
        return list(self.accepted)

    async def wait_for_cancelled(self, count: int) -> list[TaskId]:
        while len(self.cancelled) < count:
            await self._news.wait()
        return self.cancelled

    async def cancel(self, task: TaskId) -> None:
        await trio.lowlevel.checkpoint()
        self.cancelled.append(task)
        if task not in self.ends:
            self.fail(task, "cancelled")

    async def find(self, task: TaskId) -> StoredTask | None:
        await trio.lowlevel.checkpoint()
        accepted = self.accepted.get(task)
        end = self.ends.get(task)
        if accepted is None:
            return None
        return StoredTask(
            accepted, end if isinstance(end, TaskDone) else None, end if isinstance(end, TaskFailed) else None
        )

    async def find_by_key(self, idempotency_key: str) -> StoredTask | None:
        for task, accepted in self.accepted.items():
            if accepted.idempotency_key == idempotency_key:
                return await self.find(task)
        await trio.lowlevel.checkpoint()
        return None

    async def artifact(self, digest: Digest) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self.artifacts.get(digest)

    def models(self) -> tuple[OfferedModel, ...]:
        return (OfferedModel("tiny", ((64, 64), (128, 128)), 50, 3, 2),)

    def ready(self) -> tuple[bool, str]:
        return (not self.not_ready, self.not_ready)


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
            coordinator=coordinator, miner=MINER, cumulative=Wei(2**200), sequence=5, issued_total=Wei(2**201)
        ),
        voucher_signature=SIGNATURE,
    )
