"""What a model's files are, and whether they are the ones that the catalog means.

Knows nothing of torch: the parent uses it to check folders, the child to check digests before it loads.
Spec: SPEC.md §7.5 (model digest).
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from protocol.units import Digest

INDEX: Final = "model_index.json"
"""The file by which diffusers knows a pipeline folder."""

CHECKPOINT: Final = "checkpoint.safetensors"
"""How a single file that holds all weights is called in a model's digest, and in a folder that holds it."""

SUMS: Final = "SHA256SUMS"
"""File beside a pulled model with the lines whose SHA-256 is its digest: a wrong file can so be named."""

READ_SUFFIXES: Final = frozenset({".json", ".safetensors", ".txt", ".model"})
"""What a pipeline reads: configurations, weights, merges and sentence-piece vocabularies. Pickles are never read."""

PICKLES: Final = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
"""Weights that can run code when they are read."""

CHUNK_BYTES: Final = 1024 * 1024
MAX_HEADER_BYTES: Final = 100_000_000
"""Longest header of a safetensors file, by that format's own rule."""

_WEIGHTS: Final = re.compile(r"[^.]+\.safetensors(\.index\.json)?")
"""Weights as diffusers names what it reads unless told otherwise; ``model.fp16.safetensors`` beside it is a variant."""


