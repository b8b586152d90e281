"""What of the catalog's models lies on this machine, and in what state. Reads no weights, only lengths and names."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from node.adapters.engine.places import PARTIAL, ModelPlace, default_models_folder, find_model, place_of, where_from
from node.adapters.engine.settings import EngineSettings, served_models
from node.adapters.engine.styles import named_lines, styles_of
from node.adapters.engine.weights import ModelFault, check_whole, digest_of_lines, path_of, read_files, recorded_lines
from node.model_files.catalog import load_catalog
from node.settings import NodeRole, Settings
from protocol.errors import ConfigError
from protocol.task.catalog import BuiltinSource, Catalog, CatalogModel, HuggingFaceSource


class ModelHere(StrEnum):
    """Whether a model lies on this machine."""

    BUILT_IN = "built in"
    HERE = "here"
    """All files are there and of full length; whether they are the right ones, ``cuckoo models check`` says."""
    PARTLY = "partly here"
    """A pull was interrupted, or goes on."""
    ABSENT = "not here"
    FAULTY = "faulty"
    """Something is wrong with a file."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The catalog, and the folders of this machine in which its models may lie."""

    catalog: Catalog
    named: Mapping[str, Path] = field(default_factory=dict)
    """Folders that the owner named, by model."""
    pulled: Path = field(default_factory=default_models_folder)
    """Folder of pulled models."""
    limit_bytes: int = 0
    """Most bytes that pulled models may take together; 0 for no limit but the disk's."""

    def place(self, model: CatalogModel) -> ModelPlace | None:
        """Give where a model is to lie, None where nobody has named a place and nothing was pulled."""
        return place_of(model, self.named, self.pulled)

    def pulled_bytes(self) -> dict[str, int]:
        """Give what each model under ``pulled`` takes (bytes), whole or partial, the largest first."""
        if not self.pulled.is_dir():
            return {}
        sizes = {folder.name: _bytes_under(folder) for folder in self.pulled.iterdir() if folder.is_dir()}
        return dict(sorted(sizes.items(), key=lambda one: (-one[1], one[0])))

    def remove(self, model: CatalogModel) -> int:
        """Remove a pulled model, whole and partial, from this machine; gives the bytes that were freed.

        Its LoRAs go too where they were pulled, but for those that another model of the catalog has.

        Raises:
            ConfigError: It was not pulled.
        """
        folders = [folder for folder in (self.pulled / model.name, self.partial(model)) if folder.is_dir()]
        others = [one for one in self.catalog.models.values() if one.name != model.name]
        shared = {style.digest for one in others for style in one.styles}
        styles = [
            style.path
            for style in styles_of(model, self.pulled)
            if style.is_published and style.digest not in shared and style.path.is_file()
        ]
        if not folders and not styles:
            raise ConfigError(f"{model.name} was not pulled into {self.pulled}: there is nothing to remove")
        freed = sum(map(_bytes_under, folders)) + sum(path.stat().st_size for path in styles)
        for folder in folders:
            shutil.rmtree(folder)
        for path in styles:
            path.unlink()
        return freed

    def partial(self, model: CatalogModel) -> Path:
        """Give the folder in which a model lies while it is pulled."""
        return self.pulled / (model.name + PARTIAL)

    def look(self, model: CatalogModel) -> "Copy":
        """Say in what state a model is on this machine."""
        place = self.place(model)
        if place is None or not place.folder.exists():
            partial = self.partial(model)
            if isinstance(model.source, HuggingFaceSource) and partial.is_dir():
                return Copy(model, ModelHere.PARTLY, partial, _bytes_under(partial))
            return Copy(model, ModelHere.ABSENT, None, 0)
        try:
            check_whole(place.folder, place.checkpoint)
            size = sum(
                path_of(place.folder, name, place.checkpoint).stat().st_size
                for name in read_files(place.folder, place.checkpoint)
            )
        except (ModelFault, OSError) as error:
            detail = error.detail if isinstance(error, ModelFault) else str(error)
            return Copy(model, ModelHere.FAULTY, place.folder, _bytes_under(place.folder), detail)
        for style in place.styles:
            if not style.path.is_file():
                state = ModelHere.PARTLY if style.is_published else ModelHere.FAULTY
                return Copy(model, state, place.folder, size, f"styles: {where_from(model, style, self.pulled)}")
            size += style.path.stat().st_size
        if isinstance(model.source, BuiltinSource) and model.name not in self.named:
            return Copy(model, ModelHere.BUILT_IN, place.folder, size)
        recorded = recorded_lines(place.folder) if isinstance(model.source, HuggingFaceSource) else None
        whole = None if recorded is None else digest_of_lines(recorded + named_lines(place.styles))
        if model.digest is not None and whole not in (None, model.digest):
            detail = f"{place.folder} was pulled with another digest than the catalog's"
            return Copy(model, ModelHere.FAULTY, place.folder, size, detail)
        return Copy(model, ModelHere.HERE, place.folder, size)


@dataclass(frozen=True, slots=True)
class Copy:
    """A model as it is on this machine."""

    model: CatalogModel
    state: ModelHere
    folder: Path | None
    """Where it lies; None when it does not."""
    size: int
    """Bytes on disk of what a pipeline reads; while it is pulled, of what came."""
    fault: str = ""
    """What is wrong or missing, with the path of the file."""


def require_models(settings: Settings) -> None:
    """Make sure that a miner with these settings would find its models.

    Raises:
        ConfigError: One is not in the catalog, not pinned there, or not on this machine; the text says what to run.
    """
    engine = settings.engine
    if settings.role is not NodeRole.MINER:
        return
    served = served_models(EngineSettings(models=engine.models), load_catalog(settings.catalog))
    if engine.kind == "diffusion":
        for model in served.values():
            find_model(model, engine.model_folders, engine.pulled_models)


def free_bytes(folder: Path) -> int:
    """Give the free space (bytes) of the disk on which a folder lies or will lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _bytes_under(folder: Path) -> int:
    """Add up what lies in a folder while it may change."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # renamed meanwhile, when it became whole
    return total
