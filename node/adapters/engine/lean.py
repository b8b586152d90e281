"""diffusers and transformers without the parts of scipy that they import and an engine hardly ever uses.

Schedulers load scipy's statistics and integration for options that few models set, transformers its optimisation for
losses of training: a second of processor time of every start of a child. Who does use one of them has it loaded then.
"""

import contextlib
from typing import Any, Final

from node.stand_ins import stand_ins


def late_quad(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  what scipy takes and gives
    """Integrate as scipy does, which is loaded for it: the scheduler LMS is the only one that asks."""
    from scipy.integrate import quad  # type: ignore[import-untyped]  # it has no stubs

    return quad(*arguments, **options)


_STAND_INS: Final[dict[str, dict[str, object]]] = {
    "scipy.integrate": {"quad": late_quad},
    "scipy.optimize": {"linear_sum_assignment": None},
    "scipy.stats": {},  # it is looked up in scipy when it is used, and so is the real one
}
"""Modules, and what diffusers and transformers take from them."""


# Releases that take more than that from scipy while they are imported load it, as if this file were not here.
with contextlib.suppress(ImportError, AttributeError, RuntimeError), stand_ins(_STAND_INS):
    import diffusers.loaders.single_file
    import transformers.modeling_utils  # noqa: F401  for what it leaves loaded
    from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

    # Whichever of them a model names, all that could take its place are loaded with it.
    for _scheduler in KarrasDiffusionSchedulers:
        getattr(diffusers, _scheduler.name, None)
