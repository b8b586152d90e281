import time

import trio
from trio.testing import MockClock

from node.adapters.system import SystemClock, system_entropy
from protocol.units import UnixMillis


def test_now__under_mock_clock__moves_with_trio_only():
    async def main() -> None:
        clock = SystemClock(UnixMillis(1_000_000))
        assert clock.now() == 1_000_000
        await trio.sleep(3600.25)
        assert clock.now() == 1_000_000 + 3_600_250

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_now__real_clock__is_unix_time_and_never_goes_back():
    clock = SystemClock()
    before = time.time() * 1000
    moments = [clock.now() for _ in range(1000)]
    after = time.time() * 1000
    assert moments == sorted(moments)
    assert before - 100 < moments[0] <= moments[-1] < after + 100


async def test_now__machine_was_suspended__follows_the_wall_clock(monkeypatch):
    clock = SystemClock()
    before = clock.now()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 7_200_000_000_000)
    assert 7_200_000 <= clock.now() - before < 7_201_000
    monkeypatch.setattr(time, "time_ns", real)
    assert clock.now() - before >= 7_200_000, "a correction backwards is not followed"


def test_system_entropy__twice__differs():
    assert len(system_entropy(16)) == 16
    assert system_entropy(16) != system_entropy(16)
