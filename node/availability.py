"""Whether a miner takes work now: its owner's word, its hours, the heat of its device. One loop decides and tells.

What holds a miner back has a name: ``owner``, ``draining``, ``hours``, ``heat``. While any holds, it is closed: the
core claims nothing and says that it serves nothing, and what was awarded is finished. The device's memory is given back
once nothing is left to do, but for heat, which passes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, final

import trio

from node.hours import Span, is_within, minutes_to_change
from node.ports import Clock, Engine, EventSink, Journal
from protocol.errors import ConfigError
from protocol.events import ServiceChanged
from protocol.notes import NoteName
from protocol.roles.miner.serving import MinerLoad

TICK_S: Final = 1.0
"""How often (s) hours, heat and what is left to do are looked at."""
COOLER: Final = 5
"""Degrees below the ceiling at which a card that was too hot works again: else it would come and go by the second."""
HOLDS: Final = ("owner", "draining", "hours", "heat")
"""What may hold a miner back, by name."""
PAUSED: Final = "paused"
"""File in the data folder that keeps an owner's pause over a restart of the node."""


class Thermometer(Protocol):
    """Tells how hot a card is."""

    async def __call__(self) -> int | None:
        """Give degrees Celsius, None where nobody can say now."""
        ...


async def no_thermometer() -> int | None:
    """Say nothing of a device that nobody measures."""
    return None


@dataclass(frozen=True, slots=True)
class Limits:
    """What an owner wrote down."""

    hours: tuple[Span, ...] = ()
    """When to work; none is always."""
    max_celsius: int | None = None
    """Hotter than this, nothing is taken."""


@dataclass(frozen=True, slots=True)
class Availability:
    """How things stand."""

    is_open: bool
    holds: tuple[str, ...]
    """What holds the miner back, by name."""
    load: MinerLoad
    celsius: int | None
    minutes_to_change: int | None
    """Until the hours begin or end; None without hours."""


@final
class Doorkeeper:
    """Opens and closes one miner."""

    def __init__(
        self,
        load: Callable[[], MinerLoad],
        engine: Engine,
        limits: Limits,
        folder: Path,
        clock: Clock,
        journal: Journal,
        thermometer: Thermometer = no_thermometer,
    ) -> None:
        """Begin as the owner left it.

        Args:
            load: Says what the miner has promised and not ended.
            engine: Its device.
            limits: Hours and heat.
            folder: Where an owner's pause is kept; it need not exist yet.
            clock: Wall time.
            journal: Hears why it closes and that it opens.
            thermometer: Says how hot the device is.
        """
        self._load = load
        self._engine = engine
        self._limits = limits
        self._marker = folder / PAUSED
        self._clock = clock
        self._journal = journal
        self._thermometer = thermometer
        self._celsius: int | None = None
        self._is_hot = False
        self._is_draining = False
        self._is_paused = self._marker.exists()
        self._give_back = False
        self._said: tuple[str, ...] = ()
        self._changed = trio.Event()
        self.drained = trio.Event()
        """Set once a drained miner has nothing left: no claim, no job, no result that is not acknowledged."""

    def pause(self, *, give_back: bool = False) -> None:
        """Take no more work until ``resume``, also after a restart. With ``give_back`` end nothing that was awarded.

        Raises:
            ConfigError: It is paused, but a restart would not know it: the data folder cannot be written.
        """
        self._is_paused = True
        self._give_back |= give_back
        self._changed.set()
        self._keep(lambda: self._marker.touch(mode=0o600))

    def resume(self) -> None:
        """Take work again, as far as hours and heat let it; a drain ends too.

        Raises:
            ConfigError: It does, but a restart would not know it: the data folder cannot be written.
        """
        self._is_paused = self._is_draining = self._give_back = False
        self._changed.set()
        self._keep(lambda: self._marker.unlink(missing_ok=True))

    def _keep(self, change: Callable[[], object]) -> None:
        """Write down what the owner said."""
        try:
            change()
        except OSError as error:
            raise ConfigError(
                f"{self._marker} cannot be changed ({error.strerror}): this holds only until the node stops"
            ) from error

    def drain(self) -> None:
        """Take no more work, finish what there is, and let the node stop then."""
        self._is_draining = True
        self._changed.set()

    def look(self) -> Availability:
        """Say how things stand."""
        holds = self._holds()
        ahead = minutes_to_change(self._limits.hours, self._minute()) if self._limits.hours else None
        return Availability(not holds, holds, self._load(), self._celsius, ahead)

    async def run(self, sink: EventSink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch, and tell the core and the engine, for ever. Started once it is known whether the miner begins open."""
        await self._feel()
        await self._tell(sink)
        if not set(self._said) <= {"heat"}:
            self._engine.rest()
        task_status.started()
        while True:
            self._changed = trio.Event()
            with trio.move_on_after(TICK_S):
                await self._changed.wait()
            await self._feel()
            await self._tell(sink)
            self._see_to_engine()

    async def _feel(self) -> None:
        """Read the thermometer. One that says nothing changes nothing: it is no proof of cold."""
        if self._limits.max_celsius is None:
            return
        self._celsius = await self._thermometer()
        if self._celsius is not None:
            least = self._limits.max_celsius - (COOLER if self._is_hot else -1)
            self._is_hot = self._celsius >= least

    async def _tell(self, sink: EventSink) -> None:
        """Tell the core what changed."""
        holds, give_back = self._holds(), self._give_back
        if holds != self._said or give_back:
            self._give_back = False
            if bool(holds) is not bool(self._said) or give_back:
                await sink.post(ServiceChanged(is_open=not holds, give_back=give_back))
            if holds:
                self._journal.note(NoteName.MINER_CLOSED, reason=" ".join(holds))
            else:
                self._journal.note(NoteName.MINER_OPENED)
            self._said = holds

    def _see_to_engine(self) -> None:
        """Give the device's memory back while nothing needs it, and take it again in time."""
        load = self._load()
        if set(self._said) <= {"heat"}:
            self._engine.wake()
        elif not load.is_open and load.claims == load.jobs == 0:
            self._engine.rest()
            if self._is_draining and load.results == 0:
                self.drained.set()

    def _holds(self) -> tuple[str, ...]:
        """Name what holds the miner back now."""
        named = {
            "owner": self._is_paused,
            "draining": self._is_draining,
            "hours": bool(self._limits.hours) and not is_within(self._limits.hours, self._minute()),
            "heat": self._is_hot,
        }
        return tuple(name for name in HOLDS if named[name])

    def _minute(self) -> int:
        """Give the minute of the week, in local time."""
        now = datetime.fromtimestamp(self._clock.now() / 1000).astimezone()
        return (now.weekday() * 24 + now.hour) * 60 + now.minute
