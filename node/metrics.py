"""Domain events as Prometheus metrics, with names that an operator of the network knows.

Every label has few values: those that come from remote text are cut to the form of a stable name, and only the first
``MAX_LABEL_VALUES`` of a metric are told apart, so that a hostile peer cannot fill the memory with label values.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from protocol.notes import NoteName
from protocol.units import CAI, TaskId

MAX_LABEL_VALUES: Final = 64
"""Different reasons that one metric tells apart; the protocol has about 40 in all."""
MAX_TIMELINES: Final = 20_000
"""Tasks whose stages are timed at once, the most that one coordinator queues by default."""
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""From one local message to the longest picture (s)."""
_STABLE_NAME: Final = re.compile(r"[a-z0-9_.]{1,48}")
_MILLIS_PER_S: Final = 1000

_COUNTERS: Final[Mapping[NoteName, tuple[str, str, str]]] = {
    NoteName.TASK_ACCEPTED: ("cuckoo_tasks", "outcome", "accepted"),
    NoteName.TASK_REFUSED: ("cuckoo_tasks", "outcome", "refused"),
    NoteName.TASK_DONE: ("cuckoo_tasks", "outcome", "done"),
    NoteName.TASK_FAILED: ("cuckoo_tasks", "outcome", "failed"),
    NoteName.TASK_LEFT_PAID: ("cuckoo_tasks", "outcome", "left_paid"),
    NoteName.CLAIM_SENT: ("cuckoo_claims", "direction", "sent"),
    NoteName.CLAIM_RECEIVED: ("cuckoo_claims", "direction", "received"),
    NoteName.TASK_AWARDED: ("cuckoo_awards", "direction", "given"),
    NoteName.AWARD_RECEIVED: ("cuckoo_awards", "direction", "received"),
    NoteName.JOB_STARTED: ("cuckoo_jobs", "outcome", "started"),
    NoteName.JOB_FINISHED: ("cuckoo_jobs", "outcome", "finished"),
    NoteName.JOB_FAILED: ("cuckoo_jobs", "outcome", "failed"),
    NoteName.RESULT_SENT: ("cuckoo_results", "outcome", "sent"),
    NoteName.RESULT_RECEIVED: ("cuckoo_results", "outcome", "received"),
    NoteName.RESULT_REJECTED: ("cuckoo_results", "outcome", "rejected"),
    NoteName.TX_SENT: ("cuckoo_transactions", "outcome", "sent"),
    NoteName.TX_CONFIRMED: ("cuckoo_transactions", "outcome", "confirmed"),
    NoteName.TX_FAILED: ("cuckoo_transactions", "outcome", "failed"),
    NoteName.GOSSIP_ACCEPTED: ("cuckoo_gossip", "verdict", "accept"),
    NoteName.GOSSIP_IGNORED: ("cuckoo_gossip", "verdict", "ignore"),
    NoteName.GOSSIP_REJECTED: ("cuckoo_gossip", "verdict", "reject"),
}
"""Note -> (counter, label, value)."""

