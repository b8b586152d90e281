"""From a request to its pictures: complete it, hand in its tasks, and wait until they end or the app leaves."""

import hashlib
import secrets
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, final

import trio
from fastapi import Request

from node.adapters.http.accounts import Account
from node.adapters.http.beginnings import NOTHING, Beginning, nearest_size
from node.adapters.http.errors import RETRY_AFTER_S, ApiError, impossible, invalid, refused, unavailable
from node.adapters.http.requests import ImagesRequest, PictureRequest, parse_size
from node.adapters.http.settings import HttpSettings
from node.adapters.http.spending import Reservation, Spending
from node.adapters.http.waits import Turns, Wait, leaving_of
from node.desk_ports import Desk
from node.ports import Journal
from protocol.effects import Accepted, Stage, Update
from protocol.errors import Unavailable
from protocol.notes import NoteName
from protocol.task.catalog import Catalog, Impossible
from protocol.task.priority import Priority
from protocol.units import Digest, StakingId, TaskId, Wei
from protocol.wire.codec import SPECIFICATION_PLACE, decode, encode
from protocol.wire.messages import TaskSpecification

MAX_KEY_CHARACTERS: Final = 255
"""Longest Idempotency-Key, as other APIs have it."""
CANCEL_LIMIT_S: Final = 1.0
"""How long (s) a call that ends early tries to hand in the cancellation of its tasks."""
_SEED_BITS: Final = 53
"""Seeds that we draw are exact in the numbers of JavaScript too."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One task that ended well."""

    task: TaskId
    miner: StakingId
    attempt: int
    artifact: Digest


@dataclass(frozen=True, slots=True)
class Order:
    """The tasks of one request, and what each asks for."""

    specifications: tuple[TaskSpecification, ...]
    tasks: tuple[TaskId, ...]
    detached: bool


