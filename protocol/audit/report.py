"""What an audit says: findings that are proven, findings that are estimated, kept apart, each with its evidence.

Spec: SPEC.md §12.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.units import StakingId


@dataclass(frozen=True, slots=True)
class Proof:
    """Something that signatures and arithmetic show, whoever looks."""

    rule: str
    """Stable name, as in SPEC."""
    coordinator: StakingId
    what: str
    """One sentence."""
    expected: str
    seen: str
    evidence: tuple[str, ...]
    """The messages that show it: publisher's sequence number and digest."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the record itself that cannot be believed: nobody is accused by it."""

    rule: str
    count: int
    first: str
    """Where it was met first."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What numbers suggest, with the chance that an honest coordinator's look so."""

    rule: str
    coordinator: StakingId
    miner: StakingId | None
    what: str
    sample: int
    """Observations that it rests on."""
    seen: float
    expected: float
    chance: float
    """At most this chance of as much or more, were the coordinator honest; before correction."""
    threshold: float
    """A finding only below this chance: the audit's error, shared out among all its tests."""
    is_finding: bool


@dataclass(frozen=True, slots=True)
class Power:
    """What one test of one coordinator would have seen."""

    rule: str
    coordinator: StakingId
    sample: int
    detectable: float | None
    """Smallest effect (share of 1) that is found in nine of ten such records; None: none at this sample."""
    why_not: str = ""
    """Where nothing could be tested."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one miner got of one coordinator, against what the draw gives it."""

    coordinator: StakingId
    miner: StakingId
    stake: float
    """Share of all active miners' stake, averaged over the offers."""
    drawn_expected: float
    """Share of first places that its stake gives it in the fields as published."""
    drawn: float
    """Share of first places that it had."""
    won: float
    """Share of awards."""
    won_value: float
    """Share of the price of all awards."""
    tasks: int
    """Offers at their first attempt: what the shares are of."""
    awards: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is proven of one coordinator where nothing is wrong."""

    coordinator: StakingId
    messages: int
    missed: int
    """Messages that it published and the recorder did not hear, by its own sequence numbers."""
    runs: int
    """Times that it began, by jumps of its own sequence numbers: what it left out around one proves nothing."""
    boots: int
    epochs: int
    tasks: int
    offers: int
    """Attempts: each was drawn again here."""
    numbers_complete: int
    """Numbers, of those that could be judged, each of which was offered or closed."""
    numbers_unknown: int
    """Numbers that were not heard of where messages were missed, or a run ended."""
    awards_checked: int
    awards_in_field: int
    """Of those, whose winner was in its field; the rest went to miners outside it after the last slot."""
    awards_first: int
    """Of those, whose winner was drawn first."""


@dataclass(frozen=True)
class Report:
    """All that one audit found."""

    faults: tuple[Fault, ...]
    facts: tuple[Facts, ...]
    proofs: tuple[Proof, ...]
    estimates: tuple[Estimate, ...]
    powers: tuple[Power, ...]
    shares: tuple[Share, ...]
    tests: int
    """Comparisons among which the error is shared out."""
    span_ms: int = 0
    """From the first message to the last."""
    views: int = 0
    """Epochs whose table and beacon are known."""
    views_of_chain: int = 0
    """Of those, which were read from the chain and not believed of the record."""

    @property
    def findings(self) -> Sequence[Estimate]:
        """Estimates that speak against somebody."""
        return [one for one in self.estimates if one.is_finding]

    @property
    def is_clean(self) -> bool:
        """Say whether nothing is proven and the record can be believed; estimates accuse nobody by themselves."""
        return not self.proofs and not self.faults
