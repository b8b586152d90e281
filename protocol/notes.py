"""The names of all domain events that cores and adapters note, with the level at which people want to see them.

One straight line of a task is: ``task.accepted task.offered claim.sent claim.received task.awarded award.received
job.started job.finished result.sent result.received task.done receipt.received``. An end-to-end test asserts it.
"""

from enum import StrEnum


class NoteName(StrEnum):
    """Every domain event. The part before the dot is the subject."""

    NODE_READY = "node.ready"
    NODE_STOPPING = "node.stopping"
    PEER_UP = "peer.up"
    PEER_DOWN = "peer.down"
    PEER_UNREACHABLE = "peer.unreachable"
    PEER_JUDGED = "peer.judged"
    PEER_BANNED = "peer.banned"
    GOSSIP_ACCEPTED = "gossip.accepted"
    GOSSIP_IGNORED = "gossip.ignored"
    GOSSIP_REJECTED = "gossip.rejected"
    MESSAGE_IGNORED = "message.ignored"
    MESSAGE_DROPPED = "message.dropped"
    STAKE_TABLE = "stake.table"
    CHAIN_STALLED = "chain.stalled"
    CHAIN_REORGANISED = "chain.reorganised"
    TASK_ACCEPTED = "task.accepted"
    TASK_REFUSED = "task.refused"
    TASK_OFFERED = "task.offered"
    TASK_AWARDED = "task.awarded"
    TASK_LEASE_EXPIRED = "task.lease_expired"
    TASK_ABANDONED = "task.abandoned"
    TASK_DONE = "task.done"
    TASK_FAILED = "task.failed"
    CLAIM_SENT = "claim.sent"
    CLAIM_RECEIVED = "claim.received"
    CLAIM_DECLINED = "claim.declined"
    OFFER_SKIPPED = "offer.skipped"
    AWARD_RECEIVED = "award.received"
    JOB_STARTED = "job.started"
    JOB_PROGRESS = "job.progress"
    JOB_FINISHED = "job.finished"
    JOB_FAILED = "job.failed"
    RESULT_SENT = "result.sent"
    RESULT_RECEIVED = "result.received"
    RESULT_REJECTED = "result.rejected"
    RECEIPT_RECEIVED = "receipt.received"
    ENGINE_UP = "engine.up"
    ENGINE_DOWN = "engine.down"
    CAPABILITY_RECEIVED = "capability.received"
