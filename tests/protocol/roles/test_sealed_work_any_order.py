"""Whatever a coordinator and the engine say of sealed jobs, in whatever order: nothing raises, and nothing of them is
sent or kept but what their own app opens."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.sealing import open_picture, seal_body
from protocol.effects import Effect, StartJob
from protocol.errors import InvalidMessage
from protocol.events import JobFailed, JobProgress, ServiceChanged, StreamClosed, StreamOpened
from protocol.records import ArtifactStored
from protocol.units import TaskId
from protocol.wire.codec import encode
from protocol.wire.messages import Award, Cancel, Claim, Reject
from protocol.wire.sealed_messages import SealedBody
from protocol.wire.specification import TaskSpecification
from tests.protocol.roles.frames import CAROL_ID, award_of, hello
from tests.protocol.roles.sealing import CONTENT_KEY, SEALED, award_digest, with_key
from tests.protocol.roles.seats import MinerSeat, of_kind, persisted
from tests.protocol.roles.test_sealed_work import public_key
from tests.support.networks import CAROL

BODIES = (
    encode(SealedBody(prompt="x", seed=0)),
    encode(SealedBody(prompt="x" * 2000, negative_prompt="y" * 2000, seed=2**63 - 1, embed_prompt=True)),
    b"no body",
    b"",
)
OUTPUTS: tuple[dict[str, object], ...] = ({}, {"output": "webp"}, {"output": "webp", "quality": 5})
STATES = ("queued", "loading", "step", "encoding")
REASONS = ("app_gone", "lease_expired", "superseded")
ACTIONS = (
    *("offer", "offer again", "award", "award", "key", "key", "other key", "garbage", "cancel", "cancel"),
    *("progress", "finish", "finish", "fail", "reject", "wait", "long wait", "line", "service"),
)


class Bench:
    """A miner; each step is one thing that its coordinator or its engine says."""

    def __init__(self) -> None:
        self.seat = MinerSeat(places=3)
        self.to = public_key(self.seat)
        self.claims: list[Claim] = []
        self.awards: list[Award] = []
        self.effects: list[Effect] = []

    def take(self, effects: tuple[Effect, ...]) -> None:
        self.claims += of_kind(effects, Claim)
        self.effects.extend(effects)

    def do(self, action: str, which: int) -> None:
        seat = self.seat
        match action:
            case "offer":
                self.take(seat.offer())
            case "offer again":
                self.take(seat.offer(which % 3, wait_ms=3000))
            case "award" if self.claims:
                sealed = seal_body(CONTENT_KEY, BODIES[which % 4])
                fields = SEALED.model_dump() | {"sealed": sealed} | OUTPUTS[which % 3]
                work = SEALED if which % 5 == 0 else TaskSpecification.model_validate(fields)
                award = award_of(self.claims.pop(), work=work)
                self.awards.append(award)
                self.take(seat.say(CAROL, with_key(award, self.to) if which % 2 else award))
            case "wait":
                self.take(seat.wait(which))
            case "long wait":
                self.take(seat.wait(10_000 + which))
            case "line":
                self.take(seat.hear(StreamClosed(CAROL.peer_id)) + seat.hear(StreamOpened(CAROL.peer_id)))
                self.take(seat.say(CAROL, hello(CAROL_ID)))
            case "service":
                self.take(seat.hear(ServiceChanged(which % 3 > 0)))
            case _ if self.awards:
                self._about(action, which, self.awards[which % len(self.awards)])
            case _:
                pass

    def _about(self, action: str, which: int, award: Award) -> None:
        seat, task, attempt = self.seat, TaskId(award.statement.task), award.statement.attempt
        match action:
            case "key":
                self.take(seat.say(CAROL, with_key(award, self.to)))
            case "other key":
                self.take(seat.say(CAROL, with_key(award, self.to, content_key=b"d" * 32)))
            case "garbage":
                self.take(seat.say(CAROL, award.model_copy(update={"sealed_key": bytes(80)})))
            case "cancel":
                self.take(seat.say(CAROL, Cancel(task=task, attempt=attempt, reason=REASONS[which % 3])))
            case "reject":
                self.take(seat.say(CAROL, Reject(task=task, attempt=attempt, reason="not_accepted")))
            case "progress":
                self.take(seat.hear(JobProgress(task, attempt, STATES[which % 4], which % 9, 10, 100, b"preview")))  # type: ignore[arg-type]
            case "finish":
                self.take(seat.finish(award))
            case "fail":
                self.take(seat.hear(JobFailed(task, attempt, "cancelled")))
            case _:
                pass


def _opens(data: bytes, award: Award) -> bool:
    try:
        open_picture(CONTENT_KEY, award_digest(award), data)
    except InvalidMessage:
        return False
    return True


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 6000)), max_size=50))
@settings(max_examples=40, deadline=None)
def test_sealed_work__anything_said_in_any_order__is_kept_for_its_own_app_alone(steps: list[tuple[str, int]]) -> None:
    bench = Bench()
    bench.do("offer", 0)
    bench.do("award", 0)
    for action, which in steps:
        bench.do(action, which)
    bench.take(bench.seat.wait(20_000))
    started = [effect for effect in bench.effects if isinstance(effect, StartJob)]
    assert all(job.specification.sealed is None for job in started), "nothing is drawn that cannot be read"
    for stored in persisted(bench.effects, ArtifactStored):
        assert any(_opens(stored.data, award) for award in bench.awards)
    assert not bench.seat.core._working.sealed._awaited, "nothing is waited for without end"
