"""What an app's pictures begin from: looked at by their headers, named by their digests, kept by nobody here."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from node.adapters.http.errors import ApiError
from protocol.errors import InvalidMessage
from protocol.task.catalog import CatalogModel
from protocol.task.inputs import Size, check_input
from protocol.units import Digest


@dataclass(frozen=True, slots=True)
class Beginning:
    """A source and a mask, if there are any."""

    source: Digest | None = None
    mask: Digest | None = None
    strength: float | None = None
    inputs: Mapping[Digest, bytes] = field(default_factory=dict)
    size: Size | None = None
    """Of the source, in pixels."""

    def size_for(self, model: CatalogModel | None) -> Size | None:
        """Give the size in which a model draws that is nearest to the source's; None without a source, or a model."""
        return None if self.size is None or model is None else nearest_size(model, self.size)


def nearest_size(model: CatalogModel, wanted: Size) -> Size:
    """Give the size in which a model draws of the nearest proportions, of several the one nearest in pixels."""
    width, height = (max(edge, 1) for edge in wanted)

    def distance(size: Size) -> tuple[float, float]:
        return (
            round(abs(math.log(size[0] * height / (size[1] * width))), 3),
            abs(math.log(size[0] * size[1] / (width * height))),
        )

    return min(model.sizes, key=distance)


NOTHING: Final = Beginning()


async def beginning_of(
    source: bytes | None, mask: bytes | None, strength: float | None, source_field: str
) -> Beginning:
    """Look at what an app sent; ``source_field`` is how it calls the source.

    Raises:
        ApiError: 400: a file is no picture that is taken, by its field.
    """
    size = _look(source, source_field)
    _look(mask, "mask")
    given = [data for data in (source, mask) if data is not None]
    # Some of the largest take tens of milliseconds, in which a coordinator answers a hundred claims.
    digests = await trio.to_thread.run_sync(_digests, given) if given else []
    inputs = dict(zip(digests, given, strict=True))
    return Beginning(
        source=None if source is None else digests[0],
        mask=None if mask is None else digests[-1],
        strength=strength,
        inputs=inputs,
        size=size,
    )


def looked_at(named: Beginning, inputs: Mapping[Digest, bytes]) -> Beginning:
    """Look at pictures that are what their digests name: those that ``named`` begins from.

    Raises:
        ApiError: 400: one is no picture that is taken.
    """
    size = None if named.source is None else _look(inputs[named.source], "source")
    if named.mask is not None:
        _look(inputs[named.mask], "mask")
    return replace(named, inputs=inputs, size=size)


def _look(data: bytes | None, name: str) -> Size | None:
    """Check a picture by its header."""
    if data is None:
        return None
    try:
        return check_input(data)
    except InvalidMessage as problem:
        code = problem.rule.replace(".", "_")
        raise ApiError(400, code, f"{name}: {problem.detail}", name) from None


def _digests(files: list[bytes]) -> list[Digest]:
    return [Digest(hashlib.sha256(data).digest()) for data in files]