@final
class Orders:
    """Hands in tasks for apps."""

    def __init__(
        self, desk: Desk, catalog: Catalog, journal: Journal, settings: HttpSettings, spending: Spending
    ) -> None:
        """Work with this desk, within what ``spending`` allows."""
        self._desk = desk
        self._catalog = catalog
        self._journal = journal
        self._settings = settings
        self._spending = spending
        self._turns = Turns()
        self._waits: set[Wait] = set()
        self._placing = 0
        self._is_closed = False
        self._is_stopping = False
        self._quiet = trio.Event()

    @property
    def is_closed(self) -> bool:
        """Say whether no more tasks are taken."""
        return self._is_closed

    async def drain(self) -> None:
        """Take no more tasks from now on, and wait until no call waits for its pictures."""
        self._is_closed = True
        while self._waits or self._placing:
            self._quiet = trio.Event()
            await self._quiet.wait()

    def stop(self) -> None:
        """End all waiting, and that of calls to come: the node stops."""
        self._is_closed = self._is_stopping = True
        for wait in self._waits:
            wait.end(_stopping())

    async def place(
        self,
        request: PictureRequest,
        account: Account,
        *,
        count: int,
        key: str | None,
        detached: bool,
        beginning: Beginning = NOTHING,
        collected: bool = False,
        sealed: bytes | None = None,
        may_be_disputed: bool = False,
    ) -> Order:
        """Hand in ``count`` tasks with consecutive seeds.

        ``key`` is the app's Idempotency-Key: the same key gives the same tasks again, also after a restart.
        ``detached`` tasks go on when the app leaves; with a key they always do. ``collected`` ones end with a picture
        only on the app's word. Those that ``may_be_disputed`` may be shown to jurors. A ``sealed`` body stands for
        prompts and seed.

        Raises:
            ApiError: the request is wrong, impossible, or not taken now.
        """
        if self._is_closed:
            raise _stopping()
        name = _check_key(key)
        seed = _seed_of(account, name) if name else None
        specifications = self._complete(request, count, seed, beginning, sealed)
        # Each task has a key, drawn here where there is none, since the key in the store tells to whom it belongs.
        told = _Submission(
            account=account,
            name=name or f"drawn {secrets.token_hex(16)}",
            urgency=Priority(request.priority or Priority.NORMAL),
            inputs=beginning.inputs,
            detached=detached or name is not None,
            collected=collected,
            may_be_disputed=may_be_disputed,
        )
        with self.noted():
            if name is None:
                tasks = await self._submit_all(specifications, told)
            else:
                async with self._turns.alone(account.scope, name):
                    tasks = await self._submit_or_find(specifications, told)
        return Order(specifications, tasks, told.detached)

    async def placed_before(self, account: Account, key: str) -> TaskSpecification | None:
        """Give what the first task asks for that was handed in with this Idempotency-Key, if there is one."""
        found = await self._desk.find_by_key(account.storage_key(f"given {key}", 0))
        return None if found is None else decode(found.accepted.specification, SPECIFICATION_PLACE)

    def check(self, request: PictureRequest, beginning: Beginning) -> None:
        """Look at a request for one picture whose source is not here.

        Raises:
            ApiError: it is wrong, impossible, or not taken now, whatever the source.
        """
        if self._is_closed:
            raise _stopping()
        self._complete(request, 1, None, beginning, None)

    @contextmanager
    def noted(self) -> Generator[None]:
        """Count an order that is being handed in, or followed: draining waits for it."""
        self._placing += 1
        try:
            yield
        finally:
            self._placing -= 1
            self._quiet.set()

    async def collect(self, order: Order, request: Request) -> tuple[Picture, ...]:
        """Wait for all pictures, in order; tasks that are not detached are cancelled when this does not succeed.

        Raises:
            ApiError: a task failed, the time is over, or the node stops.
            ClientGone: the app left.
        """
        ended: dict[TaskId, Picture] = {}
        try:
            scope = trio.CancelScope(deadline=trio.current_time() + self._settings.task_timeout_s)
            wait = Wait(scope)
            with scope, self._ended_by_stop(wait), leaving_of(request).tells(wait.end_for_client):
                if len(order.tasks) == 1:
                    await self._follow(order.tasks[0], ended, wait)
                else:
                    await self._follow_all(order, ended, wait)
            if wait.problem is not None:
                raise wait.problem
            if not ended.keys() >= set(order.tasks):
                limit_s = self._settings.task_timeout_s
                raise ApiError(504, "timeout", f"no picture within {limit_s:g} s")
            return tuple(ended[task] for task in order.tasks)
        finally:
            left = () if order.detached else [task for task in order.tasks if task not in ended]
            if left:
                await self.cancel(left)

    @contextmanager
    def _ended_by_stop(self, wait: Wait) -> Generator[None]:
        """End this wait, too, when the node stops."""
        self._waits.add(wait)
        if self._is_stopping:
            wait.end(_stopping())
        try:
            yield
        finally:
            self._waits.discard(wait)
            self._quiet.set()

    async def _follow_all(self, order: Order, ended: dict[TaskId, Picture], wait: Wait) -> None:
        async with trio.open_nursery() as followers:
            for task in set(order.tasks):
                followers.start_soon(self._follow, task, ended, wait)

    async def cancel(self, tasks: Sequence[TaskId]) -> None:
        """Stop these tasks, also while we are being cancelled ourselves."""
        with trio.move_on_after(CANCEL_LIMIT_S, shield=True):
            for task in tasks:
                await self._desk.cancel(task)

    def _complete(
        self, request: PictureRequest, count: int, seed: int | None, beginning: Beginning, sealed: bytes | None
    ) -> tuple[TaskSpecification, ...]:
        """Fill in what the app left out; ``seed`` stands in for one it did not give."""
        model = self._catalog.resolve(request.model)
        size = parse_size(request.size)
        if size is None:
            size = beginning.size_for(model)
        elif self._settings.nearest_sizes and model is not None:
            size = nearest_size(model, size)
        first = request.seed if request.seed is not None else seed
        if first is None:
            first = secrets.randbits(_SEED_BITS)
        specifications: list[TaskSpecification] = []
        for index in range(count):
            completed = self._catalog.complete(
                request.prompt,
                seed=first + index,
                model=request.model,
                negative_prompt=request.negative_prompt or "",
                size=size,
                steps=request.steps,
                guidance=request.guidance,
                source=beginning.source,
                mask=beginning.mask,
                strength=beginning.strength,
                scheduler=request.scheduler,
                output=request.output_format or "png",
                quality=_quality_of(request),
                embed_prompt=request.embed_prompt or False,
                sealed=sealed,
            )
            if isinstance(completed, Impossible):
                self._journal.note(NoteName.TASK_REFUSED, reason=completed.code)
                raise impossible(completed)
            specifications.append(completed)
        return tuple(specifications)

    async def _submit_all(self, specifications: Sequence[TaskSpecification], told: "_Submission") -> tuple[TaskId, ...]:
        tasks: list[TaskId] = []
        with await self._reserve(told.account, specifications) as reservation:
            try:
                for index, specification in enumerate(specifications):
                    tasks.append(await self._submit(specification, index, told, reservation))
            except BaseException:
                await self.cancel(tasks)
                raise
        return tuple(tasks)

    async def _submit_or_find(
        self, specifications: Sequence[TaskSpecification], told: "_Submission"
    ) -> tuple[TaskId, ...]:
        """Find the tasks of an earlier request with this key, or hand them in; a crash between two is mended."""
        if await self._desk.find_by_key(told.storage_key(len(specifications))) is not None:
            raise _conflict()
        tasks: dict[int, TaskId] = {}
        for index, specification in enumerate(specifications):
            found = await self._desk.find_by_key(told.storage_key(index))
            if found is not None and found.accepted.specification != encode(specification):
                raise _conflict()
            if found is not None:
                tasks[index] = found.accepted.task
        missing = {index: one for index, one in enumerate(specifications) if index not in tasks}
        with await self._reserve(told.account, missing.values()) as reservation:
            for index, specification in missing.items():
                tasks[index] = await self._submit(specification, index, told, reservation)
        return tuple(tasks[index] for index in range(len(specifications)))

    async def _reserve(self, account: Account, specifications: Iterable[TaskSpecification]) -> Reservation:
        """Set aside what these cost, where the caller has a limit."""
        price = sum(self._desk.price(specification) for specification in specifications)
        return await self._spending.reserve(account.key, Wei(price))

    async def _submit(
        self, specification: TaskSpecification, index: int, told: "_Submission", reservation: Reservation
    ) -> TaskId:
        try:
            answer = await self._desk.submit(
                specification,
                detached=told.detached,
                idempotency_key=told.storage_key(index),
                priority=told.urgency,
                account=told.account.share,
                inputs=told.inputs,
                collected=told.collected,
                may_be_disputed=told.may_be_disputed,
            )
        except Unavailable as error:
            raise unavailable(error) from error
        if isinstance(answer, Accepted):
            reservation.spend(self._desk.price(specification))
            return answer.task
        raise refused(answer)

    async def _follow(self, task: TaskId, ended: dict[TaskId, Picture], wait: Wait) -> None:
        """Wait for the end of one task; its failure ends the whole wait."""
        try:
            end = await self._desk.ended(task)
        except Unavailable as error:
            wait.end(unavailable(error))
            return
        if end is None:
            wait.end(ApiError(502, "task_failed", "the task failed: unknown"))
        elif end.stage is Stage.FAILED:
            wait.end(failure(end))
        else:
            assert end.artifact is not None, "DONE names its artifact"
            assert end.miner is not None, "DONE names its miner"
            ended[task] = Picture(task, end.miner, end.attempt, end.artifact)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Submission:
    """What all tasks of a request have in common."""

    account: Account
    name: str
    urgency: Priority
    inputs: Mapping[Digest, bytes]
    detached: bool
    collected: bool
    may_be_disputed: bool

    def storage_key(self, index: int) -> str:
        """Give the store's key of the task ``index``."""
        return self.account.storage_key(self.name, index)


