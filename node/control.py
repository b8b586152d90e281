"""What a running node says and does when its owner asks: ``cuckoo miner`` and ``cuckoo doctor`` speak to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, final

from node.availability import Doorkeeper
from node.ports import Engine
from protocol.errors import ConfigError
from protocol.units import StakingId

COMMANDS: Final = ("status", "pause", "resume", "drain")


@final
class Control:
    """Answers requests of the form ``{"command": "pause"}``."""

    def __init__(
        self,
        describe: Callable[[], Mapping[str, Any]],  # Any: what JSON holds
        doorkeeper: Doorkeeper | None = None,
        engine: Engine | None = None,
        refused: Callable[[], Mapping[StakingId, str]] | None = None,
        figures: Callable[[], Mapping[str, float]] | None = None,
        miners: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
        coordinators: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
        disputes: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
        few_witnesses: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        """Know the node.

        Args:
            describe: Says who the node is and how it stands.
            doorkeeper: Opens and closes it, if it is a miner.
            engine: Its device, if it has one.
            refused: Names the coordinators that get no work of it, and why; of a miner.
            figures: Gives what it counts, by name.
            miners: What it thinks of the miners that work for it, if it is a coordinator.
            coordinators: What it thinks of the coordinators that it works for, if it is a miner.
            disputes: In which it has a part, if it is registered.
            few_witnesses: Models of which rechecks can blame nobody, if it is a coordinator.
        """
        self._describe = describe
        self._doorkeeper = doorkeeper
        self._engine = engine
        self._refused = refused
        self._figures = figures
        self._miners = miners
        self._coordinators = coordinators
        self._disputes = disputes
        self._few_witnesses = few_witnesses

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked, and say how the node stands then.

        Raises:
            ConfigError: It is no command, or none for this role.
        """
        command = request.get("command")
        if command not in COMMANDS:
            raise ConfigError(f"{str(command)[:40]!r} is no command of a running node: {', '.join(COMMANDS)}")
        if command != "status":
            self._change(str(command), give_back=request.get("give_back") is True)
        return self._standing()

    def _change(self, command: str, *, give_back: bool) -> None:
        """Open or close the miner."""
        if self._doorkeeper is None:
            raise ConfigError(f"{command}: only a miner takes work, and this node is none")
        if command == "pause":
            self._doorkeeper.pause(give_back=give_back)
        elif command == "resume":
            self._doorkeeper.resume()
        else:
            self._doorkeeper.drain()

    def _standing(self) -> dict[str, Any]:
        """Say how the node stands."""
        said = dict(self._describe())
        if self._figures is not None:
            said["figures"] = dict(self._figures())
        if self._doorkeeper is not None:
            looked = self._doorkeeper.look()
            said["service"] = {
                "open": looked.is_open,
                "held_by": list(looked.holds),
                "claims": looked.load.claims,
                "jobs": looked.load.jobs,
                "results": looked.load.results,
                "celsius": looked.celsius,
                "minutes_to_change": looked.minutes_to_change,
            }
        if self._refused is not None:
            said["refused"] = {str(coordinator): why for coordinator, why in self._refused().items()}
        if self._engine is not None:
            report = asdict(self._engine.report())
            said["engine"] = report | {"faults": dict(report["faults"])}
        if self._miners is not None:
            said["miners"] = list(self._miners())
        if self._coordinators is not None:
            said["coordinators"] = list(self._coordinators())
        if self._disputes is not None:
            said["disputes"] = list(self._disputes())
        if self._few_witnesses is not None:
            said["few_witnesses"] = list(self._few_witnesses())
        return said
