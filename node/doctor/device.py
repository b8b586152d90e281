"""What a miner needs beside the network: its libraries, its device with memory to spare, its models as published."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Final

import trio

from node.adapters.device.nvidia import Card, CardUnknown, card_of, read_card
from node.adapters.engine.device import DeviceDescription
from node.adapters.engine.settings import LIBRARIES
from node.child_environment import child_environment
from node.doctor.findings import Finding, bad, good, in_thread
from node.model_files.catalog import load_catalog
from node.model_files.check import check
from node.model_files.shelf import ModelHere, Shelf
from node.settings import Settings
from protocol.task.catalog import CatalogModel

DEVICE_S: Final = 120.0
"""Time (s) to load torch and wake a driver: half a minute from a cold disk."""
MODELS_S: Final = 1800.0
"""Time (s) to read all models: 100 GB at 60 MB/s."""
ROOM: Final = 1.3
"""What a model needs over its weights, at least: activations of one picture, and the decoder."""
HALVES: Final = 0.5
"""Share of published float32 weights that 16 bits take; what is published in 16 bits is counted short by it."""
DRIVER_FIX: Final = "install NVIDIA's driver, then a torch with CUDA: https://pytorch.org/get-started/locally"


async def describe_device(device: str) -> DeviceDescription | str:
    """Ask torch in a process of its own what a device is, or why there is none; the process ends with its check."""
    command = [sys.executable, "-P", "-m", "node.adapters.engine.describing", "--device", device]
    environment = child_environment(1, os.environ)
    ran = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environment)
    if ran.returncode == 0:
        return DeviceDescription.from_json(ran.stdout.decode())
    return (ran.stderr.decode(errors="replace").strip().splitlines() or ["it ended without a word"])[-1]


def card_here(device: str) -> Card | None:
    """Ask NVIDIA's driver for the card of a device; None where there is no driver."""
    try:
        return read_card(card_of(device, os.environ.get("CUDA_VISIBLE_DEVICES")))
    except CardUnknown:
        return None


async def look_at_device(settings: Settings) -> Sequence[Finding]:
    """Look at the libraries and the device, its driver, and the memory for the largest model."""
    if settings.engine.kind == "instant":
        return [good("device", "none is needed: engine.kind is instant")]
    absent = [library for library in LIBRARIES if importlib.util.find_spec(library) is None]
    if absent:
        return [bad("libraries", f"{', '.join(absent)} not installed", "pip install 'cuckoo-overlay[miner]'")]
    wanted = settings.engine.device
    card = await in_thread(card_here, wanted) if wanted != "cpu" else None
    found = await describe_device(wanted)
    findings = list(judge_device(wanted, found, card))
    if isinstance(found, DeviceDescription):
        findings.append(judge_memory(found, largest_weights(settings)))
    if card is not None and settings.miner.max_temperature_c is not None:
        findings.append(_judge_heat(card, settings.miner.max_temperature_c))
    return findings


def judge_device(wanted: str, found: DeviceDescription | str, card: Card | None) -> Sequence[Finding]:
    """Say whether the device that the settings name is there, and the one that its owner means."""
    if isinstance(found, str):
        fix = DRIVER_FIX if card is None else f"engine.device = 'auto', or a torch for driver {card.driver}"
        return [bad("device", f"{wanted}: {found}", fix)]
    driver = [] if card is None else [good("driver", f"NVIDIA {card.driver}, {card.name}, {card.celsius} °C")]
    if not found.is_gpu and card is not None and wanted == "auto":
        detail = f"torch {found.torch} cannot use {card.name}: models would be drawn by the CPU"
        fix = "install a torch with CUDA: https://pytorch.org/get-started/locally; or engine.device = 'cpu'"
        return [*driver, bad("device", detail, fix)]
    runtime = f", {found.runtime}" if found.runtime else ""
    return [*driver, good("device", f"{found.device}: {found.name}, torch {found.torch}{runtime}")]