_REASONS: Final[Mapping[NoteName, tuple[str, str, str]]] = {
    NoteName.CLAIM_DECLINED: ("cuckoo_declines", "reason", "Claims declined, by reason"),
    NoteName.TASK_REFUSED: ("cuckoo_refusals", "reason", "Tasks refused at submission, by reason"),
    NoteName.TASK_FAILED: ("cuckoo_task_failures", "reason", "Tasks that ended without a picture, by reason"),
    NoteName.TASK_ABANDONED: ("cuckoo_abandons", "reason", "Attempts given up by their miner, by reason"),
    NoteName.TASK_LEASE_EXPIRED: ("cuckoo_lease_expiries", "reason", "Attempts taken from a miner, by reason"),
    NoteName.MINER_PAUSED: ("cuckoo_miner_pauses", "reason", "Miners left out for a while, by reason"),
    NoteName.RECHECK_PUT_OFF: ("cuckoo_rechecks_put_off", "reason", "Drawings of rechecks put off, by reason"),
    NoteName.RECHECK_STEPS: ("cuckoo_recheck_steps", "reason", "Drawings asked for steps, by what came of it"),
    NoteName.RECHECK_ENDED: ("cuckoo_rechecks", "reason", "Finished tasks that were drawn again, by what came of it"),
    NoteName.RESULT_REJECTED: ("cuckoo_result_rejections", "reason", "Results not taken, by reason"),
    NoteName.OFFER_SKIPPED: ("cuckoo_offers_skipped", "reason", "Offers that this miner left alone, by reason"),
    NoteName.JOB_FAILED: ("cuckoo_job_failures", "reason", "Jobs that the engine could not do, by reason"),
    NoteName.MESSAGE_DROPPED: ("cuckoo_messages_dropped", "reason", "Messages that did not fit a queue, by reason"),
    NoteName.MESSAGE_IGNORED: ("cuckoo_messages_ignored", "rule", "Messages that could not be used, by rule"),
    NoteName.GOSSIP_IGNORED: ("cuckoo_gossip_ignored", "rule", "Gossip not forwarded, by rule"),
    NoteName.GOSSIP_REJECTED: ("cuckoo_gossip_rejected", "rule", "Gossip held against its publisher, by rule"),
    NoteName.CHAIN_ENDPOINT_LEFT: ("cuckoo_chain_endpoints_left", "reason", "Chain nodes left for another, by reason"),
    NoteName.CHAIN_REBUILT: ("cuckoo_chain_rebuilds", "reason", "Times that all events were read anew, by reason"),
    NoteName.TX_REPLACED: ("cuckoo_transaction_repairs", "reason", "Transactions sent again or anew, by reason"),
    NoteName.TX_STUCK: ("cuckoo_transactions_stuck", "reason", "Transactions that do not get on, by reason"),
    NoteName.RELAY_REFUSED: ("cuckoo_relay_refusals", "reason", "Requests that this relay refused, by reason"),
    NoteName.RELAY_CARRIED: ("cuckoo_relay_circuits", "reason", "Circuits that this relay carried, by what ended them"),
    NoteName.RELAY_LOST: ("cuckoo_relays_lost", "reason", "Times that a relay did not let this node be reached"),
    NoteName.PEER_JUDGED: ("cuckoo_judgements", "rule", "Acts held against peers, by rule"),
    NoteName.COORDINATOR_REFUSED: ("cuckoo_coordinators_refused", "reason", "Coordinators refused work, by reason"),
    NoteName.REDEEM_WAITS: ("cuckoo_redemptions_waiting", "reason", "Times that vouchers could not be redeemed"),
    NoteName.REDEEM_FAILED: ("cuckoo_redemptions_failed", "reason", "Redemptions without effect, by reason"),
    NoteName.ENGINE_DOWN: (
        "cuckoo_engine_stops",
        "reason",
        "Times that the engine or a model stopped, by reason",
    ),
    NoteName.PEER_UNREACHABLE: ("cuckoo_dials_failed", "reason", "Peers that could not be dialled, by reason"),
    NoteName.EVIDENCE_FOUND: (
        "cuckoo_contradictions",
        "reason",
        "Statements found that contradict each other, by kind",
    ),
    NoteName.EVIDENCE_PROVEN: ("cuckoo_proofs", "reason", "Slashes that this node's evidence brought about, by kind"),
    NoteName.EVIDENCE_WAITS: ("cuckoo_evidence_waiting", "reason", "Times that evidence was not shown, by reason"),
    NoteName.EVIDENCE_SETTLED: ("cuckoo_evidence_settled", "reason", "Evidence that ended without a proof of ours"),
    NoteName.DISPUTE_ENDED: ("cuckoo_disputes", "reason", "Disputes with a part of this node, by how they ended"),
    NoteName.DISPUTE_CALLED: ("cuckoo_dispute_calls", "reason", "Steps of disputes that this node sent, by function"),
    NoteName.DISPUTE_CALL_FAILED: ("cuckoo_dispute_calls_failed", "reason", "And those without effect, by reason"),
    NoteName.DISPUTE_WAITS: ("cuckoo_disputes_waiting", "reason", "Times that a step was not sent, by reason"),
    NoteName.VERDICT_SIGNED: ("cuckoo_verdicts", "verdict", "What this node found as a juror"),
    NoteName.BUNDLE_REFUSED: ("cuckoo_bundles_refused", "reason", "Evidence not shown, or that proves nothing"),
    NoteName.BUNDLE_MISSING: ("cuckoo_bundles_missing", "reason", "Times that a reporter showed a juror nothing"),
}
"""Note -> (counter, label and field of the note, help)."""

