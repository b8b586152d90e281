"""``cuckoo models``: what the catalog knows, what of it is on this machine, and how it gets here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from node.cli.account import JsonOption, print_line

if TYPE_CHECKING:
    from node.model_files.shelf import Copy, Shelf
    from protocol.task.catalog import CatalogModel, ModelSource

MANY_SIZES: Final = 4
"""More sizes than this are counted in a table, not listed."""

model_commands = typer.Typer(help="List a miner's models, pull them, and check their files.")


def _model_names(incomplete: str) -> list[str]:
    """Complete a model's name from the catalog of the package."""
    from node.model_files.catalog import load_catalog

    return [name for name in load_catalog().models if name.startswith(incomplete)]


NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]…", help="All where left out.", autocompletion=_model_names)
]
PullArgument = Annotated[
    list[str], typer.Argument(metavar="NAME…", help="Models of the catalog.", autocompletion=_model_names)
]
CatalogOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Models to add to the package's catalog, as a node's catalog.")
]
JsonLinesOption = Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")]
FolderOption = Annotated[
    Path | None, typer.Option("--models-folder", metavar="FOLDER", help="Where pulled models lie.  [~/.cuckoo/models]")
]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings of a node: its catalog and folders are meant.")
]


@model_commands.command("list")
def list_models(
    config: ConfigOption = None, catalog: CatalogOption = None, folder: FolderOption = None, as_json: JsonOption = False
) -> None:
    """List all models of the catalog, and which are on this machine.

    Only lengths of files are looked at: whether they are the right ones, cuckoo models check says.

      $ cuckoo models list

      $ cuckoo models list --config miner.toml --json
    """
    shelf = _shelf(config, catalog, folder)
    copies = [shelf.look(model) for _, model in sorted(shelf.catalog.models.items())]
    if as_json:
        print_line({"models": [_described(copy) for copy in copies]})
    else:
        _print(copies)


@model_commands.command("pull")
def pull_models(
    names: PullArgument,
    config: ConfigOption = None,
    catalog: CatalogOption = None,
    folder: FolderOption = None,
    as_json: JsonLinesOption = False,
) -> None:
    """Bring models and their LoRAs from the Hugging Face hub to this machine, at the revisions that the catalog names.

    Safetensors only. An interrupted pull goes on where it stopped. A private or gated model needs a token of yours in
    HF_TOKEN. What a running node serves is never fetched by the node itself.

      $ cuckoo models pull sd-1.5

      $ cuckoo models pull sdxl-turbo --models-folder /srv/models
    """
    from node.cli.transfer import Transfer
    from node.model_files.pull import pull

    shelf = _shelf(config, catalog, folder)
    chosen = _chosen(shelf, names)
    transfer = Transfer()
    for model in chosen:
        with transfer.shown():
            where, digest = pull(shelf, model, transfer)
        if as_json:
            print_line(
                {"model": model.name, "folder": str(where), "digest": digest.hex(), "pinned": bool(model.digest)}
            )
            continue
        print(f"{model.name}: {where}, digest {digest.hex()}")
        if model.digest is None:
            print(
                "  The catalog has no digest of it, so no node serves it yet. If this network is yours, let the\n"
                f'  catalog file of every node say\n\n[models."{model.name}"]\ndigest = "{digest.hex()}"'
            )


@model_commands.command("remove")
def remove_models(
    names: PullArgument,
    config: ConfigOption = None,
    catalog: CatalogOption = None,
    folder: FolderOption = None,
    as_json: JsonLinesOption = False,
) -> None:
    """Remove pulled models from this machine. A node that serves one cannot load it again: change its settings first.

    $ cuckoo models remove sdxl
    """
    shelf = _shelf(config, catalog, folder)
    for model in _chosen(shelf, names):
        freed = shelf.remove(model)
        if as_json:
            print_line({"model": model.name, "freed_bytes": freed})
        else:
            print(f"{model.name}: removed, {freed / 1e9:.2f} GB freed")


