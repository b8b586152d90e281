"""What lies beside a task is another order, within the model's bounds, on both sides where both are. SPEC.md §12.10."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.justice.steadiness import NO_GUIDANCE, PARTS, beside, most_change
from protocol.task.distance import OTHER_NUMERICS, RE_ENCODED
from protocol.wire.messages import TaskSpecification
from tests.protocol.roles.frames import SPECIFICATION


def guided(guidance: float) -> TaskSpecification:
    return SPECIFICATION.model_copy(update={"guidance": guidance})


@given(st.floats(0, 1), st.floats(1.5, 50))
def test_beside__any_guidance__is_other_orders_within_the_bounds(share: float, most: float) -> None:
    guidance = share * most
    others = beside(guided(guidance), most)
    found = [other.guidance for other in others]
    assert len({guidance, *found}) == 1 + 2 * len(PARTS)
    assert all(NO_GUIDANCE <= one <= most for one in found)
    assert all(abs(one - guidance) >= max(guidance, 1) / max(PARTS) * 0.99 for one in found)
    assert [other.model_copy(update={"guidance": guidance}) for other in others] == [guided(guidance)] * len(others)


@given(st.floats(1.1, 40))
def test_beside__bounds_are_far__is_as_many_on_each_side(guidance: float) -> None:
    found = [other.guidance for other in beside(guided(guidance), 50)]
    assert sum(one < guidance for one in found) == sum(one > guidance for one in found) == len(PARTS)


@pytest.mark.parametrize("most", [0, 1])
def test_beside__model_that_takes_no_guidance__is_nothing(most: float) -> None:
    assert beside(guided(most), most) == ()


@given(st.floats(0, 1))
def test_beside__order_without_guidance__is_with_a_little(guidance: float) -> None:
    found = [other.guidance for other in beside(guided(guidance), 15)]
    assert found == [other.guidance for other in beside(guided(NO_GUIDANCE), 15)]
    assert min(found) > NO_GUIDANCE


@pytest.mark.parametrize("words", ["{}", " {} ", "{}\n"])
def test_beside__negative_prompt_that_is_the_prompt__is_as_without_guidance(words: str) -> None:
    for prompt in (SPECIFICATION.prompt, SPECIFICATION.prompt.upper()):
        moot = guided(7.5).model_copy(update={"negative_prompt": words.format(prompt)})
        assert beside(moot, 15) == beside(guided(NO_GUIDANCE), 15)
    other = guided(7.5).model_copy(update={"negative_prompt": "a green turtle"})
    assert [one.negative_prompt for one in beside(other, 15)] == ["a green turtle"] * 2 * len(PARTS)


def test_most_change__file_with_loss__may_change_by_that_too() -> None:
    lossy = SPECIFICATION.model_copy(update={"version": 2, "output": "webp", "quality": 80})
    assert (most_change(SPECIFICATION), most_change(lossy)) == (OTHER_NUMERICS, RE_ENCODED)
