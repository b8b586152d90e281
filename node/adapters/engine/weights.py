"""Where a model's files lie, and whether they are the ones that the catalog means.

Knows nothing of torch: the parent uses it to find folders, the child to check digests before it loads.
Spec: SPEC.md §7 (model digest).
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from protocol.errors import ConfigError
from protocol.task.catalog import BuiltinSource, CatalogModel, FolderSource
from protocol.units import Digest

INDEX: Final = "model_index.json"
"""The file by which diffusers knows a pipeline folder."""

READ_SUFFIXES: Final = frozenset({".json", ".safetensors", ".txt", ".model"})
"""What a pipeline reads: configurations, weights, merges and sentence-piece vocabularies. Pickles are never read."""

CHUNK_BYTES: Final = 1024 * 1024


class ModelFault(Exception):
    """A model folder cannot be used; ``reason`` is stable: ``model_missing`` or ``model_corrupt``."""

    def __init__(self, reason: str, detail: str) -> None:
        """Name the reason; ``detail`` is for the log."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def model_folder(model: CatalogModel, folders: Mapping[str, Path]) -> Path:
    """Find the folder of a model: the one that the settings name, or else the catalog's.

    Raises:
        ConfigError: There is no such folder, or nobody has named one.
    """
    folder = folders.get(model.name)
    if folder is not None:
        origin = f"model_folders.{model.name}"
    elif isinstance(model.source, BuiltinSource):
        folder = Path(str(files("node"))) / "models" / model.source.folder
        origin = "the installed package"
    elif isinstance(model.source, FolderSource) and model.source.path is not None:
        folder = Path(model.source.path)
        origin = f"models.{model.name}.source.path"
    else:
        raise ConfigError(f"model_folders.{model.name}: name the folder that holds this model, in diffusers layout")
    if not (folder / INDEX).is_file():
        raise ConfigError(f"{origin}: no model in {folder} (there is no {INDEX}); name a folder in diffusers layout")
    return folder


def read_files(folder: Path) -> tuple[str, ...]:
    """List what the pipeline in this folder reads, as sorted relative paths with ``/``.

    That is the index and, in the folder of each part that the index names, the files that diffusers reads.
    Anything else beside them (cards, licences, samples) is no part of the model.

    Raises:
        ModelFault: The index is missing or no index, or a part's folder is missing or empty.
    """
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except FileNotFoundError:
        raise ModelFault("model_missing", f"{folder / INDEX} does not exist") from None
    except (OSError, ValueError) as error:
        raise ModelFault("model_corrupt", f"{folder / INDEX}: {error}") from error
    if not isinstance(index, dict):
        raise ModelFault("model_corrupt", f"{folder / INDEX} is not a JSON object")
    found = [INDEX]
    for part, classes in sorted(index.items()):
        if not isinstance(classes, list) or not classes or classes[0] is None:
            continue
        if "/" in part or part.startswith("."):
            raise ModelFault("model_corrupt", f"{folder / INDEX} names a part {part!r}")
        names = [
            f"{part}/{path.name}"
            for path in sorted((folder / part).glob("*"))
            if path.suffix in READ_SUFFIXES and path.is_file()
        ]
        if not names:
            raise ModelFault("model_missing", f"{folder / part} holds no files")
        found.extend(names)
    return tuple(sorted(found))


def model_digest(folder: Path) -> Digest:
    """Compute the digest of a model: SHA-256 over one line for each file, sorted by path.

    The lines are those that ``sha256sum`` prints (hexadecimal digest, two spaces, relative path, line feed), so that
    anyone can check a digest without this code.

    Raises:
        ModelFault: A file is missing or cannot be read.
    """
    total = hashlib.sha256()
    for name in read_files(folder):
        one = hashlib.sha256()
        try:
            with (folder / name).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    one.update(chunk)
        except OSError as error:
            raise ModelFault("model_missing", f"{folder / name}: {error}") from error
        total.update(f"{one.hexdigest()}  {name}\n".encode())
    return Digest(total.digest())


def check_model(folder: Path, expected: Digest) -> None:
    """Make sure that a folder holds exactly the model that the catalog means.

    Raises:
        ModelFault: A file is missing, or the digest is another one.
    """
    actual = model_digest(folder)
    if actual != expected:
        raise ModelFault("model_corrupt", f"{folder}: the digest is {actual.hex()}, the catalog says {expected.hex()}")
