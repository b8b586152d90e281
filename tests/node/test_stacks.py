"""All stacks of a process: each place once, and nothing but places."""

import signal

import pytest
import trio

from node.stacks import stacks, told_when_asked

SECRET = "what no log may hold"


async def wait_here(secret: str) -> None:
    assert secret
    await trio.sleep_forever()


async def test_stacks__many_tasks_at_one_place__are_told_once_with_their_number() -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(1200):
            nursery.start_soon(wait_here, SECRET)
        await trio.testing.wait_all_tasks_blocked()
        told = stacks()
        nursery.cancel_scope.cancel()
    assert told.count("in wait_here\n") == 1
    assert "task tests.node.test_stacks.wait_here, 1,200 times:\n" in told
    assert "in test_stacks__many_tasks" in told, "who asks is at something, too"
    assert SECRET not in told


def test_stacks__no_trio_in_this_thread__are_those_of_threads() -> None:
    told = stacks()
    assert "thread MainThread:\n" in told
    assert "\ntask " not in told


def test_told_when_asked__something_goes_wrong__is_told_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def deepest() -> str:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr("node.stacks.stacks", deepest)
    with told_when_asked():
        signal.raise_signal(signal.SIGUSR1)
    assert "cannot be told: RecursionError" in capfd.readouterr().err


def test_told_when_asked__afterwards__the_signal_means_what_it_did() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with told_when_asked():
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before
