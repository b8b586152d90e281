"""Records of an earlier run become living state again. Spec: SPEC.md §9.5."""

from protocol.crypto.typed_data import Domain, digest
from protocol.records import TaskAccepted, TaskAwarded
from protocol.task.states import AwardedAttempt, Task, TaskState
from protocol.units import PeerId, UnixMillis
from protocol.wire.codec import AWARD_PLACE, SPECIFICATION_PLACE, decode


def restore_task(record: TaskAccepted) -> Task:
    """Make a task of its record: also how a new task begins, so that both are the same by construction."""
    return Task(
        id=record.task,
        epoch=record.epoch,
        boot=record.boot,
        number=record.number,
        specification=decode(record.specification, SPECIFICATION_PLACE),
        encoded=record.specification,
        salt=record.salt,
        price=record.price,
        detached=record.detached,
        idempotency_key=record.idempotency_key,
        accepted_at=record.accepted_at,
        deadline=record.deadline,
        account=record.account,
        input_bytes=record.input_bytes,
        collected=record.collected,
        may_be_disputed=record.may_be_disputed,
    )


def restore_award(task: Task, record: TaskAwarded, domain: Domain, now: UnixMillis) -> None:
    """Give a task back an award of an earlier run. The latest one holds the lease; any of them may still deliver."""
    award = decode(record.award, AWARD_PLACE)
    task.failures = len(task.awards)
    task.excluded = frozenset(earlier.miner for earlier in task.awards.values()) - {record.miner}
    task.awards[record.attempt] = AwardedAttempt(
        attempt=record.attempt,
        miner=record.miner,
        peer=PeerId(""),  # not on the line yet; see Assignment.on_miner_back
        award=award,
        award_digest=digest(domain, award.statement),
        awarded_at=record.awarded_at,
        rank=None,
        last_alive=now,
        progress_deadline=task.deadline,
    )
    if record.attempt >= task.attempt:
        task.attempt = record.attempt
        if task.state is TaskState.QUEUED:
            task.move(TaskState.AWARDED)
