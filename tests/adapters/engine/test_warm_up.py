"""How many threads a model draws with.

Torch is imported by the tests: each process that shares them collects this file.
"""

import pytest

from node.adapters.engine.ipc import Load

ORDER = Load(
    model="tiny",
    folder="/nowhere",
    digest=bytes(32),
    precision="float32",
    width=64,
    height=64,
    steps=8,
    guidance=1.0,
    batches=(1,),
    fewer_threads=True,
)


class Clockwork:
    """Takes as long for a step as was said for the threads that torch has, but for the first, which is slow."""

    def __init__(self, torch, step_ms):
        self._torch = torch
        self._step_ms = step_ms
        self.drawn_with = []

    def draw(self, wishes, manner, on_step, trace=None):
        del trace
        self.drawn_with.append(self._torch.get_num_threads())
        for step in range(manner.steps):
            on_step(step + 1, self._step_ms[self._torch.get_num_threads()] + (500 if step == 0 else 0), None)
        return [None for _ in wishes]


@pytest.fixture
def torch():
    import torch

    before = torch.get_num_threads()
    yield torch
    torch.set_num_threads(before)


@pytest.fixture
def warm_up():
    from node.adapters.engine import warm_up

    return warm_up


@pytest.mark.parametrize(("together_ms", "alone_ms", "best"), [(50, 57, 1), (50, 58, 4), (60, 50, 1), (20, 70, 4)])
def test_choose_threads__quick_steps__takes_all_only_where_they_pay(torch, warm_up, together_ms, alone_ms, best):
    assert warm_up.choose_threads(Clockwork(torch, {4: together_ms, 1: alone_ms}), ORDER, 4) == best


def test_choose_threads__long_steps__takes_all_and_never_waits_for_one(torch, warm_up):
    painter = Clockwork(torch, {4: warm_up.LONG_STEP_MS + 1, 1: 1})
    assert warm_up.choose_threads(painter, ORDER, 4) == 4
    assert 1 not in painter.drawn_with


@pytest.mark.parametrize(("order", "threads"), [(ORDER, 1), (ORDER.model_copy(update={"fewer_threads": False}), 4)])
def test_choose_threads__nothing_to_choose__draws_nothing(torch, warm_up, order, threads):
    painter = Clockwork(torch, {})
    assert warm_up.choose_threads(painter, order, threads) == threads
    assert not painter.drawn_with
