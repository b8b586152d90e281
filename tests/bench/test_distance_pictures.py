"""Pictures of those who would save work can still be drawn: ``tests.bench.distance`` compares them with honest ones."""


def test_variants__that_reach_into_the_model__draw_a_picture() -> None:
    # Here, since it loads torch and diffusers: each worker collects all tests, and one runs this.
    from tests.bench.distance_pictures import EDGE, TASKS, VARIANTS

    assert VARIANTS["reused-2"]()(TASKS[0]).size == (EDGE, EDGE)
