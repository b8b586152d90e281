"""What a report cannot bring about is said before the bond is paid."""

import pytest

from node.disputes.plan import is_unguided
from tests.protocol.roles.frames import SPECIFICATION


@pytest.mark.parametrize(
    ("model", "said"), [("pocket-emoji", False), ("sdxl-turbo", True), ("of-somebody-else", False)]
)
def test_is_unguided__model__is_one_of_which_jurors_cannot_say_wrong(model: str, said: bool) -> None:
    assert is_unguided(SPECIFICATION.model_copy(update={"model": model, "guidance": 0.0})) is said
