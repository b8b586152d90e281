"""What a report cannot bring about is said before the bond is paid."""

import pytest

from node.disputes.plan import is_unguided, steady_note
from node.model_files.catalog import load_catalog
from tests.protocol.roles.frames import SPECIFICATION


@pytest.mark.parametrize(
    ("model", "said"), [("pocket-emoji", False), ("sdxl-turbo", True), ("of-somebody-else", False)]
)
def test_is_unguided__model__is_one_of_which_jurors_cannot_say_wrong(model: str, said: bool) -> None:
    assert is_unguided(SPECIFICATION.model_copy(update={"model": model, "guidance": 0.0})) is said


@pytest.mark.parametrize(
    ("guidance", "told"),
    [(7.5, "7.38, 7.47, 7.53, 7.62"), (15.0, "14.53, 14.77, 14.88, 14.94")],
    ids=["between", "the most that its model takes"],
)
def test_steady_note__guidance__is_what_an_order_may_have(guidance: float, told: str) -> None:
    assert load_catalog().models["pocket-emoji"].max_guidance == 15.0
    specification = SPECIFICATION.model_copy(update={"guidance": guidance})
    assert f"with a guidance of {told}:" in steady_note(specification)
