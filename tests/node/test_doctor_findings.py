"""Checks of ``cuckoo doctor`` that hang or fail cost nobody the others."""

import threading

import pytest
import trio

from node.doctor.findings import Check, bad, examine, good, in_thread
from protocol.errors import Unavailable


async def hang():
    await trio.sleep_forever()


async def test_examine__check_that_hangs__is_red_and_the_others_are_found(autojump_clock):
    async def fine():
        return [good("b", "well")]

    checks = [Check("a", hang, 5, "do this"), Check("b", fine)]
    findings = [finding async for finding in examine(checks)]
    assert findings == [bad("a", "no answer in 5 s", "do this"), good("b", "well")]


@pytest.mark.parametrize("error", [Unavailable("it is gone"), OSError("it is gone")])
async def test_examine__check_that_fails__is_red(error):
    async def fail():
        raise error

    assert [finding async for finding in examine([Check("a", fail, 5, "do this")])] == [
        bad("a", "it is gone", "do this")
    ]


async def test_in_thread__blocks_for_ever__is_left_behind():
    never = threading.Event()
    with trio.move_on_after(0.05) as scope:
        await in_thread(never.wait)
    assert scope.cancelled_caught
    never.set()
