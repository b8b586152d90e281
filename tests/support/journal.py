"""A journal that a test reads instead of log text."""

from dataclasses import dataclass, field

from protocol.notes import NoteName
from protocol.units import TaskId


@dataclass(frozen=True)
class Noted:
    """One note as it was made."""

    name: NoteName
    task: TaskId | None
    fields: dict[str, str | int] = field(default_factory=dict)


class RecordingJournal:
    """Keeps every note in order."""

    def __init__(self) -> None:
        self.notes: list[Noted] = []

    def note(self, name: NoteName, task: TaskId | None = None, **fields: str | int) -> None:
        self.notes.append(Noted(name, task, fields))

    def names(self, task: TaskId | None = None) -> list[NoteName]:
        """The names in order, of one task or of all."""
        return [noted.name for noted in self.notes if task is None or noted.task == task]

    def of(self, name: NoteName) -> list[Noted]:
        return [noted for noted in self.notes if noted.name is name]
