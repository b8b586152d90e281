import pytest
import torch

from node.adapters.engine.ipc import Load
from node.adapters.engine.warm_up import LONG_STEP_MS, choose_threads

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

    def __init__(self, step_ms):
        self._step_ms = step_ms
        self.drawn_with = []

    def draw(self, wishes, manner, on_step, trace=None):
        del trace
        self.drawn_with.append(torch.get_num_threads())
        for step in range(manner.steps):
            on_step(step + 1, self._step_ms[torch.get_num_threads()] + (500 if step == 0 else 0), None)
        return [None for _ in wishes]


@pytest.fixture(autouse=True)
def _same_threads_after():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("together_ms", "alone_ms", "best"), [(50, 57, 1), (50, 58, 4), (60, 50, 1), (20, 70, 4)])
def test_choose_threads__quick_steps__takes_all_only_where_they_pay(together_ms, alone_ms, best):
    assert choose_threads(Clockwork({4: together_ms, 1: alone_ms}), ORDER, 4) == best


def test_choose_threads__long_steps__takes_all_and_never_waits_for_one():
    painter = Clockwork({4: LONG_STEP_MS + 1, 1: 1})
    assert choose_threads(painter, ORDER, 4) == 4
    assert 1 not in painter.drawn_with


@pytest.mark.parametrize(("order", "threads"), [(ORDER, 1), (ORDER.model_copy(update={"fewer_threads": False}), 4)])
def test_choose_threads__nothing_to_choose__draws_nothing(order, threads):
    painter = Clockwork({})
    assert choose_threads(painter, order, threads) == threads
    assert not painter.drawn_with
