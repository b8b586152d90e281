"""Who is free, kept as it changes: the same as asking every miner. SPEC.md §8.2."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.roles.coordinator.roster import Roster
from protocol.units import PeerId, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.messages import Capability, ServedModel

MODELS = ("a", "b")
MINERS = st.integers(1, 4)
STEPS = st.one_of(
    st.tuples(st.just("add"), MINERS, st.integers(0, 1)),
    st.tuples(st.just("remove"), MINERS, st.integers(0, 1)),
    st.tuples(st.just("hear"), MINERS, st.integers(0, 1), st.sets(st.sampled_from(MODELS)), st.integers(0, 2)),
    st.tuples(st.sampled_from(["hold", "deliver", "release"]), MINERS, st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(0, 40)),
)


def capability(miner: int, models: set[str], free: int) -> Capability:
    served = tuple(
        ServedModel(model=model, digest=bytes(32), warm=bool((miner + free) % 2), pixel_steps_per_s=1, max_batch=1)
        for model in sorted(models)
    )
    return Capability(
        miner=StakingId(miner),
        sequence=1,
        expires_at=UnixMillis(0),
        models=served,
        free_places=free,
        places=2,
        price_floor=Wei(0),
        addresses=(),
    )


@given(st.lists(STEPS, max_size=60))
def test_field_of__after_any_history__is_what_asking_every_miner_gives(steps) -> None:
    roster, now = Roster(), 1000
    for step in steps:
        match step:
            case "add", miner, line:
                roster.add(PeerId(f"{miner}.{line}"), StakingId(miner))
            case "remove", miner, line:
                roster.remove(PeerId(f"{miner}.{line}"))
            case "hear", miner, line, models, free:
                known = roster.peer(PeerId(f"{miner}.{line}"))
                if known is not None:
                    roster.hear(known, capability(miner, models, free), UnixMillis(now + 50))
            case "wait", pause:
                now += pause
            case what, miner, task:
                getattr(roster, what)(TaskId(bytes([task]) * 32), StakingId(miner))
        for model in MODELS:
            free = [miner for miner in roster if miner.serves(model, UnixMillis(now)) and miner.has_place()]
            warm = [miner for miner in free if miner.served[model].warm]
            told = roster.field_of(model, frozenset(), UnixMillis(now))
            assert told == ({miner.id for miner in free}, {miner.id for miner in warm})
        assert roster.held() == sum(len(miner.working_on) + len(miner.delivering) for miner in roster)
        assert len(roster._free) <= len(MODELS)


def test_hear__models_that_nobody_serves_any_more__are_forgotten() -> None:
    roster = Roster()
    miner = roster.add(PeerId("peer"), StakingId(1))
    for number in range(100):
        roster.hear(miner, capability(1, {f"model{number}"}, 1), UnixMillis(1000))
    assert list(roster._free) == ["model99"]
