"""What a run was like, in numbers: latency, claims per task, share against stake, faults, and what it cost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol.effects import Note
from protocol.notes import NoteName
from protocol.units import Role, StakingId, TaskId, UnixMillis
from tests.sim.machine import Machine
from tests.sim.world import World

UNANSWERED = ("slot.early", "claim.paused")
"""Rules by which claims of paused miners get no answer."""


def percentile(values: Sequence[int], share: float) -> int:
    """Give the value below which this share of the values lies, 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0


@dataclass
class Summary:
    """Counts as a run goes; ``lines`` tells them."""

    world: World
    counts: Counter[NoteName] = field(default_factory=Counter)
    declines: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    won: Counter[StakingId] = field(default_factory=Counter)
    ranks: list[int] = field(default_factory=list)
    awaited_ms: list[int] = field(default_factory=list)
    """From acceptance to the first award."""
    overhead_ms: list[int] = field(default_factory=list)
    """From acceptance to the picture, less the time at the GPU."""
    faults: Counter[str] = field(default_factory=Counter)
    accepted_at: dict[TaskId, UnixMillis] = field(default_factory=dict)
    """When each task was accepted."""
    claims: Counter[TaskId] = field(default_factory=Counter)
    """Claims that reached a coordinator, of honest miners."""
    claims_of_cheats: Counter[TaskId] = field(default_factory=Counter)
    """The same, of those that cheat."""
    claims_unanswered: Counter[TaskId] = field(default_factory=Counter)
    """Claims that came from paused miners and were not even checked."""
    _accepted: dict[TaskId, UnixMillis] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Listen to the world's notes."""
        self.world.watch(Note, self._hear)
        self._honest = {machine.staking_id for machine in self.world.everybody if machine.behaviour is None}

    def _hear(self, machine: Machine, note: Note) -> None:
        self.counts[note.name] += 1
        match note.name:
            case NoteName.TASK_ACCEPTED if note.task is not None:
                self._accepted.setdefault(note.task, self.world.now)
                self.accepted_at.setdefault(note.task, self.world.now)
            case NoteName.CLAIM_RECEIVED if note.task is not None:
                honest = note.fields["miner"] in self._honest
                (self.claims if honest else self.claims_of_cheats)[note.task] += 1
            case NoteName.MESSAGE_IGNORED if note.task is not None and note.fields["rule"] in UNANSWERED:
                self.claims_unanswered[note.task] += 1
            case NoteName.TASK_AWARDED if note.task is not None:
                self.ranks.append(int(note.fields["rank"]))
                if note.task in self._accepted:
                    self.awaited_ms.append(self.world.now - self._accepted.pop(note.task))
            case NoteName.TASK_DONE:
                self.ends["done"] += 1
                self.won[StakingId(int(note.fields["miner"]))] += 1
                self.overhead_ms.append(int(note.fields["ms"]) - int(note.fields["generation_ms"]))
            case NoteName.TASK_FAILED:
                self.ends[str(note.fields["reason"])] += 1
            case NoteName.CLAIM_DECLINED if machine.role is Role.COORDINATOR:
                self.declines[str(note.fields["reason"])] += 1
            case _:
                pass

    @property
    def tasks(self) -> int:
        """Tasks that were accepted."""
        return self.counts[NoteName.TASK_ACCEPTED]

    def claims_per_task(self, *counted: Counter[TaskId], since: int = 0) -> float:
        """Give the mean number of claims of these kinds, by default of all, of tasks accepted ``since`` then."""
        kinds = counted or (self.claims, self.claims_of_cheats, self.claims_unanswered)
        tasks = [task for task, at in self.accepted_at.items() if at >= since]
        return sum(claims[task] for claims in kinds for task in tasks) / max(len(tasks), 1)

    def shares_by_stake(self) -> list[tuple[int, int, float, float]]:
        """Give (stake in CAI, miners, their share of stake, their share of tasks) for each stake that there is."""
        rows = [row for row in self.world.chain.rows if row.role is Role.MINER]
        total, done = sum(row.stake for row in rows) or 1, sum(self.won.values()) or 1
        shares = []
        for stake in sorted({row.stake for row in rows}):
            group = [row for row in rows if row.stake == stake]
            got = sum(self.won[row.id] for row in group)
            shares.append((stake // 10**18, len(group), stake * len(group) / total, got / done))
        return shares

    def lines(self) -> list[str]:
        """Tell all of it."""
        world, tasks = self.world, max(self.tasks, 1)
        first = sum(rank == 0 for rank in self.ranks) / max(len(self.ranks), 1)
        ends = ", ".join(f"{reason} {number}" for reason, number in sorted(self.ends.items()))
        declines = ", ".join(f"{reason} {number}" for reason, number in sorted(self.declines.items())) or "none"
        faults = ", ".join(f"{name} {number}" for name, number in sorted(self.faults.items())) or "none"
        lines = [
            f"tasks                {self.tasks} accepted: {ends}",
            f"claims per task      {self.claims_per_task():.2f}, of honest miners "
            f"{self.claims_per_task(self.claims):.2f}; declined: {declines}",
            f"drawn first won      {first:.1%}",
        ]
        for name, values in (("award after (ms)", self.awaited_ms), ("overhead (ms)", self.overhead_ms)):
            p50, p95, p99 = (percentile(values, share) for share in (0.5, 0.95, 0.99))
            lines.append(f"{name:20} p50 {p50}, p95 {p95}, p99 {p99}, most {max(values, default=0)}")
        lines.extend(
            f"stake {stake:>9,} CAI  {number} miners: {held:.1%} of stake, {got:.1%} of tasks"
            for stake, number, held, got in self.shares_by_stake()
        )
        deliveries, frames = world.gossip.deliveries / tasks, world.wires.frames / tasks
        lines += [
            f"messages per task    {deliveries:.0f} by gossip, {frames:.0f} frames",
            f"faults               {faults}",
            f"held against peers   {len(world.judged)}",
            f"events               {world.events}",
            f"virtual time         {(world.now - 1_700_000_040_000) / 1000:.0f} s",
            f"digest               {world.digest}",
        ]
        return lines
