"""What the opened steps of several drawings of one task say: who went through other latents than the others.

Pictures that look alike may have cost very different work. Fingerprints of the same steps tell more, since whoever took
fewer has to make some up. Pure arithmetic on what was opened. Spec: SPEC.md §12.8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Final

from protocol.errors import IgnoredMessage
from protocol.task.fingerprint import Opening, all_opened, check_opening, fingerprint_distance
from protocol.task.recheck import EXACT_NUMERICS, Judgement, judge_drawings
from protocol.units import Digest
from protocol.wire.messages import OpenedStep, OpenedSteps

SAME_STEPS: Final = 200
"""Most that fingerprints honestly differ by (millionths of a latent's unit, median of a picture's steps) where both
miners draw in one of ``EXACT_NUMERICS``; see tests/bench/DISTANCE.md."""
OTHER_STEPS: Final = 10_000
"""The same where the numbers differ, or have 16 bits."""

OPENED: Final = "opened"
"""Its steps lead to the root that it signed; nothing was compared."""
AGREED: Final = "agreed"
"""They lie where others have them."""
ODD: Final = "odd"
"""They lie elsewhere than those of others, who agree."""
WRONG: Final = "wrong"
"""They do not lead to the root that it signed."""
DECLINED: Final = "declined"
"""It says that it has none to show: perhaps it drew much since, or its disk is new."""
SILENT: Final = "silent"
"""It was there and did not answer."""
AWAY: Final = "away"
"""It was not there while they were asked for, or nobody can tell: no table of that epoch lists both."""
ROOTLESS: Final = "rootless"
"""It committed to no steps: its engine sees no latents, or so it says."""
UNASKED: Final = ""
"""Nobody asked: no beacon came, or none of those that agree committed to any."""
UNOPENED_WORTH: Final = 0.5
"""What a recheck says for a miner that showed no steps, of 1: it is looked at more often than who does."""
UNOPENED: Final = frozenset({DECLINED, SILENT, ROOTLESS})
"""What a miner answers that could have opened its steps, or cannot for a reason of its own."""


@dataclass(frozen=True, slots=True)
class StepsShown:
    """What a miner showed of one drawing's steps."""

    name: str = UNASKED
    fingerprints: tuple[bytes, ...] = ()
    """Of the steps that were asked for, in their order."""
    message: bytes = b""
    """Its answer, encoded."""


@dataclass(frozen=True, slots=True)
class StepsJudgement:
    """What all answers of one recheck say."""

    is_over: bool
    """No further drawing is needed, or would help."""
    names: Mapping[int, str] = field(default_factory=dict)
    """What came of it, by the place of the drawing."""
    apart: Mapping[int, int] = field(default_factory=dict)
    """How far the nearest other one's steps are, by the place of those that were opened beside others."""

    @property
    def wrong(self) -> frozenset[int]:
        """The places of those that showed what they did not sign."""
        return frozenset(place for place, name in self.names.items() if name == WRONG)

    @property
    def agreed(self) -> frozenset[int]:
        """The places of those whose steps lie where others have them."""
        return frozenset(place for place, name in self.names.items() if name == AGREED)

    def odd(self, *, must_open: bool) -> frozenset[int]:
        """Give the places of those whose steps lie elsewhere than those of others.

        Args:
            must_open: Whether those count too that showed nothing and could have, where others showed theirs.
        """
        others_open = any(name in {OPENED, AGREED, ODD} for name in self.names.values())
        against = {ODD} | (UNOPENED if must_open and others_open else set())
        return frozenset(place for place, name in self.names.items() if name in against)

    def worth(self, place: int) -> float:
        """Give how much it says for a miner that its picture agrees, 0 to 1."""
        name = self.names.get(place, UNASKED)
        if name in UNOPENED or name == AWAY:
            return UNOPENED_WORTH
        # Compared, and neither found to agree nor to be the odd one.
        return 0.0 if name == OPENED and place in self.apart else 1.0