_EVENTS: Final[Mapping[NoteName, tuple[str, str]]] = {
    NoteName.TASK_OFFERED: ("cuckoo_offers", "Offers published"),
    NoteName.RECHECK_ODD: ("cuckoo_recheck_odd", "Pictures that were not what two other miners drew"),
    NoteName.RECEIPT_RECEIVED: ("cuckoo_receipts", "Receipts received for finished work"),
    NoteName.PICTURE_WITHHELD: ("cuckoo_pictures_withheld", "Pictures that were drawn and are shown to nobody"),
    NoteName.KEYS_UNREADABLE: ("cuckoo_api_keys_unreadable", "Times that the changed file of API keys was unreadable"),
    NoteName.STORE_FULL: ("cuckoo_store_full", "Times that the disk was full and this node waited for space"),
    NoteName.PEER_BANNED: ("cuckoo_bans", "Peers banned for a while"),
    NoteName.ESCROW_LOW: ("cuckoo_escrow_warnings", "Times that little of the escrow was left to promise"),
    NoteName.BUNDLE_SHOWN: ("cuckoo_bundles_shown", "Times that evidence was shown to a juror"),
    NoteName.PAYMENT_SEEN: ("cuckoo_payments", "Payments to or from this node on the chain"),
    NoteName.GAS_LOW: ("cuckoo_gas_warnings", "Times that the gas account could pay for few transactions only"),
    NoteName.RECORD_STOPPED: ("cuckoo_record_stops", "Times that the record of gossip stopped"),
    NoteName.CHAIN_STALLED: ("cuckoo_chain_stalls", "Times that the chain did not answer or its head stood still"),
    NoteName.CHAIN_REORGANISED: ("cuckoo_chain_reorganisations", "Times that the chain replaced blocks we had seen"),
}
"""Note -> (counter without labels, help)."""

_STAGES: Final = (
    ("offer", NoteName.TASK_ACCEPTED, NoteName.TASK_OFFERED),
    ("claim", NoteName.TASK_OFFERED, NoteName.CLAIM_RECEIVED),
    ("award", NoteName.CLAIM_RECEIVED, NoteName.TASK_AWARDED),
    ("execution", NoteName.TASK_AWARDED, NoteName.RESULT_RECEIVED),
    ("delivery", NoteName.RESULT_RECEIVED, NoteName.TASK_DONE),
    ("total", NoteName.TASK_ACCEPTED, NoteName.TASK_DONE),
    ("answer", NoteName.CLAIM_SENT, NoteName.AWARD_RECEIVED),
    ("generation", NoteName.JOB_STARTED, NoteName.JOB_FINISHED),
    ("settlement", NoteName.RESULT_SENT, NoteName.RECEIPT_RECEIVED),
)
"""(stage, note that begins it, note that ends it)."""

