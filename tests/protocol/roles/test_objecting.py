"""A miner that is beaten by a worse rank in its own slot says so in public, seldom."""

from collections.abc import Iterable

from protocol.crypto.typed_data import digest
from protocol.effects import Effect, Publish, Subscribe
from protocol.events import GossipReceived, Restored
from protocol.roles.bootstrap import BootstrapCore
from protocol.roles.miner.objecting import OWN_PACE_MS
from protocol.roles.miner.wheel import seat_of
from protocol.units import StakingId
from protocol.wire.messages import Claim, Decline, Objection
from protocol.wire.statements import DeclineStatement
from tests.protocol.roles.frames import ALICE_ID, BOB_ID, CAROL_ID, DOMAIN, NOW, PARAMS, award_of, bulletin, signed
from tests.protocol.roles.seats import MinerSeat, judged, of_kind
from tests.support.networks import CAROL

TOPIC = f"/cuckoo/1/{PARAMS.name}/objections"


def objections(effects: Iterable[Effect]) -> list[Objection]:
    published = [effect for effect in effects if isinstance(effect, Publish)]
    assert all(effect.topic == TOPIC for effect in published)
    return [effect.message for effect in published if isinstance(effect.message, Objection)]


def decline_of(claim: Claim, *, winner: StakingId = BOB_ID, rank: int = 1, reason: str = "awarded") -> Decline:
    named = claim.statement
    statement = DeclineStatement(
        claim=digest(DOMAIN, named),
        task=named.task,
        attempt=named.attempt,
        coordinator=CAROL_ID,
        winner=winner,
        rank=rank,
        reason=reason,
    )
    return Decline(statement=statement, signature=signed(CAROL, statement))


def test_decline__for_a_worse_rank__is_published_with_the_claim() -> None:
    seat = MinerSeat()
    claim = seat.claimed()
    decline = decline_of(claim)
    (said,) = objections(seat.say(CAROL, decline))
    assert (said.claim, said.claim_signature) == (claim.statement, claim.signature)
    assert (said.decline, said.decline_signature) == (decline.statement, decline.signature)
    assert said.sent_at == seat.now


def test_decline__that_wrongs_nobody__is_kept_to_oneself() -> None:
    for changes in ({"rank": 0}, {"reason": "early"}, {"winner": StakingId(0)}, {"winner": ALICE_ID}):
        seat = MinerSeat()
        assert objections(seat.say(CAROL, decline_of(seat.claimed(), **changes))) == []  # type: ignore[arg-type]


def test_decline__of_a_claim_from_the_backlog__is_kept_to_oneself() -> None:
    seat = MinerSeat()
    seat.claimed()
    seat.offer()
    late = of_kind(seat.wait(1200), Claim)
    assert len(late) == 1, "claimed long after its slot, when the place was free"
    assert objections(seat.say(CAROL, decline_of(late[0]))) == []


def test_decline__of_a_claim_to_look_ahead__is_kept_to_oneself() -> None:
    seat = MinerSeat()
    seat.paid_before()
    seat.say(CAROL, award_of(seat.claimed()))
    wheel = seat_of(seat.core)
    ours, others = (
        [n for n in range(1, 20) if wheel.has(bulletin(NOW, n).offers[0].task) == mine] for mine in (True, False)
    )
    assert of_kind(seat.offer(others[0]), Claim) == []
    (ahead,) = of_kind(seat.offer(ours[0]), Claim)
    assert objections(seat.say(CAROL, decline_of(ahead))) == [], "whoever has no place is not waited for"


def test_declines__many__are_published_at_a_pace() -> None:
    seat = MinerSeat()
    assert len(objections(seat.say(CAROL, decline_of(seat.claimed())))) == 1
    assert objections(seat.say(CAROL, decline_of(seat.claimed()))) == []
    seat.wait(OWN_PACE_MS)
    assert len(objections(seat.say(CAROL, decline_of(seat.claimed())))) == 1


def test_start__miner_and_bootstrap__hear_objections_so_that_they_cross_the_network() -> None:
    seat = MinerSeat()
    assert Subscribe(TOPIC) in seat.core.handle(Restored(()), seat.now)
    assert Subscribe(TOPIC) in BootstrapCore(seat.identity).handle(Restored(()), seat.now)


def test_objection_of_another__heard__means_nothing_to_a_miner() -> None:
    seat, other = MinerSeat(), MinerSeat()
    (said,) = objections(other.say(CAROL, decline_of(other.claimed())))
    effects = seat.hear(GossipReceived(TOPIC, said, other.key.peer_id))
    assert effects == ()
    assert judged(effects) == []
