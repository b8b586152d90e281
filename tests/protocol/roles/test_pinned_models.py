"""Nodes hear and look for what may be served, not for all that a catalog lists."""

import pytest

from protocol.effects import FindProviders, Subscribe
from protocol.events import Restored
from protocol.roles.bootstrap import BootstrapCore
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.wire.topics import offers_topic
from tests.protocol.roles.frames import CATALOG, PARAMS
from tests.protocol.roles.seats import CoordinatorSeat


@pytest.mark.parametrize("core", [BootstrapCore, lambda identity: CoordinatorCore(identity, tuple)])
def test_restored__model_without_digest__no_topic_is_heard_and_nobody_looked_for(core) -> None:
    seat = CoordinatorSeat()
    assert CATALOG.models["sdxl"].digest is None
    effects = core(seat.identity).handle(Restored(()), seat.now)
    heard = {effect.topic for effect in effects if isinstance(effect, Subscribe)}
    assert offers_topic(PARAMS.name, "pocket-emoji") in heard
    assert offers_topic(PARAMS.name, "sdxl") not in heard
    assert len([effect for effect in effects if isinstance(effect, FindProviders)]) <= 1
