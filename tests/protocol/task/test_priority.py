"""Urgency is a head start, never a right of way."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.task.priority import Priority, deadline
from protocol.units import UnixMillis

LONGEST_MS = 600_000
STEP_MS = LONGEST_MS // 8
MOMENTS = st.integers(min_value=0, max_value=2**45).map(UnixMillis)


def test_deadline__accepted_together__the_more_urgent_comes_first_and_nobody_lives_too_long() -> None:
    ends = [
        deadline(priority, UnixMillis(0), LONGEST_MS) for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW)
    ]
    assert ends == [450_000, 525_000, 600_000]


@given(MOMENTS, st.sampled_from(Priority), st.sampled_from(Priority), st.integers(2 * STEP_MS + 1, 10**9))
def test_deadline__waited_for_two_steps_longer__comes_first_whatever_the_urgency(
    first: UnixMillis, of_first: Priority, of_second: Priority, later_ms: int
) -> None:
    second = UnixMillis(first + later_ms)
    assert deadline(of_first, first, LONGEST_MS) < deadline(of_second, second, LONGEST_MS)
