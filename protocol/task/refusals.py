"""Why a model cannot do what is asked, and what would be possible: by stable codes. Spec: SPEC.md §7.5."""

from dataclasses import dataclass
from typing import Final

from protocol.params import MAX_PROMPT_CHARACTERS
from protocol.task.model import CatalogModel
from protocol.wire.fields import ANY_NUMERICS
from protocol.wire.specification import Output, Work

SEED_LIMIT: Final = 2**63
"""Seeds are 0 ≤ seed < this, the range of a torch generator without its sign."""


GUIDANCE_DIGITS: Final = 2
"""Of guidance behind the point. At some values a picture goes over into another one, within a millionth, and there the
order of additions decides which: whoever may choose the last digit has honest miners draw two pictures of one task."""


def rounded_guidance(guidance: float) -> float:
    """Give the nearest guidance that may be ordered."""
    return round(guidance, GUIDANCE_DIGITS)


@dataclass(frozen=True, slots=True)
class Impossible:
    """A task that no miner can do: ``code`` is stable, ``detail`` says what would be possible."""

    code: str
    detail: str


def refuse_kind(model: CatalogModel, work: Work, scheduler: str, numerics: str) -> Impossible | None:
    """Check what the wire format can name and not every model does; an empty ``scheduler`` is the model's own."""
    if work not in model.works:
        return Impossible("work_not_offered", f"{model.name} does {', '.join(model.works)}, not {work}")
    if scheduler not in ("", model.default_scheduler, *model.schedulers):
        offered = ", ".join(model.all_schedulers) or "its own"
        return Impossible("scheduler_not_offered", f"{model.name} draws with {offered}, not {scheduler[:64]}")
    if numerics != ANY_NUMERICS:
        return Impossible("numerics_not_offered", f"{model.name} offers the class any, not {numerics}")
    return None


def refuse_text(prompt: str, negative_prompt: str) -> Impossible | None:
    """Check what ``TaskSpecification`` would only call invalid."""
    if not prompt.strip():
        return Impossible("prompt_empty", "a prompt needs at least one word")
    longest = max(len(prompt), len(negative_prompt))
    if longest > MAX_PROMPT_CHARACTERS:
        return Impossible(
            "prompt_too_long", f"a prompt has at most {MAX_PROMPT_CHARACTERS} characters, this one has {longest}"
        )
    return None


def refuse_numbers(model: CatalogModel, size: tuple[int, int], steps: int, guidance: float) -> Impossible | None:
    """Check the numbers against the model's limits, also those that ``TaskSpecification`` could not hold."""
    if size not in model.sizes:
        return Impossible(
            "size_not_offered", f"{model.name} does not draw {size[0]}x{size[1]}; it offers {model.sizes_text}"
        )
    if steps < 1:
        return Impossible("steps_out_of_range", f"{model.name} takes 1 to {model.max_steps} steps, not {steps}")
    if steps > model.max_steps:
        return Impossible("too_many_steps", f"{model.name} takes at most {model.max_steps} steps, not {steps}")
    if guidance > model.max_guidance:
        most = f"at most {model.max_guidance:g}"
        return Impossible("guidance_too_high", f"{model.name} takes a guidance of {most}, not {guidance:g}")
    if not guidance >= 0:  # nor is what is no number
        within = f"0 to {model.max_guidance:g}"
        return Impossible("guidance_out_of_range", f"{model.name} takes a guidance of {within}, not {guidance:g}")
    return None


def refuse_fine(guidance: float) -> Impossible | None:
    """Check that guidance is told no finer than it may be ordered."""
    if guidance == rounded_guidance(guidance):
        return None
    return Impossible("guidance_too_fine", f"guidance is told in hundredths, not {guidance!r}")


def refuse_image_numbers(work: Work, steps: int, strength: float | None) -> Impossible | None:
    """Check how far a source is left behind: at least one step must be drawn."""
    if work == "text_to_image":
        if strength is None:
            return None
        return Impossible("strength_unused", "strength says how far a picture is left behind, and none is given")
    if strength is None:
        return Impossible("strength_missing", "an image needs a strength")
    if not 0 < strength <= 1:
        return Impossible("strength_out_of_range", f"strength is more than 0 and at most 1, not {strength:g}")
    if int(steps * strength) < 1:
        return Impossible(
            "strength_too_low", f"of {steps} steps a strength of {strength:g} takes none; at least {1 / steps:.3g} does"
        )
    return None


def refuse_output(output: Output, quality: int | None) -> Impossible | None:
    """Check how the picture shall be kept."""
    if quality is None:
        return None
    if output != "webp":
        return Impossible("quality_unused", "a PNG keeps every pixel: quality is for webp")
    return None if 1 <= quality <= 100 else Impossible("quality_out_of_range", "quality is 1 to 100")
