"""``cuckoo bench``: how fast this machine draws, by itself."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from node.cli.account import JsonOption, print_line

if TYPE_CHECKING:
    from node.adapters.engine.settings import EngineSettings
    from node.engine_bench import BenchOptions, Row
    from protocol.task.catalog import Catalog

GIGA: Final = 10**9

bench_commands = typer.Typer(help="Measure this machine.")


@bench_commands.callback()
def bench() -> None:
    """Measure this machine."""


@bench_commands.command("engine")
def bench_engine_command(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings of a miner: its engine is measured.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Model to measure. Repeatable.  \\[the settings']")] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="WxH", help="Size of pictures. Repeatable.  [each model's usual]")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Pictures together, 1 to 64. Repeatable.  \\[1 to 64; on a CPU 1, 2]")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of a picture; 0 for each model's usual.")] = 0,
    seconds: Annotated[float, typer.Option(help="Least time for each row.")] = 5.0,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1.  \\[the settings', or auto]")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads, 0 for automatic.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print how fast models draw here: the table by which owners compare devices.

    It runs the engine of a miner and nothing else: pause a miner that uses the device. More pictures together are
    measured until they do not fit.

      $ cuckoo bench engine

      $ cuckoo bench engine --model sdxl --batch 1 --batch 4 --json

      $ cuckoo bench engine --config miner.toml --size 512x512
    """
    from node.engine_bench import BenchOptions

    settings, catalog = _engine_of(config, {"models": model, "device": device, "threads": threads})
    options = BenchOptions(_sizes(size), _checked(batch, steps, seconds), steps, seconds)
    rows = _measured(settings, catalog, options)
    if as_json:
        print_line({"rows": [asdict(row) for row in rows]})
    else:
        _print(rows)


def _engine_of(config: Path | None, flags: dict[str, object]) -> "tuple[EngineSettings, Catalog]":
    """Give the engine that is meant, and the models that it may know."""
    from node.adapters.engine.settings import EngineSettings, require_libraries
    from node.config.configuration import load_settings
    from node.miner_engine import engine_settings
    from node.model_files.catalog import load_catalog
    from protocol.errors import ConfigError

    require_libraries()
    catalog = load_catalog(None)
    chosen = EngineSettings()
    if config is not None:
        settings = load_settings(config, {})
        if settings.role != "miner":
            raise ConfigError(f"--config: {config} is of a {settings.role}: only a miner has an engine")
        catalog, chosen = load_catalog(settings.catalog), engine_settings(settings)
    given = {name: value for name, value in flags.items() if value is not None}
    if "models" in given:
        given["models"] = tuple(dict.fromkeys(given["models"]))  # type: ignore[call-overload]  # a list by its flag
    from dataclasses import replace

    return replace(chosen, **given), catalog  # type: ignore[arg-type]  # each has its field's type by its flag


def _sizes(texts: list[str] | None) -> tuple[tuple[int, int], ...]:
    """Read sizes as people write them."""
    from protocol.errors import ConfigError

    sizes = []
    for text in texts or []:
        match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
        if match is None or not all(8 <= int(edge) <= 2048 and int(edge) % 8 == 0 for edge in match.groups()):
            raise ConfigError(f"--size: {text!r} is no size: write 512x512, each edge a multiple of 8 up to 2048")
        sizes.append((int(match[1]), int(match[2])))
    return tuple(sizes)


def _checked(batches: list[int] | None, steps: int, seconds: float) -> tuple[int, ...]:
    """Refuse numbers that no engine takes."""
    from protocol.errors import ConfigError

    for number in batches or []:
        if not 1 <= number <= 64:
            raise ConfigError(f"--batch: {number} pictures together: give 1 to 64")
    if not 0 <= steps <= 200:
        raise ConfigError(f"--steps: {steps}: give 1 to 200, or 0 for each model's usual")
    if not 0 < seconds <= 3600:
        raise ConfigError(f"--seconds: {seconds:g}: give more than 0, up to 3600")
    return tuple(sorted(set(batches or [])))


def _measured(settings: "EngineSettings", catalog: "Catalog", options: "BenchOptions") -> "list[Row]":
    """Measure all rows under a bar."""
    import trio

    from node.cli.progress import Counter
    from node.engine_bench import bench_engine, count_rows

    rows: list[Row] = []
    counter = Counter(count_rows(settings, options, on_cpu=settings.device == "cpu"))

    async def run() -> None:
        async for row in bench_engine(settings, catalog, options, counter.say):
            rows.append(row)
            counter.done(len(rows))

    with counter.shown():
        trio.run(run)
    return rows


def _print(rows: "list[Row]") -> None:
    """Show it to a person."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("model", overflow="fold", min_width=12)
    for heading in ("size", "steps", "together", "pictures/s", "pixel-steps/s", "GB", "load s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = (f"{row.pictures_per_s:.2f}", f"{row.pixel_steps_per_s:,}", f"{row.memory_bytes / GIGA:.2f}")
        table.add_row(
            row.model,
            f"{row.width}x{row.height}",
            str(row.steps),
            str(row.batch),
            *(figures if not row.fault else (row.fault, "", "")),
            f"{row.load_s:.1f}",
        )
    console.print(table)
    if rows:
        print(f"{rows[0].device}, {rows[0].precision}; GB: the device's at most, on a CPU the whole process's")
