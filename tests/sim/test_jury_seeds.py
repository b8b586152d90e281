"""What a jury's seed is worth to who makes some of its blocks."""

import pytest

from tests.sim.jury_seeds import best, own_jury


def test_best__all_blocks_or_none_are_his__is_any_jury_or_chance() -> None:
    wins = [0.0] * 15 + [1.0]
    assert best(wins, 1.0) == 1
    assert best(wins, 0.0) == 1 / 16


def test_best__last_block_alone_is_his__is_two_tries() -> None:
    """Each second seed of one network wins: the last bit decides alone, and what came before gives nothing."""
    assert best([0.0, 1.0] * 8, 0.25) == pytest.approx(0.25 + 0.75 / 2)
    assert best([1.0] * 8 + [0.0] * 8, 0.25) == pytest.approx(0.25 + 0.75 / 2)


def test_own_jury__of_friends__needs_two_thirds_of_the_seats() -> None:
    assert own_jury(3, 0.5) == pytest.approx(0.5)
    assert own_jury(5, 0.2) == pytest.approx(5 * 0.2**4 * 0.8 + 0.2**5)
