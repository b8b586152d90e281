"""Timers by key: the latest setting counts, each fires once, nothing piles up."""

import trio
from trio.testing import MockClock

from node.timers import LONGEST_SLEEP_S, Timers
from protocol.units import UnixMillis


class TrioClock:
    """Wall time in step with trio's clock."""

    def now(self) -> UnixMillis:
        return UnixMillis(round(trio.current_time() * 1000))


async def fired(timers: Timers, for_s: float, fire_s: float = 0) -> list[tuple[str, int]]:
    """Run the timers for a while: (what, when in ms)."""
    seen: list[tuple[str, int]] = []
    clock = TrioClock()

    async def fire(key: tuple[str, bytes, int]) -> None:
        seen.append((key[0], clock.now()))
        await trio.sleep(fire_s)

    with trio.move_on_after(for_s):
        await timers.run(fire)
    return seen


def key(name: str) -> tuple[str, bytes, int]:
    return (name, b"", 0)


async def test_set__several__fire_in_order_at_their_time(autojump_clock: MockClock) -> None:
    timers, now = Timers(TrioClock()), TrioClock().now()
    for name, after in (("b", 20), ("a", 10), ("c", 30)):
        timers.set(key(name), UnixMillis(now + after))
    assert [(name, at - now) for name, at in await fired(timers, 1)] == [("a", 10), ("b", 20), ("c", 30)]


async def test_set__again__the_latest_counts_and_fires_once(autojump_clock: MockClock) -> None:
    timers, now = Timers(TrioClock()), TrioClock().now()
    timers.set(key("later"), UnixMillis(now + 10))
    timers.set(key("later"), UnixMillis(now + 40))
    timers.set(key("sooner"), UnixMillis(now + 50))
    timers.set(key("sooner"), UnixMillis(now + 5))
    assert [(name, at - now) for name, at in await fired(timers, 1)] == [("sooner", 5), ("later", 40)]


async def test_set__while_waiting_for_a_later_one__fires_in_time(autojump_clock: MockClock) -> None:
    timers, now = Timers(TrioClock()), TrioClock().now()
    timers.set(key("late"), UnixMillis(now + 500))
    async with trio.open_nursery() as nursery:

        async def set_soon() -> None:
            await trio.sleep(0.1)
            timers.set(key("soon"), UnixMillis(now + 150))

        nursery.start_soon(set_soon)
        assert [(name, at - now) for name, at in await fired(timers, 1)] == [("soon", 150), ("late", 500)]


async def test_cancel__never_fires_and_may_be_set_again(autojump_clock: MockClock) -> None:
    timers, now = Timers(TrioClock()), TrioClock().now()
    timers.set(key("gone"), UnixMillis(now + 10))
    timers.set(key("back"), UnixMillis(now + 10))
    timers.cancel(key("gone"))
    timers.cancel(key("back"))
    timers.cancel(key("unknown"))
    timers.set(key("back"), UnixMillis(now + 10))
    assert [name for name, _ in await fired(timers, 1)] == ["back"]


async def test_set__in_the_past__fires_at_once(autojump_clock: MockClock) -> None:
    timers, now = Timers(TrioClock()), TrioClock().now()
    timers.set(key("overdue"), UnixMillis(now - 5000))
    assert [(name, at - now) for name, at in await fired(timers, 1)] == [("overdue", 0)]


async def test_run__handing_over_takes_long__the_next_is_not_late_by_as_much_again(autojump_clock: MockClock) -> None:
    timers, now = Timers(TrioClock()), TrioClock().now()
    timers.set(key("first"), UnixMillis(now + 10))
    timers.set(key("second"), UnixMillis(now + 1000))
    assert [(name, at - now) for name, at in await fired(timers, 3, fire_s=0.9)] == [("first", 10), ("second", 1000)]


async def test_set__a_lease_that_moves_for_ever__does_not_pile_up(autojump_clock: MockClock) -> None:
    timers, now = Timers(TrioClock()), TrioClock().now()
    for step in range(20_000):
        timers.set(key("lease"), UnixMillis(now + 3000 + step))
    assert len(timers._heap) <= 4 + 1024 + 1
    assert [(name, at - now) for name, at in await fired(timers, 60)] == [("lease", 22_999)]


class Steps(trio.abc.Instrument):
    """Counts how often tasks are run."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name.endswith("Timers.run")


async def test_set_and_cancel__before_any_is_due__the_task_is_not_woken(autojump_clock: MockClock) -> None:
    timers, clock, steps = Timers(TrioClock()), TrioClock(), Steps()

    async def fire(key: tuple[str, bytes, int]) -> None:
        raise AssertionError(key)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, fire)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        for number in range(100):
            timers.set(key(f"slot {number}"), UnixMillis(clock.now() + 30))
            await trio.sleep(0.02)
            timers.cancel(key(f"slot {number}"))
        nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(steps)
    assert steps.count == 1, "the one that ends it"


async def test_run__clock_jumps_while_all_sleep__fires_soon_after(autojump_clock: MockClock) -> None:
    jump = 0

    class Jumping(TrioClock):
        def now(self) -> UnixMillis:
            return UnixMillis(super().now() + jump)

    timers, began = Timers(Jumping()), trio.current_time()
    timers.set(key("epoch"), UnixMillis(Jumping().now() + 3_600_000))
    jump = 3_600_000
    assert [name for name, _ in await fired(timers, LONGEST_SLEEP_S + 1)] == ["epoch"]
    assert trio.current_time() - began <= LONGEST_SLEEP_S + 1