@model_commands.command("check")
def check_models(
    names: NamesArgument = None,
    config: ConfigOption = None,
    catalog: CatalogOption = None,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the files of models on this machine with the catalog's digests. The exit code is 1 when one is wrong.

    Without names, all that are here.

      $ cuckoo models check

      $ cuckoo models check sd-1.5 --config miner.toml
    """
    from node.cli.transfer import Transfer
    from node.model_files.check import check
    from node.model_files.shelf import ModelHere

    shelf = _shelf(config, catalog, folder)
    copies = [shelf.look(model) for model in _chosen(shelf, names)]
    if not names:
        copies = [copy for copy in copies if copy.state is not ModelHere.ABSENT]
    transfer = Transfer()
    with transfer.shown():
        findings = [check(shelf, copy, transfer) for copy in copies]
    if as_json:
        print_line(
            {
                "right": all(finding.is_right for finding in findings),
                "findings": [
                    {"model": finding.model, "right": finding.is_right, "detail": finding.detail}
                    for finding in findings
                ],
            }
        )
    else:
        for finding in findings:
            print(f"{'ok   ' if finding.is_right else 'WRONG'} {finding.model}: {finding.detail}")
    if not all(finding.is_right for finding in findings):
        raise typer.Exit(1)


def _shelf(config: Path | None, catalog: Path | None, folder: Path | None) -> "Shelf":
    """Find the catalog and the folders that are meant: flags win over a node's settings."""
    from dataclasses import replace

    from node.model_files.catalog import load_catalog
    from node.model_files.shelf import Shelf

    named: dict[str, Path] = {}
    limit = 0
    if config is not None:
        from node.config.configuration import load_settings

        settings = load_settings(config, {})
        catalog, folder = catalog or settings.catalog, folder or settings.engine.pulled_models
        named = dict(settings.engine.model_folders)
        limit = round(settings.engine.pulled_limit_gb * 10**9)
    shelf = Shelf(load_catalog(catalog), named, limit_bytes=limit)
    return shelf if folder is None else replace(shelf, pulled=folder.expanduser().absolute())


def _chosen(shelf: "Shelf", names: list[str] | None) -> "list[CatalogModel]":
    """Find the models of these names, all where there are none."""
    from protocol.errors import ConfigError

    known = shelf.catalog.models
    for name in names or []:
        if name not in known:
            raise ConfigError(f"there is no model {name!r} in the catalog; there are: {', '.join(sorted(known))}")
    return [known[name] for name in dict.fromkeys(names or sorted(known))]


def _sizes_text(model: "CatalogModel") -> str:
    """Name a model's sizes, or where there are many its own and how many others."""
    if len(model.sizes) <= MANY_SIZES:
        return model.sizes_text
    return f"{model.default_size[0]}x{model.default_size[1]} and {len(model.sizes) - 1} others"


def _source_text(source: "ModelSource") -> str:
    """Name a source in a few characters."""
    match source.kind:
        case "builtin":
            return "this package"
        case "hugging_face":
            return f"{source.repository} @ {source.revision[:8]}"
        case "checkpoint":
            return source.file or "a checkpoint of yours"
        case _:
            return source.path or "a folder of yours"


def _styles_text(model: "CatalogModel") -> str:
    """Say how many LoRAs a model has, where it has any."""
    count = len(model.styles)
    return "" if count == 0 else f" with {count} LoRA{'s' if count > 1 else ''}"


def _described(copy: "Copy") -> dict[str, Any]:  # Any: what JSON holds
    """Say what a program wants to know of a model."""
    model = copy.model
    return {
        "name": model.name,
        "title": model.title,
        "source": model.source.model_dump(),
        "licence": model.licence,
        "sizes": [list(size) for size in model.sizes],
        "default_steps": model.default_steps,
        "max_steps": model.max_steps,
        "digest": None if model.digest is None else model.digest.hex(),
        "styles": [
            {
                "digest": style.digest.hex(),
                "weight": style.weight,
                "source": None if style.source is None else style.source.model_dump(),
            }
            for style in model.styles
        ],
        "state": copy.state.value,
        "folder": None if copy.folder is None else str(copy.folder),
        "bytes": copy.size,
        "fault": copy.fault or None,
    }


def _print(copies: "list[Copy]") -> None:
    """Show it to a person."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=box.SIMPLE)
    for heading in ("model", "source, licence", "sizes, steps", "on this machine"):
        table.add_column(heading, overflow="fold")
    for copy in copies:
        model = copy.model
        state = copy.state.value if model.digest is not None else f"{copy.state.value}, not pinned"
        # Four columns of two lines or more: as many columns as there are things to say fit no terminal.
        table.add_row(
            f"{model.name}\n{model.title}",
            f"{_source_text(model.source)}{_styles_text(model)}\n{model.licence}",
            f"{_sizes_text(model)}\n1 to {model.max_steps} steps, {model.default_steps} by default",
            f"{state}\n{copy.size / 1e9:.2f} GB" if copy.size else state,
        )
        table.add_section()
    console.print(table)
    for copy in copies:
        if copy.fault:
            console.print(f"{copy.model.name}: {copy.fault}", soft_wrap=True)
    if any(copy.model.digest is None for copy in copies):
        console.print("not pinned: the catalog has no digest of it, so no node serves or offers it", soft_wrap=True)