_BEGUN_BY: Final = {name: tuple(stage for stage, begin, _ in _STAGES if begin is name) for name in NoteName}
_ENDED_BY: Final = {name: tuple(stage for stage, _, end in _STAGES if end is name) for name in NoteName}
_LAST: Final = frozenset({NoteName.TASK_DONE, NoteName.TASK_FAILED, NoteName.RECEIPT_RECEIVED, NoteName.JOB_FAILED})
"""After these nothing of a task is timed any more."""
_STATES: Final = frozenset(
    {
        NoteName.PEER_UP,
        NoteName.PEER_DOWN,
        NoteName.ENGINE_UP,
        NoteName.ENGINE_DOWN,
        NoteName.GAS_BALANCE,
        NoteName.NODES_INACTIVE,
        NoteName.ESCROW_SEEN,
        NoteName.PAYMENT_SEEN,
        NoteName.RECHECK_ORDERED,
        NoteName.RECEIPT_RECEIVED,
    }
)
"""What tells of something that goes up and down, or of money."""


@final
class DomainMetrics:
    """All metrics of one node, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry, timer: Callable[[], float] = time.perf_counter) -> None:
        """Register the metrics; ``timer`` gives seconds that never go back."""
        self._timer = timer
        names = {name: label for name, label, _ in _COUNTERS.values()}
        counters = {
            name: Counter(name, f"{_title(name)}, by {label}", [label], registry=registry)
            for name, label in names.items()
        }
        self._counters = {note: counters[name].labels(value) for note, (name, _, value) in _COUNTERS.items()}
        self._reasons = {
            note: (label, _BoundedCounter(Counter(name, text, [label], registry=registry)))
            for note, (name, label, text) in _REASONS.items()
        }
        self._events = {note: Counter(name, text, registry=registry) for note, (name, text) in _EVENTS.items()}
        self._peers = Gauge(
            "cuckoo_peers", "Peers connected now, by what they were when they came", ["kind"], registry=registry
        )
        self._kinds: dict[str, str] = {}
        self._engine = Gauge("cuckoo_engine_up", "1 while the engine answers", registry=registry)
        self._gas = Gauge("cuckoo_gas_transactions", "Transactions that the gas account can pay for", registry=registry)
        self._inactive = Gauge("cuckoo_nodes_inactive", "Registered nodes that are inactive now", registry=registry)
        self._open = Gauge("cuckoo_tasks_open", "Tasks accepted in this run that have not ended", registry=registry)
        self._earned = Counter("cuckoo_earned_cai", "CAI promised to this miner by receipts", registry=registry)
        self._paid = Counter("cuckoo_paid_cai", "CAI that vouchers of this node were redeemed for", registry=registry)
        self._rechecked = Counter("cuckoo_recheck_cai", "CAI ordered for rechecks", registry=registry)
        self._escrow = Gauge("cuckoo_escrow_cai", "CAI in the escrow, less withdrawals", registry=registry)
        self._free = Gauge(
            "cuckoo_escrow_free_cai", "CAI of the escrow beyond all that is promised and under way", registry=registry
        )
        self._seconds = Histogram(
            "cuckoo_task_seconds", "Time of one task, by stage", ["stage"], buckets=BUCKETS_S, registry=registry
        )
        self._stages: dict[str, Histogram] = {}
        """Of those that were measured; to find one by its label costs more than to count in it."""
        self._timelines: OrderedDict[TaskId, dict[str, float]] = OrderedDict()
        self._accepted: set[TaskId] = set()
        ProcessCollector(registry=registry)

    def count(self, name: NoteName, task: TaskId | None, fields: Mapping[str, str | int]) -> None:
        """Take one domain event into account."""
        if (counter := self._counters.get(name)) is not None:
            counter.inc()
        if (event := self._events.get(name)) is not None:
            event.inc()
        if (reason := self._reasons.get(name)) is not None:
            label, bounded = reason
            bounded.count(str(fields.get(label) or fields.get("reason") or fields.get("rule") or "unknown"))
        if name in _STATES:
            self._count_state(name, fields)
        if task is not None:
            self._time(name, task, fields)

    def _count_state(self, name: NoteName, fields: Mapping[str, str | int]) -> None:
        """Follow what goes up and down."""
        match name:
            case NoteName.PEER_UP:
                self._leave(fields)
                kind = str(fields.get("standing", "unknown"))
                self._kinds[str(fields.get("peer"))] = kind
                self._peers.labels(kind).inc()
            case NoteName.PEER_DOWN:
                self._leave(fields)
            case NoteName.ENGINE_UP:
                self._engine.set(1)
            case NoteName.ENGINE_DOWN:
                self._engine.set(0)
            case NoteName.GAS_BALANCE:
                self._gas.set(_whole(fields.get("transactions")))
            case NoteName.NODES_INACTIVE:
                self._inactive.set(_whole(fields.get("nodes")))
            case NoteName.ESCROW_SEEN:
                self._escrow.set(_whole(fields.get("escrow_wei")) / CAI)
                self._free.set(_whole(fields.get("free_wei")) / CAI)
            case NoteName.PAYMENT_SEEN:
                self._paid.inc(_whole(fields.get("wei")) / CAI)
            case NoteName.RECHECK_ORDERED:
                self._rechecked.inc(_whole(fields.get("wei")) / CAI)
            case NoteName.RECEIPT_RECEIVED:
                self._earned.inc(_whole(fields.get("wei")) / CAI)
            case _:
                pass

    def _leave(self, fields: Mapping[str, str | int]) -> None:
        """Count a peer no more. Those that are here are as many as the overlay lets in."""
        kind = self._kinds.pop(str(fields.get("peer")), None)
        if kind is not None:
            self._peers.labels(kind).dec()

    def _time(self, name: NoteName, task: TaskId, fields: Mapping[str, str | int]) -> None:
        """Measure the stages that this event begins and ends."""
        begun, ended = _BEGUN_BY[name], _ENDED_BY[name]
        if begun or ended:
            now = self._timer()
            timeline = self._timelines.get(task, {})
            for stage in ended:
                if (since := timeline.pop(stage, None)) is not None:
                    self._observe(stage, now - since)
            for stage in begun:
                # Several claims may come for one offer: the wait for the award counts from the first.
                if not (name is NoteName.CLAIM_RECEIVED and stage in timeline):
                    timeline[stage] = now
            if begun and task not in self._timelines:
                self._timelines[task] = timeline
                if len(self._timelines) > MAX_TIMELINES:
                    self._timelines.popitem(last=False)
        if name is NoteName.TASK_DONE and "generation_ms" in fields:
            self._observe("generation", _whole(fields["generation_ms"]) / _MILLIS_PER_S)
        if name is NoteName.TASK_ACCEPTED:
            self._accepted.add(task)
            self._open.set(len(self._accepted))
        elif name in _LAST:
            self._timelines.pop(task, None)
            self._accepted.discard(task)
            self._open.set(len(self._accepted))

    def _observe(self, stage: str, seconds: float) -> None:
        histogram = self._stages.get(stage)
        if histogram is None:
            histogram = self._stages[stage] = self._seconds.labels(stage)
        histogram.observe(seconds)


@final
class _BoundedCounter:
    """A counter whose one label takes stable names only, and not too many of them."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._children: dict[str, Counter] = {}

    def count(self, value: str) -> None:
        """Count under this value, or under ``other`` when it is no stable name or one too many."""
        child = self._children.get(value)
        if child is None:
            if len(self._children) >= MAX_LABEL_VALUES or not _STABLE_NAME.fullmatch(value):
                self._counter.labels("other").inc()
                return
            child = self._children[value] = self._counter.labels(value)
        child.inc()


def _title(name: str) -> str:
    return name.removeprefix("cuckoo_").replace("_", " ").capitalize()


def _whole(value: str | int | None) -> int:
    """Read a field that holds a whole number, also one too large for JSON and therefore text; 0 when it is none."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() else 0
    return value or 0