def show_steps(fingerprints: Sequence[bytes], steps: Sequence[int]) -> tuple[OpenedStep, ...]:
    """Open these steps (from 0) of all that were committed to."""
    found = all_opened(fingerprints, steps)
    return tuple(OpenedStep(step=one.step, fingerprint=one.fingerprint, path=one.path) for one in found)


def check_shown(message: OpenedSteps, steps: Sequence[int], root: Digest, count: int) -> tuple[bytes, ...]:
    """Give the fingerprints of an answer that opens exactly these steps of a root over ``count``.

    Raises:
        InvalidMessage: ``fingerprint.opening``: one does not lead to the root.
        IgnoredMessage: ``opened_steps.steps``: it opens others, perhaps those of a question before a restart.
    """
    if [one.step for one in message.opened] != list(steps):
        raise IgnoredMessage("opened_steps.steps")
    for one in message.opened:
        check_opening(root, count, Opening(one.step, one.fingerprint, tuple(Digest(beside) for beside in one.path)))
    return tuple(one.fingerprint for one in message.opened)


def steps_apart(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Give how far apart two drawings' fingerprints of the same steps are: the median, the lesser of two."""
    each = sorted(fingerprint_distance(mine, theirs) for mine, theirs in zip(one, other, strict=True))
    return each[(len(each) - 1) // 2]


def step_limit_between(one: str, other: str) -> int:
    """Give how far apart honest steps may be, by the classes of arithmetic that their miners name."""
    return SAME_STEPS if one == other and one in EXACT_NUMERICS else OTHER_STEPS


def judge_steps(shown: Mapping[int, StepsShown], numerics: Mapping[int, str], *, is_last: bool) -> StepsJudgement:
    """Say who went through other latents than the others, by the rules by which pictures are judged.

    Nobody is blamed for what two say of each other, nor for opening nothing.

    Args:
        shown: What the miners of drawings with one picture showed, by the places of these.
        numerics: The classes of arithmetic that they name, likewise.
        is_last: No miner is left that could draw it too.
    """
    names = {place: one.name for place, one in shown.items()}
    opened_at = sorted(place for place, name in names.items() if name == OPENED)
    if len(opened_at) < 2:
        return StepsJudgement(is_over=True, names=names)
    apart, limits = {}, {}
    for mine, theirs in combinations(range(len(opened_at)), 2):
        one, other = opened_at[mine], opened_at[theirs]
        apart[mine, theirs] = steps_apart(shown[one].fingerprints, shown[other].fingerprints)
        limits[mine, theirs] = step_limit_between(numerics[one], numerics[other])
    judgement: Judgement = judge_drawings(len(opened_at), apart, limits, is_last=is_last)
    if judgement.is_over:
        for at, place in enumerate(opened_at):
            if at in judgement.agreeing:
                names[place] = AGREED
            elif at in judgement.slightly_off | judgement.far_off:
                names[place] = ODD
    nearest = {place: min(ppm for pair, ppm in apart.items() if at in pair) for at, place in enumerate(opened_at)}
    return StepsJudgement(judgement.is_over, names, nearest)


def judge_beside(
    judged: StepsJudgement, shown: Mapping[int, StepsShown], numerics: Mapping[int, str]
) -> StepsJudgement:
    """Add what those showed whose pictures lie beside those that agree.

    Whoever went through their latents drew honestly: arithmetic tipped its picture over. Between 16-bit numbers and
    others that is every second picture of much guidance, while steps stay where they are (tests/bench/DISTANCE.md).

    Args:
        judged: What the steps of those say whose pictures agree.
        shown: What they showed, and those beside.
        numerics: The classes of arithmetic that all of them name.
    """
    names = dict(judged.names)
    for place in shown.keys() - judged.names.keys():
        one = shown[place]
        if one.name == OPENED and judged.agreed:
            is_alike = any(
                steps_apart(one.fingerprints, shown[other].fingerprints)
                <= step_limit_between(numerics[place], numerics[other])
                for other in judged.agreed
            )
            names[place] = AGREED if is_alike else ODD
        elif one.name == WRONG:
            names[place] = WRONG
    return replace(judged, names=names)
