"""Where a model lies on this machine: in the package, in a folder of its owner, or where it was pulled to."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Final

from node.adapters.engine.styles import StyleFile, styles_of
from node.adapters.engine.weights import CHECKPOINT, INDEX, ModelFault, read_files
from protocol.errors import ConfigError
from protocol.task.catalog import BuiltinSource, CatalogModel, CheckpointSource, FolderSource, HuggingFaceSource

PARTIAL: Final = ".partial"
"""Ends the name of a folder in which a model is being pulled, so that no node takes it for a whole one."""


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where the files of a model lie."""

    folder: Path
    """In diffusers layout: weights and all, or what a checkpoint needs beside it."""
    checkpoint: Path | None = None
    """The one file that holds all weights, where they are not in the folder's parts."""
    styles: tuple[StyleFile, ...] = ()
    """LoRAs that are put into the weights."""
    origin: str = ""
    """What named this place, in the words of whoever can change it."""


def default_models_folder() -> Path:
    """Give the folder under the user's home into which models are pulled."""
    return Path.home() / ".cuckoo" / "models"


def place_of(model: CatalogModel, folders: Mapping[str, Path], pulled: Path | None = None) -> ModelPlace | None:
    """Give the place where a model is to lie, whether it does or not.

    The folder that the settings name counts first, then the catalog's, then that of its name under ``pulled``.

    Args:
        model: The model.
        folders: Folders by the names of models, as the settings name them.
        pulled: Folder of pulled models; None for the one under the user's home.

    Returns:
        None where nobody named a place and nothing lies under ``pulled``.
    """
    place = _bare_place_of(model, folders, pulled)
    if place is None or not model.styles:
        return place
    return replace(place, styles=styles_of(model, default_models_folder() if pulled is None else pulled))


def _bare_place_of(model: CatalogModel, folders: Mapping[str, Path], pulled: Path | None) -> ModelPlace | None:
    """Give the place of a model without its LoRAs."""
    source = model.source
    named = folders.get(model.name)
    if named is not None:
        folder, origin = named, f"model_folders.{model.name}"
    elif isinstance(source, BuiltinSource):
        folder, origin = Path(str(files("node"))) / "models" / source.folder, "the installed package"
    elif isinstance(source, FolderSource) and source.path is not None:
        folder, origin = Path(source.path), f"models.{model.name}.source.path"
    elif isinstance(source, CheckpointSource) and source.file is not None and source.configuration is not None:
        return ModelPlace(Path(source.configuration), Path(source.file), origin=f"models.{model.name}.source")
    else:
        folder, origin = (default_models_folder() if pulled is None else pulled) / model.name, "engine.models"
        if not folder.exists():
            return None
    return ModelPlace(folder, folder / CHECKPOINT if isinstance(source, CheckpointSource) else None, origin=origin)


def find_model(model: CatalogModel, folders: Mapping[str, Path], pulled: Path | None = None) -> ModelPlace:
    """Find the files of a model, as ``place_of`` says, and make sure that none is obviously missing.

    Raises:
        ConfigError: There is no such folder, or it does not hold what a pipeline reads; or nobody has named one: the
            text says what to run or to set.
    """
    place = place_of(model, folders, pulled)
    if place is None:
        raise ConfigError(_nowhere(model, default_models_folder() if pulled is None else pulled))
    if not (place.folder / INDEX).is_file():
        raise ConfigError(
            f"{place.origin}: no model in {place.folder} (there is no {INDEX}); name a folder in diffusers layout"
        )
    try:
        read_files(place.folder, place.checkpoint)
    except ModelFault as fault:
        raise ConfigError(f"{place.origin}: {fault.detail}") from fault
    for style in place.styles:
        if not style.path.is_file():
            raise ConfigError(f"models.{model.name}.styles: {where_from(model, style, pulled)}")
    return place


def where_from(model: CatalogModel, style: StyleFile, pulled: Path | None = None) -> str:
    """Say what puts a LoRA here that is not."""
    if not style.is_published:
        return f"put the LoRA with this digest there: {style.path}"
    pulled = default_models_folder() if pulled is None else pulled
    return f"{style.path} is not on this machine: {_pull_command(model, pulled)}"


def _nowhere(model: CatalogModel, pulled: Path) -> str:
    """Say what puts a model here that is not."""
    if isinstance(model.source, HuggingFaceSource):
        here = "only partly" if (pulled / (model.name + PARTIAL)).is_dir() else "not"
        return f"engine.models: {model.name} is {here} on this machine: {_pull_command(model, pulled)}"
    what = "this model, in diffusers layout"
    if isinstance(model.source, CheckpointSource):
        what = f"{CHECKPOINT} and, in diffusers layout, its configuration"
    return f"model_folders.{model.name}: name the folder that holds {what}"


def _pull_command(model: CatalogModel, pulled: Path) -> str:
    """Give the command that brings a model here."""
    elsewhere = "" if pulled == default_models_folder() else f" --models-folder {shlex.quote(str(pulled))}"
    return f"cuckoo models pull {model.name}{elsewhere}"
