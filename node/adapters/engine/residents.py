"""Which models a device holds: the one that was used longest ago leaves when another needs its room.

Rules for editors: what a model is does not matter here, so that this is tested without one.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

Model = TypeVar("Model")


class Residents(Generic[Model]):
    """Models on one device, by name."""

    def __init__(
        self,
        does_not_fit: Callable[[Exception], bool],
        release: Callable[[], None],
        changed: Callable[[tuple[str, ...]], None],
    ) -> None:
        """Hold none.

        Args:
            does_not_fit: Says of an error whether memory was short.
            release: Gives memory that nobody holds any more back to the device.
            changed: Told which are held, least recently used first, whenever that changes.
        """
        self._does_not_fit = does_not_fit
        self._release = release
        self._changed = changed
        self._held: dict[str, Model] = {}

    def names(self) -> tuple[str, ...]:
        """Name those that are held, least recently used first."""
        return tuple(self._held)

    def use(self, name: str) -> Model | None:
        """Give a model that is held, and count it as used now."""
        model = self._held.pop(name, None)
        if model is not None:
            self._held[name] = model
        return model

    def bring(self, name: str, build: Callable[[], Model], most: int = 0) -> Model:
        """Bring a model onto the device, and let others leave for it: one after another, while it does not fit.

        Args:
            name: Its name; an earlier one of this name leaves first.
            build: Makes it.
            most: Most models that are held; 0 for as many as fit.

        Raises:
            Exception: What ``build`` raises, for want of memory only once no other is left.
        """
        self.leave(name)
        while most and len(self._held) >= most:
            self.leave(next(iter(self._held)))
        while True:
            try:
                model = build()
                break
            except Exception as error:
                if not (self._held and self._does_not_fit(error)):
                    raise
            # Out of the handler: what it had half built is held by the error until here.
            self.leave(next(iter(self._held)))
        self._held[name] = model
        self._changed(self.names())
        return model

    def leave_alone(self, name: str) -> bool:
        """Let all others leave, so that a picture has their room; False when there are none."""
        others = [one for one in self._held if one != name]
        for one in others:
            del self._held[one]
        if others:
            self._release()
            self._changed(self.names())
        return bool(others)

    def leave(self, name: str) -> None:
        """Let a model leave the device; nothing happens when it is not held."""
        if self._held.pop(name, None) is not None:
            self._release()
            self._changed(self.names())
