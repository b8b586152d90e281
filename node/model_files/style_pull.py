"""Pulls the LoRAs of a model from the Hugging Face hub, each checked against the catalog's digest before it is here."""

from collections.abc import Callable
from pathlib import Path

from node.adapters.engine.places import where_from
from node.adapters.engine.styles import FOLDER, StyleFile, styles_of
from node.adapters.engine.weights import hash_file
from node.model_files.hub import list_files
from node.model_files.pulling import Told, alone_in, bring, bytes_here, require_hub, require_room
from node.model_files.shelf import Shelf
from protocol.errors import ConfigError, Unavailable
from protocol.task.catalog import CatalogModel, StyleSource
from protocol.units import Digest

PARTIAL = ".partial"
"""Ends the name of a folder in which a LoRA is being pulled."""


def pull_styles(shelf: Shelf, model: CatalogModel, told: Told) -> None:
    """Bring all LoRAs of a model to this machine. Those that are here are only checked.

    Raises:
        ConfigError: One is here and wrong, is nowhere published and not here, is being pulled already, or does not fit.
        Unavailable: The hub does not answer, or what it has is not what the catalog means.
    """
    for style, file in zip(model.styles, styles_of(model, shelf.pulled), strict=True):
        if file.path.is_file():
            told.begin(f"{model.name}: checking {file.path.name}", file.path.stat().st_size, 0)
            if _digest_of(file.path, told.advance) != file.digest:
                raise ConfigError(f"{model.name}: {file.path} is not the catalog's LoRA: remove it and run it again")
        elif style.source is None:
            raise ConfigError(f"models.{model.name}.styles: {where_from(model, file, shelf.pulled)}")
        else:
            _pull(shelf, model, style.source, file, told)


def _pull(shelf: Shelf, model: CatalogModel, source: StyleSource, style: StyleFile, told: Told) -> None:
    """Bring one LoRA, which grows in a folder of its own beside its place."""
    require_hub()
    partial = shelf.pulled / FOLDER / f"{style.digest.hex()}{PARTIAL}"
    what = f"{model.name}: {source.file} of {source.repository}"
    with alone_in(partial, what):
        remote = list_files(source).get(source.file)
        if remote is None:
            raise ConfigError(f"{source.repository} has no {source.file} at this revision")
        if remote.sha256 is not None and remote.sha256 != style.digest.hex():
            raise Unavailable(f"{what} has the digest {remote.sha256}, the catalog says {style.digest.hex()}")
        require_room(shelf, what, [remote], partial)
        told.begin(source.file, remote.size, bytes_here(remote, partial))
        bring(source, remote, partial, told)
        here = partial / source.file
        found = _digest_of(here, lambda _count: None)
        if found != style.digest:
            here.unlink()
            raise Unavailable(f"{what} has the digest {found.hex()}, the catalog says {style.digest.hex()}")
        here.rename(style.path)
        for folder in sorted((path for path in partial.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()


def _digest_of(path: Path, on_bytes: Callable[[int], None]) -> Digest:
    try:
        return hash_file(path, on_bytes)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