class ModelFault(Exception):
    """A model folder cannot be used; ``reason`` is stable: ``model_missing``, ``model_corrupt``, ``model_unsafe``."""

    def __init__(self, reason: str, detail: str) -> None:
        """Name the reason; ``detail`` names the file, for people."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def index_parts(folder: Path) -> tuple[str, ...]:
    """List the parts of the pipeline that the index of a folder names, sorted.

    Raises:
        ModelFault: The index is missing or no index.
    """
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except FileNotFoundError:
        raise ModelFault("model_missing", f"{folder / INDEX} does not exist") from None
    except (OSError, ValueError) as error:
        raise ModelFault("model_corrupt", f"{folder / INDEX}: {error}") from error
    if not isinstance(index, dict):
        raise ModelFault("model_corrupt", f"{folder / INDEX} is not a JSON object")
    parts = [
        part for part, classes in index.items() if isinstance(classes, list) and classes and classes[0] is not None
    ]
    for part in parts:
        if "/" in part or part.startswith("."):
            raise ModelFault("model_corrupt", f"{folder / INDEX} names a part {part!r}")
    return tuple(sorted(parts))


def part_files(part: str, names: Iterable[str]) -> list[str]:
    """Choose what diffusers reads of the files in a part's folder, and give it sorted.

    Args:
        part: The folder, for the words of a fault.
        names: Names of the files in it.

    Raises:
        ModelFault: There are pickles and no safetensors (``model_unsafe``), or nothing that is read.
    """
    present = sorted(names)
    chosen = [name for name in present if _is_read(name)]
    pickles = [name for name in present if Path(name).suffix in PICKLES]
    if pickles and not any(name.endswith(".safetensors") for name in chosen):
        raise ModelFault(
            "model_unsafe", f"{part} holds {pickles[0]} and no safetensors: weights that can run code are never opened"
        )
    if not chosen:
        raise ModelFault("model_missing", f"{part} holds no files")
    return chosen


def _is_read(name: str) -> bool:
    """Say whether diffusers reads a file of this name."""
    if ".safetensors" in name:
        return _WEIGHTS.fullmatch(name) is not None
    return Path(name).suffix in READ_SUFFIXES


def read_files(folder: Path, checkpoint: Path | None = None) -> tuple[str, ...]:
    """List what the pipeline in this folder reads, as sorted relative paths with ``/``.

    That is the index and, in the folder of each part that the index names, the files that diffusers reads.
    Anything else beside them (cards, licences, samples, variants) is no part of the model. Where a ``checkpoint``
    holds the weights it is listed as ``checkpoint.safetensors``, and the parts' folders must hold none.

    Raises:
        ModelFault: The index is missing or no index, a part's folder is missing or empty, or weights are pickles.
    """
    found = [INDEX]
    for part in index_parts(folder):
        place = folder / part
        present = [path.name for path in place.glob("*") if path.is_file()]
        weights = [name for name in sorted(present) if Path(name).suffix in PICKLES or ".safetensors" in name]
        if checkpoint is not None and weights:
            # diffusers would read them for what the checkpoint lacks, pickles too.
            raise ModelFault(
                "model_unsafe", f"{place} holds {weights[0]}: beside a checkpoint a configuration folder has no weights"
            )
        found.extend(f"{part}/{name}" for name in part_files(str(place), present))
    if checkpoint is not None:
        if not checkpoint.is_file():
            raise ModelFault("model_missing", f"{checkpoint} does not exist")
        found.append(CHECKPOINT)
    return tuple(sorted(found))


def path_of(folder: Path, name: str, checkpoint: Path | None = None) -> Path:
    """Give the path of a file that ``read_files`` listed."""
    return checkpoint if checkpoint is not None and name == CHECKPOINT else folder / name


def digest_lines(
    folder: Path, checkpoint: Path | None = None, on_bytes: Callable[[int], None] = lambda _count: None
) -> str:
    """Give one line for each file, sorted by path: those that ``sha256sum`` prints.

    Args:
        folder: A folder in diffusers layout.
        checkpoint: The file with all weights, where it is one.
        on_bytes: Told how many more bytes were read.

    Raises:
        ModelFault: A file is missing or cannot be read.
    """
    lines = []
    for name in read_files(folder, checkpoint):
        path = path_of(folder, name, checkpoint)
        try:
            digest = hash_file(path, on_bytes)
        except OSError as error:
            raise ModelFault("model_missing", f"{path}: {error}") from error
        lines.append(f"{digest.hex()}  {name}\n")
    return "".join(lines)


def hash_file(path: Path, on_bytes: Callable[[int], None]) -> Digest:
    """Compute the SHA-256 of a file, telling how many more bytes are read.

    Raises:
        OSError: It cannot be read.
    """
    one = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            one.update(chunk)
            on_bytes(len(chunk))
    return Digest(one.digest())


def digest_of_lines(lines: str) -> Digest:
    """Give the digest of a model whose files have these lines."""
    return Digest(hashlib.sha256(lines.encode()).digest())


def model_digest(folder: Path, checkpoint: Path | None = None) -> Digest:
    """Compute the digest of a model: SHA-256 over one line for each file, sorted by path.

    The lines are those that ``sha256sum`` prints (hexadecimal digest, two spaces, relative path, line feed), so that
    anyone can check a digest without this code.

    Raises:
        ModelFault: A file is missing or cannot be read.
    """
    return digest_of_lines(digest_lines(folder, checkpoint))


def check_model(
    folder: Path,
    expected: Digest,
    checkpoint: Path | None = None,
    on_bytes: Callable[[int], None] = lambda _count: None,
) -> None:
    """Make sure that a folder holds exactly the model that the catalog means.

    Raises:
        ModelFault: A file is missing, or the digest is another one; the detail names the file where that is known.
    """
    lines = digest_lines(folder, checkpoint, on_bytes)
    actual = digest_of_lines(lines)
    if actual == expected:
        return
    check_whole(folder, checkpoint)
    recorded = recorded_lines(folder)
    if recorded is not None and digest_of_lines(recorded) == expected:
        raise ModelFault("model_corrupt", f"{first_difference(folder, lines, recorded)} is not the catalog's")
    raise ModelFault("model_corrupt", f"{folder}: the digest is {actual.hex()}, the catalog says {expected.hex()}")


def recorded_lines(folder: Path) -> str | None:
    """Give the lines that were written down when the model was pulled, None where there are none."""
    try:
        return (folder / SUMS).read_text("utf-8")
    except (OSError, ValueError):
        return None


def first_difference(folder: Path, lines: str, recorded: str) -> Path:
    """Name the first file that is not as recorded, or is only there, or only here. The texts must differ."""
    only_one_has = set(lines.splitlines()) ^ set(recorded.splitlines())
    return folder / min(line.partition("  ")[2] for line in only_one_has)


def check_whole(folder: Path, checkpoint: Path | None = None) -> None:
    """Make sure that no file of weights is cut short and no shard is missing, without reading the weights.

    Raises:
        ModelFault: Names the file that is partial, missing or no safetensors file.
    """
    for name in read_files(folder, checkpoint):
        path = path_of(folder, name, checkpoint)
        if name.endswith(".safetensors"):
            _check_length(path)
        elif name.endswith(".safetensors.index.json"):
            _check_shards(path)


def count_weights(folder: Path, checkpoint: Path | None = None) -> int:
    """Count the numbers in all files of weights, as their headers tell, without reading them.

    Raises:
        ModelFault: A file is missing or no safetensors file.
    """
    count = 0
    for name in read_files(folder, checkpoint):
        if name.endswith(".safetensors"):
            path = path_of(folder, name, checkpoint)
            try:
                _, header = _header_of(path)
                count += sum(math.prod(one["shape"]) for key, one in header.items() if key != "__metadata__")
            except OSError as error:
                raise ModelFault("model_missing", f"{path}: {error}") from error
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                raise ModelFault("model_corrupt", f"{path} is no safetensors file") from None
    return count


def _header_of(path: Path) -> tuple[int, dict[str, Any]]:  # Any: what JSON holds
    """Read the header of a safetensors file: its length (bytes) and what it says; nothing where it is too long."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return length, json.loads(file.read(length)) if length <= MAX_HEADER_BYTES else {}


def _check_length(path: Path) -> None:
    """Compare the length of a safetensors file with what its own header says."""
    try:
        size = path.stat().st_size
        length, header = _header_of(path)
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        whole = 8 + length + max(ends)
    except OSError as error:
        raise ModelFault("model_missing", f"{path}: {error}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise ModelFault("model_corrupt", f"{path} is no safetensors file, or cut short in its header") from None
    if size != whole:
        raise ModelFault("model_corrupt", f"{path} has {size} bytes, and should have {whole}")


def _check_shards(path: Path) -> None:
    """Make sure that each file that an index of shards names is there."""
    try:
        shards = sorted(set(json.loads(path.read_bytes())["weight_map"].values()))
        gone = [path.parent / str(shard) for shard in shards if not (path.parent / str(shard)).is_file()]
    except OSError as error:
        raise ModelFault("model_missing", f"{path}: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ModelFault("model_corrupt", f"{path} is no index of shards") from None
    if gone:
        raise ModelFault("model_missing", f"{gone[0]} does not exist")
