"""LoRAs that belong to a model: where their files lie, and the lines that they add to its digest.

Knows nothing of torch. Spec: SPEC.md §7.5 (styles).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.adapters.engine.weights import ModelFault, digest_lines, digest_of_lines, hash_file
from protocol.task.model import CatalogModel
from protocol.units import Digest

FOLDER: Final = "styles"
"""Folder beside the pulled models in which LoRAs lie, each named by its SHA-256."""


@dataclass(frozen=True, slots=True)
class StyleFile:
    """One LoRA of a model."""

    path: Path
    digest: Digest
    weight: float
    is_published: bool = False
    """Whether ``cuckoo models pull`` can bring it."""


def styles_of(model: CatalogModel, pulled: Path) -> tuple[StyleFile, ...]:
    """Name the files of a model's LoRAs, whether they are there or not; ``pulled`` is the folder of pulled models."""
    return tuple(
        StyleFile(
            Path(style.file) if style.file else pulled / FOLDER / f"{style.digest.hex()}.safetensors",
            style.digest,
            style.weight,
            style.source is not None,
        )
        for style in model.styles
    )


def all_lines(
    folder: Path,
    checkpoint: Path | None = None,
    on_bytes: Callable[[int], None] = lambda _count: None,
    styles: Sequence[StyleFile] = (),
) -> str:
    """Give the lines of a model's digest: those of its files, and behind them one for each LoRA.

    Raises:
        ModelFault: A file is missing or cannot be read, or a LoRA is not the catalog's.
    """
    return digest_lines(folder, checkpoint, on_bytes) + style_lines(styles, on_bytes)


def style_lines(styles: Sequence[StyleFile], on_bytes: Callable[[int], None] = lambda _count: None) -> str:
    """Give the lines that LoRAs add to a model's digest.

    Raises:
        ModelFault: One is missing, cannot be read, or is not the catalog's.
    """
    for style in styles:
        try:
            found = hash_file(style.path, on_bytes)
        except OSError as error:
            raise ModelFault("model_missing", f"{style.path}: {error.strerror}") from error
        if found != style.digest:
            raise ModelFault("model_corrupt", f"{style.path} has the digest {found.hex()}, which is not the catalog's")
    return named_lines(styles)


def named_lines(styles: Sequence[StyleFile]) -> str:
    """Give the same lines without a look at the files."""
    return "".join(
        f"{style.digest.hex()}  {FOLDER}/{place}@{round(style.weight * 1000)}.safetensors\n"
        for place, style in enumerate(styles)
    )


def styled_digest(folder: Path, checkpoint: Path | None = None, styles: Sequence[StyleFile] = ()) -> Digest:
    """Compute the digest of a model with its LoRAs.

    Raises:
        ModelFault: As ``all_lines``.
    """
    return digest_of_lines(all_lines(folder, checkpoint, styles=styles))


def check_styled(
    folder: Path,
    expected: Digest,
    checkpoint: Path | None,
    styles: Sequence[StyleFile],
    on_bytes: Callable[[int], None] = lambda _count: None,
) -> None:
    """Make sure that a folder and LoRAs are exactly the model that the catalog means.

    Raises:
        ModelFault: As ``all_lines``, or the digest is another one.
    """
    actual = digest_of_lines(all_lines(folder, checkpoint, on_bytes, styles))
    if actual != expected:
        raise ModelFault(
            "model_corrupt",
            f"{folder} with its styles: the digest is {actual.hex()}, the catalog says {expected.hex()}",
        )
