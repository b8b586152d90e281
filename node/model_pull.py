"""Pulls a model from the Hugging Face hub: what a pipeline reads and nothing else, checked before it counts as here.

A model grows in a folder beside its place, ``NAME.partial``; an interrupted pull goes on there. Only when every file
is the one that the hub lists, and all together have the catalog's digest, does the folder get the model's name.
"""

import fcntl
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from node.adapters.engine.places import PARTIAL
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
from node.hub import INCOMPLETE, RemoteFile, fetch, list_files
from node.model_shelf import Shelf, free_bytes
from protocol.errors import ConfigError, Unavailable
from protocol.task.catalog import CatalogModel, HuggingFaceSource
from protocol.units import Digest

SPARE_BYTES: Final = 512 * 1024 * 1024
"""Space that a pull leaves free: a full disk stops the miner that uses it."""
LOCK: Final = ".lock"


class Told(Protocol):
    """Whoever shows how a pull goes on."""

    def begin(self, what: str, total: int, done: int) -> None:
        """Say what is being done, and how many bytes of a whole are done."""

    def advance(self, count: int) -> None:
        """Say that so many more bytes are done."""


def pull(shelf: Shelf, model: CatalogModel, told: Told) -> tuple[Path, Digest]:
    """Bring a model to this machine, and give where it lies and its digest. One that is here is only checked.

    Raises:
        ConfigError: It is not a model of the hub, is here and wrong, is being pulled already, or does not fit.
        Unavailable: The hub does not answer, or what it sent is not what it lists or what the catalog means.
    """
    source = model.source
    if not isinstance(source, HuggingFaceSource):
        raise ConfigError(f"{model.name}: {_not_from_the_hub(model)}: there is nothing to pull")
    place = shelf.place(model)
    if place is not None and place.folder.exists():
        return place.folder, _check_present(place.folder, model, told)
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("pulling needs huggingface_hub, which is not installed: pip install 'cuckoo-overlay[miner]'")
    partial = shelf.partial(model)
    with _alone_in(partial, model):
        files = _choose(source, partial)
        _require_space(model, files, partial)
        _require_limit(shelf, model, files, partial)
        whole, here = sum(file.size for file in files), sum(_bytes_here(file, partial) for file in files)
        for file in files:
            told.begin(file.name, whole, here)
            here += _bring(source, file, partial, told)
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


@contextmanager
def _alone_in(folder: Path, model: CatalogModel) -> Iterator[None]:
    """Hold the folder of a model that is being pulled, so that no second pull writes into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be used ({error.strerror}): choose another --models-folder") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"{model.name} is being pulled already into {folder}: wait for that to end") from None
        try:
            yield
        finally:
            if [path.name for path in folder.glob("*")] == [LOCK]:  # nothing came: it is no partial model
                (folder / LOCK).unlink()
                folder.rmdir()
    finally:
        os.close(lock)


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


def _bytes_here(file: RemoteFile, partial: Path) -> int:
    """Count what is here of a file."""
    for path in (partial / file.name, partial / (file.name + INCOMPLETE)):
        if path.is_file():
            return min(path.stat().st_size, file.size)
    return 0


def _require_space(model: CatalogModel, files: list[RemoteFile], partial: Path) -> None:
    """Refuse to begin what the disk has no room for."""
    missing = sum(file.size - _bytes_here(file, partial) for file in files)
    free = free_bytes(partial)
    if missing + SPARE_BYTES > free:
        raise ConfigError(
            f"{model.name} needs {missing / 1e9:.1f} GB more and {SPARE_BYTES / 1e9:.1f} GB to spare, {partial.parent} "
            f"has {free / 1e9:.1f} GB free: make room, or choose another --models-folder"
        )


def _require_limit(shelf: Shelf, model: CatalogModel, files: list[RemoteFile], partial: Path) -> None:
    """Refuse to begin what would take more than the owner lets pulled models take."""
    if shelf.limit_bytes == 0:
        return
    missing = sum(file.size - _bytes_here(file, partial) for file in files)
    present = shelf.pulled_bytes()
    if sum(present.values()) + missing > shelf.limit_bytes:
        others = [name for name in present if not name.endswith(PARTIAL)]
        largest = f": cuckoo models remove {others[0]} frees {present[others[0]] / 1e9:.1f} GB" if others else ""
        raise ConfigError(
            f"engine.pulled_limit_gb: {model.name} needs {missing / 1e9:.1f} GB more, pulled models have "
            f"{sum(present.values()) / 1e9:.1f} of {shelf.limit_bytes / 1e9:.1f} GB{largest}"
        )


def _bring(source: HuggingFaceSource, file: RemoteFile, partial: Path, told: Told) -> int:
    """Fetch one file unless all of it is here, and give how many bytes came."""
    target = partial / file.name
    missing = file.size - _bytes_here(file, partial)
    if not (target.is_file() and missing == 0):
        fetch(source, file, target, told.advance)
    return missing


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
