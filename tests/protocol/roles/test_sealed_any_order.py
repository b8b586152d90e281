"""Whatever apps and miners of sealed tasks say, in whatever order: nothing raises, each task ends once, and is paid by
its app's word alone."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import NodeKey
from protocol.effects import Effect, Send
from protocol.events import (
    Acceptance,
    AppLeft,
    AppReturned,
    KeyGiven,
    PictureRejected,
    StreamClosed,
    TaskCancelled,
    TaskSubmitted,
    TaskTaken,
)
from protocol.records import TaskAccepted, TaskDone, TaskFailed, VoucherIssued
from protocol.task.acceptance import sign_acceptance
from protocol.units import Digest, TaskId
from protocol.wire.messages import Abandon, Alive, Award, Preview
from tests.protocol.roles.frames import NETWORK_ID, SPECIFICATION, artifact_of, result_of
from tests.protocol.roles.sealed_seat import APP, KEY, SealedSeat
from tests.protocol.roles.sealing import SEALED, award_digest, sealed_picture
from tests.protocol.roles.seats import persisted
from tests.support.networks import ALICE, BOB
from tests.support.pictures import vp8, webp

MINERS = (ALICE, BOB)
ACTIONS = (
    *("submit", "plain", "claim", "key", "draw", "claim and key", "claim and key", "to ready", "to ready"),
    *("accept", "accept", "take", "reject", "reject", "abandon", "abandon", "late_key", "other_key", "garbage", "tiny"),
    *("alive", "preview", "leave", "return", "cancel", "close", "greet", "greet", "wait", "wait", "wait_long"),
)
WHYS = ("no_key", "sealed_invalid", "content_policy", "failed", "no_claim", "input_invalid")
STATES = ("queued", "loading", "step", "encoding")
LIFE_MS = 1_300_000
"""Longer than any task lives (ms)."""


class Fair:
    """A coordinator, its miners and its apps; each step is one thing that somebody says."""

    def __init__(self) -> None:
        self.seat = SealedSeat(miners=MINERS)
        self.tasks: list[TaskId] = []
        self.awards: dict[TaskId, list[tuple[NodeKey, Award]]] = {}
        self.effects: list[Effect] = []

    def take(self, effects: tuple[Effect, ...]) -> None:
        self.effects.extend(effects)
        for effect in effects:
            match effect:
                case Send(peer=peer, message=Award() as award):
                    by = next(miner for miner in MINERS if miner.peer_id == peer)
                    assert award.statement.miner == self.seat.number(by), "a key goes to its winner alone"
                    bare = award.model_copy(update={"sealed_key": None})
                    known = self.awards.setdefault(TaskId(award.statement.task), [])
                    if (by, bare) not in known:
                        known.append((by, bare))
                case _:
                    pass

    def do(self, action: str, which: int) -> None:
        seat, miner = self.seat, MINERS[which % 2]
        match action:
            case "submit" | "plain":
                work = SEALED if action == "submit" else SPECIFICATION
                event = TaskSubmitted(1, work, True, f"{len(self.tasks)}", account=f"app{which % 2}", collected=True)
                effects = seat.hear(event)
                self.tasks += [record.task for record in persisted(effects, TaskAccepted)]
                self.take(effects + seat.wait(20))
            case "close":
                self.take(seat.hear(StreamClosed(miner.peer_id)))
            case "greet":
                self.take(seat.greet(miner))
            case "wait":
                self.take(seat.wait(which))
            case "wait_long":
                self.take(seat.wait(11_000 + which))
            case _ if self.tasks:
                self._about(action, which, self.tasks[which // 2 % len(self.tasks)], miner)
            case _:
                pass

    def _about(self, action: str, which: int, task: TaskId, miner: NodeKey) -> None:
        seat = self.seat
        match action:
            case "claim":
                self.take(seat.say(miner, seat.claim(miner, task)) + seat.wait(300))
            case "claim and key" | "to ready":
                for part in ("claim", "key", "draw")[: 2 if action == "claim and key" else 3]:
                    self._about(part, which, task, miner)
            case "leave":
                self.take(seat.hear(AppLeft(task, seat.now)))
            case "return":
                self.take(seat.hear(AppReturned(task)))
            case "cancel":
                self.take(seat.hear(TaskCancelled(task)))
            case "take":
                self.take(seat.hear(TaskTaken(task)))
            case "reject":
                known = seat.core.task(task)
                attempt = which % 4 if which % 3 == 0 or known is None or known.ready is None else known.ready
                self.take(seat.hear(PictureRejected(task, attempt)))
            case "other_key":
                self.take(seat.hear(KeyGiven(task, which % 4, Digest(bytes(32)), KEY)))
            case _ if task in self.awards:
                given = self.awards[task]
                self._award(action, which, *given[which % len(given) if action == "late_key" else -1])
            case _:
                pass

    def _award(self, action: str, which: int, by: NodeKey, award: Award) -> None:
        seat, statement = self.seat, award.statement
        task, attempt = TaskId(statement.task), statement.attempt
        artifact = Digest(result_of(award, data=sealed_picture(award)).commitment.artifact)
        match action:
            case "key" | "late_key":
                self.take(seat.hear(KeyGiven(task, attempt, award_digest(award), KEY)))
            case "draw" | "garbage" | "tiny":
                data = {"draw": sealed_picture(award), "garbage": bytes(100 + which % 50), "tiny": b"tiny"}[action]
                self.take(seat.say(by, result_of(award, by=by, data=data, miner=statement.miner)))
                self.take(seat.hear(artifact_of(award, by=by, data=data)))
            case "accept":
                signature = sign_acceptance(APP, NETWORK_ID, award_digest(award), artifact)
                self.take(seat.hear(TaskTaken(task, Acceptance(APP.peer_id, attempt, signature))))
            case "abandon":
                self.take(seat.say(by, Abandon(task=task, attempt=attempt, reason=WHYS[which % len(WHYS)])))
            case "alive":
                state = STATES[which % 4]
                step = which % 10 if state == "step" else 0
                self.take(
                    seat.say(by, Alive(task=task, attempt=attempt, state=state, step=step, steps=10, wait_ms=1000))  # type: ignore[arg-type]
                )
            case "preview":
                self.take(seat.say(by, Preview(task=task, attempt=attempt, data=webp(vp8(64, 64)))))
            case _:
                pass


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 6000)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_sealed_tasks__anything_said_in_any_order__each_ends_once_and_is_paid_by_its_apps_word_alone(
    steps: list[tuple[str, int]],
) -> None:
    fair = Fair()
    fair.do("submit", 0)
    fair.do("to ready", 0)
    for action, which in steps:
        fair.do(action, which)
    fair.take(fair.seat.wait(LIFE_MS))
    for miner in MINERS:
        fair.take(fair.seat.hear(StreamClosed(miner.peer_id)) + fair.seat.greet(miner))
    done, failed = persisted(fair.effects, TaskDone), persisted(fair.effects, TaskFailed)
    assert sorted([one.task for one in done] + [one.task for one in failed]) == sorted(fair.tasks)
    sealed = {record.task for record in persisted(fair.effects, TaskAccepted) if b"sealed" in record.specification}
    assert all((one.acceptance is not None) == (one.task in sealed) for one in done)
    assert len(persisted(fair.effects, VoucherIssued)) == len(done)
    assert not fair.seat.core.waiting()
    assert not {key for key in fair.seat.timers if key[1] in fair.tasks}, "no clock of a task outlives it"
