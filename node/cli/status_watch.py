"""``cuckoo status --node FOLDER --watch``: a node that runs here, looked at again and again, in place."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from node.adapters.control import ask
from node.cli.miner import work_in_words
from node.moments import duration
from protocol.errors import ConfigError, Unavailable

Json = Mapping[str, Any]  # Any: what JSON holds
KINDS: Final = ("coordinator", "miner", "bootstrap", "stranger")
"""Peers in the order in which they are shown."""


def watch_node(folder: Path | None, every_s: float, *, as_json: bool) -> None:
    """Show a node until Ctrl-C; one that stops meanwhile is waited for.

    Raises:
        ConfigError: No node is named, none runs there, or there is no terminal to draw on.
    """
    if folder is None:
        raise ConfigError("--watch: name the node to look at: --node ~/.cuckoo/miner")
    console = Console(highlight=False)
    if not (as_json or console.is_terminal):
        raise ConfigError("--watch: draws on a terminal; give --json for a line each time")
    place = folder.expanduser().absolute()
    said = ask(place, {"command": "status"})
    if as_json:
        _print_lines(place, said, every_s)
    else:
        _draw(place, said, every_s, console)


def _print_lines(place: Path, said: Json, every_s: float) -> None:
    while True:
        print(json.dumps({"at": int(time.time_ns() // 1_000_000), **said}), flush=True)
        time.sleep(every_s)
        said = _ask_again(place) or {"gone": True}


def _draw(place: Path, said: Json, every_s: float, console: Console) -> None:
    began, earlier = time.monotonic(), said
    with Live(view(said, said, every_s), console=console, auto_refresh=False) as live:
        while True:
            live.refresh()
            time.sleep(every_s)
            now = _ask_again(place)
            if now is None:
                gone = Text(f"the node with the data folder {place} does not answer; waiting for it", style="bold red")
                live.update(Group(view(earlier, earlier, every_s), gone))
                continue
            took_s, began = time.monotonic() - began, time.monotonic()
            live.update(view(now, earlier, took_s))
            earlier = now


def _ask_again(place: Path) -> Json | None:
    """Ask a node how it stands; None while it does not answer."""
    try:
        return ask(place, {"command": "status"})
    except (ConfigError, Unavailable):
        return None


def view(said: Json, earlier: Json, seconds: float) -> RenderableType:
    """Draw how a node stands, with what changed since it was asked ``seconds`` ago."""
    number = said["staking_id"]
    known_as = number or ("" if said["role"] == "bootstrap" else "not active")
    who = Text.assemble((said["role"], "bold cyan"), f" {known_as}  {said['peer_id']}")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    counted = _Figures(said["figures"], earlier["figures"], seconds)
    for name, text in (*_lines_of_all(said, counted), *_lines_of_miner(said, counted)):
        grid.add_row(name, text)
    parts: list[RenderableType] = [who, grid]
    models = said.get("engine", {}).get("models", [])
    if models:
        parts.append(_models(models))
    return Group(*parts)


class _Figures:
    """What a node counts, now and a while ago."""

    def __init__(self, now: Mapping[str, float], before: Mapping[str, float], seconds: float) -> None:
        self._now = now
        self._before = before
        self._seconds = seconds

    def of(self, name: str) -> float | None:
        """Give a number, None where the node has none of this name."""
        return self._now.get(name)

    def count(self, name: str) -> str:
        """Write how many, and how many a second lately."""
        now, before = self._now.get(name, 0.0), self._before.get(name, 0.0)
        rate = (now - before) / self._seconds if now > before and self._seconds > 0 else 0.0
        return f"{now:,.0f}" + (f" ({rate:,.1f}/s)" if rate else "")


def _lines_of_all(said: Json, counted: _Figures) -> list[tuple[str, str]]:
    peers = [(kind, counted.of(f"cuckoo_peers{{kind={kind}}}")) for kind in KINDS]
    lines = [
        ("peers", ", ".join(f"{count:.0f} {kind}{'s' * (count != 1)}" for kind, count in peers if count) or "none")
    ]
    if said["http_url"]:
        lines.append(("API", f"{said['http_url']}: {said['access']}"))
    head = counted.of("cuckoo_chain_head_age_seconds")
    if head is not None:
        lines.append(("chain", f"newest block {duration(max(0, int(head)))} old"))
    if said["role"] == "coordinator":
        waiting, places = counted.of("cuckoo_tasks_waiting") or 0, counted.of("cuckoo_places") or 0
        done, failed = (counted.count(f"cuckoo_tasks_total{{outcome={outcome}}}") for outcome in ("done", "failed"))
        lines.append(("tasks", f"{waiting:,.0f} unfinished, {done} done, {failed} failed"))
        taken = counted.of("cuckoo_places_taken") or 0
        lines.append(("places", f"{taken:,.0f} of {places:,.0f} of connected miners at work for it"))
        escrow, free = counted.of("cuckoo_escrow_cai"), counted.of("cuckoo_escrow_free_cai")
        if escrow is not None:
            lines.append(("escrow", f"{escrow:,.2f} CAI, {free or 0:,.2f} of it free"))
    return lines


def _lines_of_miner(said: Json, counted: _Figures) -> list[tuple[str, str]]:
    if "service" not in said:
        return []
    service, engine = said["service"], said["engine"]
    left = f"{service['claims']} claimed, {service['jobs']} drawn now, {service['results']} to deliver"
    done = counted.count("cuckoo_receipts_total")
    earned, paid = counted.of("cuckoo_earned_cai_total") or 0, counted.of("cuckoo_paid_cai_total") or 0
    device = engine["device"] or "device unknown"
    celsius = counted.of("cuckoo_card_celsius") or service["celsius"]
    heat = "" if celsius is None else f", {celsius:.0f} °C"
    lines = [
        ("work", f"{work_in_words(said)}; {left}"),
        ("pictures", f"{done} paid for since it started"),
        ("earned", f"{earned:,.6f} CAI promised since it started, {paid:,.6f} CAI redeemed"),
        ("device", f"{device}, {engine['state']}{heat}{_memory(counted)}"),
    ]
    return lines + [("fault", f"{model}: {reason}") for model, reason in engine["faults"].items()]


def _memory(counted: _Figures) -> str:
    """Write how full a card is, where one is known."""
    taken, free = (counted.of(f"cuckoo_card_memory_bytes{{use={use}}}") for use in ("taken", "free"))
    if taken is None or free is None:
        return ""
    return f", {taken / 2**30:.1f} of {(taken + free) / 2**30:.1f} GiB taken"


def _models(models: list[Json]) -> Table:
    """Show how fast each model was measured to draw."""
    table = Table(box=box.SIMPLE)
    table.add_column("model")
    table.add_column("in memory")
    table.add_column("pixel-steps/s (pictures together)", justify="right")
    for one in models:
        speeds = ", ".join(f"{speed:,} ({batch})" for batch, speed in one["speeds"])
        table.add_row(Text(one["model"]), "yes" if one["in_memory"] else "no", speeds)
    return table
