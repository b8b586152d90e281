"""Pictures of those who would save work can still be drawn: ``tests.bench.distance`` compares them with honest ones."""

from tests.bench.distance_pictures import EDGE, TASKS, VARIANTS


def test_variants__that_reach_into_the_model__draw_a_picture() -> None:
    assert VARIANTS["reused-2"]()(TASKS[0]).size == (EDGE, EDGE)