def judge_memory(device: DeviceDescription, weights: tuple[str, int]) -> Finding:
    """Say whether the largest model fits into what is free of the device's memory.

    Args:
        device: As it is now.
        weights: The largest model's name, and the bytes that its weights take there.
    """
    name, needed = weights[0], round(weights[1] * ROOM)
    kind, free = "VRAM" if device.is_gpu else "memory", device.free_bytes / 1e9
    detail = f"{free:.1f} of {device.total_bytes / 1e9:.1f} GB {kind} free, {name} needs about {needed / 1e9:.2f}"
    if device.free_bytes >= needed:
        return good(kind, detail)
    fix = "end what else uses it (nvidia-smi shows it)" if device.is_gpu else "end what else uses it"
    return bad(kind, detail, f"{fix}, or take {name} out of engine.models")


def _judge_heat(card: Card, ceiling: int) -> Finding:
    """Say whether a ceiling of heat makes sense for a card."""
    if card.limit_celsius is not None and ceiling >= card.limit_celsius:
        fix = f"miner.max_temperature_c = {card.limit_celsius - 5}"
        return bad("heat", f"the card slows itself down from {card.limit_celsius} °C, below the ceiling", fix)
    return good("heat", f"{card.celsius} °C now, no more work from {ceiling + 1} °C on")


def largest_weights(settings: Settings) -> tuple[str, int]:
    """Find the served model whose weights take most memory, and how much (bytes), as its files tell."""
    shelf = shelf_of(settings)
    sizes = []
    for model in served_of(settings, shelf):
        size = shelf.look(model).size
        halved = model.half_precision and settings.engine.precision != "float32" and settings.engine.device != "cpu"
        sizes.append((round(size * HALVES) if halved else size, model.name))
    size, name = max(sizes, default=(0, "no model"))
    return name, size


def shelf_of(settings: Settings) -> Shelf:
    """Give the models of this machine, as a node's settings name them."""
    catalog, engine = load_catalog(settings.catalog), settings.engine
    named = dict(engine.model_folders)
    return Shelf(catalog, named) if engine.pulled_models is None else Shelf(catalog, named, engine.pulled_models)


def served_of(settings: Settings, shelf: Shelf) -> list[CatalogModel]:
    """Give the models that the catalog has of those to be served."""
    known = shelf.catalog.models
    return [known[name] for name in settings.engine.models if name in known]


async def look_at_models(settings: Settings, *, quick: bool) -> Sequence[Finding]:
    """Compare the files of every served model with the catalog's digest; ``quick`` looks at their lengths alone."""
    shelf = shelf_of(settings)
    known = shelf.catalog.models
    found = [
        bad("model", f"{name} is not in the catalog", f"take one of {', '.join(sorted(known))} in engine.models")
        for name in settings.engine.models
        if name not in known
    ]
    is_quick = quick or settings.engine.kind == "instant"
    served = served_of(settings, shelf)
    return found + [await in_thread(_judge_model, shelf, model, is_quick) for model in served]


def _judge_model(shelf: Shelf, model: CatalogModel, quick: bool) -> Finding:
    """Say whether a model is here and the one that the catalog means."""
    copy, name = shelf.look(model), model.name
    pull = f"cuckoo models pull {name}"
    if copy.model.digest is None:
        fix = f"the operator of the network pins it: {pull} prints the lines for its catalog"
        return bad("model", f"{name}: the catalog has no digest of it, so no node serves it", fix)
    if copy.state in {ModelHere.ABSENT, ModelHere.PARTLY}:
        fix = pull if copy.model.source.kind == "hugging_face" else f"engine.model_folders.{name} = its folder"
        return bad("model", f"{name} is {copy.state}", fix)
    if quick and copy.state is not ModelHere.FAULTY:
        return good("model", f"{name}: {copy.size / 1e9:.2f} GB in {copy.folder}, not compared with its digest")
    finding = check(shelf, copy, _Silent())
    if finding.is_right:
        return good("model", f"{name}: {finding.detail}")
    return bad("model", f"{name}: {finding.detail}", f"remove {copy.folder}, then {pull}")


class _Silent:
    """Nobody is told how far the reading of files is."""

    def begin(self, what: str, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""
