"""Pulls a model from the Hugging Face hub: what a pipeline reads and nothing else, checked before it counts as here.

A model grows in a folder beside its place, ``NAME.partial``; an interrupted pull goes on there. Only when every file
is the one that the hub lists, and all together have the catalog's digest, does the folder get the model's name.
"""

from pathlib import Path, PurePosixPath

from node.adapters.engine.places import find_model
from node.adapters.engine.styles import style_lines
from node.adapters.engine.weights import (
    INDEX,
    SUMS,
    ModelFault,
    check_model,
    digest_lines,
    digest_of_lines,
    index_parts,
    part_files,
    read_files,
    recorded_lines,
)
from node.model_files.hub import INCOMPLETE, RemoteFile, fetch, list_files
from node.model_files.pulling import LOCK, Told, alone_in, bring, bytes_here, require_hub, require_room
from node.model_files.shelf import Shelf
from node.model_files.style_pull import pull_styles
from protocol.errors import ConfigError, Unavailable
from protocol.task.catalog import CatalogModel, HuggingFaceSource
from protocol.units import Digest


def pull(shelf: Shelf, model: CatalogModel, told: Told) -> tuple[Path, Digest]:
    """Bring a model to this machine, and give where it lies and its digest. One that is here is only checked.

    Raises:
        ConfigError: It is not a model of the hub, is here and wrong, is being pulled already, or does not fit.
        Unavailable: The hub does not answer, or what it sent is not what it lists or what the catalog means.
    """
    source = model.source
    if isinstance(source, HuggingFaceSource):
        pull_styles(shelf, model, told)
        folder, digest = _pull_bare(shelf, model, source, told)
        return folder, _styled(shelf, model, told) if model.styles else digest
    if all(style.source is None for style in model.styles):
        raise ConfigError(f"{model.name}: {_not_from_the_hub(model)}: there is nothing to pull")
    pull_styles(shelf, model, told)
    return find_model(model, shelf.named, shelf.pulled).folder, _styled(shelf, model, told)


def _styled(shelf: Shelf, model: CatalogModel, told: Told) -> Digest:
    """Give the digest of a model with its LoRAs, all of which are here and each the one that it should be.

    Raises:
        ConfigError: A file cannot be read.
        Unavailable: It is not the catalog's.
    """
    place = find_model(model, shelf.named, shelf.pulled)
    lines = recorded_lines(place.folder) if isinstance(model.source, HuggingFaceSource) else None
    try:
        if lines is None:
            lines = digest_lines(place.folder, place.checkpoint, told.advance)
        digest = digest_of_lines(lines + style_lines(place.styles))
    except ModelFault as fault:
        raise ConfigError(f"{model.name}: {fault.detail}") from fault
    if model.digest is not None and digest != model.digest:
        raise Unavailable(
            f"{model.name}: its files and styles have the digest {digest.hex()}, the catalog says {model.digest.hex()}"
        )
    return digest


def _pull_bare(shelf: Shelf, model: CatalogModel, source: HuggingFaceSource, told: Told) -> tuple[Path, Digest]:
    """Bring a model without its LoRAs."""
    place = shelf.place(model)
    if place is not None and place.folder.exists():
        return place.folder, _check_present(place.folder, model, told)
    require_hub()
    partial = shelf.partial(model)
    with alone_in(partial, model.name):
        files = _choose(source, partial)
        require_room(shelf, model.name, files, partial)
        whole, here = sum(file.size for file in files), sum(bytes_here(file, partial) for file in files)
        for file in files:
            told.begin(file.name, whole, here)
            here += bring(source, file, partial, told)
        told.begin(f"{model.name}: checking", whole, 0)
        lines = _checked_lines(files, partial, told)
        digest = digest_of_lines(lines)
        if model.digest is not None and not model.styles and digest != model.digest:
            raise Unavailable(
                f"{model.name}: the files of {source.repository} have the digest {digest.hex()}, the catalog says "
                f"{model.digest.hex()}: they stay in {partial}, where no node reads them"
            )
        (partial / SUMS).write_text(lines, "utf-8")
        (partial / LOCK).unlink()
        target = shelf.pulled / model.name
        partial.rename(target)
    return target, digest


def _not_from_the_hub(model: CatalogModel) -> str:
    """Say where a model comes from that no hub has."""
    return "it comes with this package" if model.source.kind == "builtin" else f"its source is a {model.source.kind}"


def _check_present(folder: Path, model: CatalogModel, told: Told) -> Digest:
    """Check a model that is here: against the catalog, or where that has no digest, against what was pulled."""
    recorded = recorded_lines(folder)
    # That of a model with styles covers more than what is pulled: loading and `models check` compare it.
    expected = None if model.styles else model.digest
    if expected is None and recorded is not None:
        expected = digest_of_lines(recorded)
    try:
        size = sum((folder / name).stat().st_size for name in read_files(folder))
        told.begin(f"{model.name}: checking what is here", size, 0)
        if expected is None:
            return digest_of_lines(digest_lines(folder, on_bytes=told.advance))
        check_model(folder, expected, on_bytes=told.advance)
    except ModelFault as fault:
        raise ConfigError(
            f"{model.name}: {fault.detail}; remove {folder} and run cuckoo models pull {model.name}"
        ) from fault
    return expected


def _choose(source: HuggingFaceSource, partial: Path) -> list[RemoteFile]:
    """Find out what a pipeline reads of a repository: what its index names, and of that no pickle and no variant."""
    listed = list_files(source)
    index = listed.get(INDEX)
    if index is None:
        raise ConfigError(f"{source.repository} has no {INDEX} at this revision: it is not in diffusers layout")
    target = partial / INDEX
    if not (target.is_file() and index.is_content(target)):
        fetch(source, index, target, lambda _count: None)
    try:
        chosen = [INDEX]
        for part in index_parts(partial):
            inside = [PurePosixPath(name).name for name in listed if str(PurePosixPath(name).parent) == part]
            chosen += [f"{part}/{name}" for name in part_files(f"{source.repository}/{part}", inside)]
    except ModelFault as fault:
        raise ConfigError(fault.detail) from fault
    wanted = {partial / name for name in chosen}
    wanted |= {path.with_name(path.name + INCOMPLETE) for path in wanted} | {partial / LOCK}
    for path in partial.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()  # of another revision: it would count into the digest
    return [listed[name] for name in sorted(chosen)]


def _checked_lines(files: list[RemoteFile], partial: Path, told: Told) -> str:
    """Make sure that each file is the one that the hub lists, and give the lines of the digest."""
    try:
        lines = digest_lines(partial, on_bytes=told.advance)
    except ModelFault as fault:
        raise Unavailable(fault.detail) from fault
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines.splitlines())}
    for file in files:
        path = partial / file.name
        if not file.is_content(path, sums[file.name]):
            path.unlink()
            raise Unavailable(f"{path} is not the file that the hub lists, and was removed: run it again to fetch it")
    return lines
