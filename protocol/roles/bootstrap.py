"""The bootstrap's core: an entry point that forwards gossip and answers the DHT, and takes no part in tasks.

Spec: SPEC.md §8.
"""

from typing import final

from protocol.effects import Subscribe
from protocol.events import Event, Restored
from protocol.roles.core import Core
from protocol.wire.topics import objections_topic, offers_topic


@final
class BootstrapCore(Core):
    """Hears every topic of the catalog, and objections: they cross it while a joining node knows nobody else."""

    def on_event(self, event: Event) -> None:
        """Subscribe once; the rest is the transport's and the admission's work."""
        match event:
            case Restored():
                self.emit(Subscribe(objections_topic(self.identity.network)))
                for model in self.identity.catalog.offered():
                    self.emit(Subscribe(offers_topic(self.identity.network, model)))
            case _:
                pass
