import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.gossip.seen import Seen
from protocol.units import DurationMs, UnixMillis


def test_add__first_time_and_again__says_which():
    seen = Seen(4, DurationMs(100))
    assert seen.add(b"a", UnixMillis(0))
    assert not seen.add(b"a", UnixMillis(99))
    assert b"a" in seen
    assert b"b" not in seen


def test_add__after_its_lifetime__is_new_again():
    seen = Seen(4, DurationMs(100))
    seen.add(b"a", UnixMillis(0))
    seen.add(b"a", UnixMillis(50))  # does not make it live longer
    assert seen.add(b"a", UnixMillis(100))


def test_add__full__forgets_the_oldest_first():
    seen = Seen(2, DurationMs(100))
    for moment, key in enumerate((b"a", b"b", b"c")):
        seen.add(key, UnixMillis(moment))
    assert b"a" not in seen
    assert b"b" in seen
    assert len(seen) == 2


def test_forget_expired__some_left__drops_the_others():
    seen = Seen(4, DurationMs(100))
    seen.add(b"a", UnixMillis(0))
    seen.add(b"b", UnixMillis(60))
    seen.forget_expired(UnixMillis(120))
    assert [key in seen for key in (b"a", b"b")] == [False, True]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), max_size=80), st.integers(1, 8))
def test_add__any_history__agrees_with_a_plain_model(steps, capacity):
    seen = Seen(capacity, DurationMs(100))
    model: list[tuple[bytes, int]] = []  # (key, expiry), oldest first
    now = 0
    for number, wait in steps:
        now += wait
        key = bytes([number])
        model = [(known, until) for known, until in model if until > now]
        fresh = all(known != key for known, _ in model)
        if fresh:
            model = [*model, (key, now + 100)][-capacity:]
        assert seen.add(key, UnixMillis(now)) == fresh
        assert len(seen) == len(model)


@pytest.mark.parametrize(("capacity", "lifetime"), [(0, 1), (1, 0)])
def test_seen__without_bounds__is_our_fault(capacity, lifetime):
    with pytest.raises(ValueError, match="at least 1"):
        Seen(capacity, DurationMs(lifetime))