def _quality_of(request: PictureRequest) -> int | None:
    """Give the quality that was asked for, in our word or in OpenAI's, which says nothing of a PNG."""
    if request.output_quality is not None or not isinstance(request, ImagesRequest):
        return request.output_quality
    if request.output_format != "webp" or request.output_compression is None:
        return None
    return max(1, request.output_compression)


def _check_key(key: str | None) -> str | None:
    """Check what the app sent as Idempotency-Key."""
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isascii() or not key.isprintable():
        raise invalid(f"Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} printable ASCII characters", "Idempotency-Key")
    return f"given {key}"


def _seed_of(account: Account, name: str) -> int:
    """Derive the seed of a request that has a key but no seed, so that a repeated request asks for the same."""
    digest = hashlib.sha256(account.storage_key(name, 0).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)


def _stopping() -> ApiError:
    return ApiError(503, "stopping", "this node is stopping", retry_after_s=RETRY_AFTER_S)


def _conflict() -> ApiError:
    return ApiError(
        409, "idempotency_conflict", "this Idempotency-Key was used with another request", "Idempotency-Key"
    )


def failure(update: Update) -> ApiError:
    """Say why a task ended without a picture."""
    reason = update.reason or "unknown"
    if reason == "no_miner":
        return ApiError(503, "no_miner", "no miner took the task in time", retry_after_s=RETRY_AFTER_S)
    if reason == "content_policy":
        detail = "content policy: every miner that serves this model refuses the prompt by its owner's rules"
        return ApiError(400, "content_policy", detail, "prompt")
    if reason == "picture_refused":
        detail = "content policy: the picture was made, and this coordinator withholds it"
        return ApiError(400, "content_policy_violation", detail)
    if reason == "not_reviewed":
        detail = "the picture was made, and nobody can look at it now: ask for its task again soon"
        return ApiError(503, "unavailable", detail, retry_after_s=RETRY_AFTER_S)
    if reason in {"deadline", "timeout"}:
        return ApiError(504, "timeout", f"the task did not end in time: {reason}")
    return ApiError(502, "task_failed", f"the task failed: {reason}")
