"""Says of a model on this machine whether its files are those that the catalog means."""

from dataclasses import dataclass

from node.adapters.engine.styles import all_lines, check_styled
from node.adapters.engine.weights import (
    ModelFault,
    check_model,
    digest_of_lines,
    first_difference,
    recorded_lines,
)
from node.model_files.pulling import Told
from node.model_files.shelf import Copy, ModelHere, Shelf
from protocol.task.catalog import HuggingFaceSource


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one model."""

    model: str
    is_right: bool
    detail: str
    """Names the file that is wrong, where that is known."""


def check(shelf: Shelf, copy: Copy, told: Told) -> Finding:
    """Compare a model with the catalog's digest; where that has none, with what was written down at the pull."""
    model = copy.model
    place = shelf.place(model)
    match copy.state:
        case ModelHere.ABSENT:
            return Finding(model.name, False, "it is not on this machine")
        case ModelHere.PARTLY:
            detail = copy.fault or f"{copy.folder} holds a part of it: cuckoo models pull {model.name}"
            return Finding(model.name, False, detail)
        case ModelHere.FAULTY:
            return Finding(model.name, False, copy.fault)
        case ModelHere.HERE | ModelHere.BUILT_IN:
            pass
    assert place is not None, "what is here has a place"
    told.begin(model.name, copy.size, 0)
    try:
        if model.digest is not None:
            if place.styles:
                check_styled(place.folder, model.digest, place.checkpoint, place.styles, told.advance)
            else:
                check_model(place.folder, model.digest, place.checkpoint, told.advance)
            return Finding(model.name, True, f"{place.folder} has the catalog's digest {model.digest.hex()}")
        lines = all_lines(place.folder, place.checkpoint, told.advance, place.styles)
    except ModelFault as fault:
        return Finding(model.name, False, fault.detail)
    recorded = recorded_lines(place.folder) if isinstance(model.source, HuggingFaceSource) else None
    if recorded is not None and not lines.startswith(recorded):
        return Finding(model.name, False, f"{first_difference(place.folder, lines, recorded)} is not what was pulled")
    digest = digest_of_lines(lines).hex()
    return Finding(model.name, True, f"{place.folder} has the digest {digest}; the catalog has none to compare it with")
