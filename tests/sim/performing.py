"""What the simulated world does for each kind of effect, as the driver and the adapters do."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from protocol.effects import (
    CancelJob,
    CancelTimer,
    ComparePictures,
    Connect,
    Deliver,
    FindProviders,
    Judge,
    Note,
    OpenStream,
    Persist,
    Provide,
    Publish,
    Reply,
    Send,
    SendArtifact,
    SendEncoded,
    SendInput,
    SetTimer,
    StartJob,
    SubmitTx,
    Subscribe,
)
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World

Watcher = Callable[[Machine, Any], None]
"""Called with a machine and an effect that it asks for."""


def performers(world: "World") -> dict[type, Watcher]:
    """Give what is done for each kind of effect."""
    return {
        Persist: lambda machine, effect: world.disk(machine.store.persist(effect.records)),
        Note: lambda machine, effect: _keep(world, machine, effect),
        Send: world.wires.send,
        SendEncoded: world.wires.send_encoded,
        SendArtifact: world.wires.send_artifact,
        SendInput: world.wires.send_input,
        Publish: lambda machine, effect: world.gossip.publish(machine, effect.topic, effect.message),
        Subscribe: lambda machine, effect: world.gossip.mesh.join(machine, effect.topic),
        SetTimer: world.timers.set,
        CancelTimer: world.timers.cancel,
        Provide: world.wires.provide,
        FindProviders: world.wires.find,
        Connect: world.wires.connect,
        OpenStream: world.wires.open_stream,
        StartJob: world.engines.start,
        CancelJob: world.engines.cancel,
        ComparePictures: world.engines.compare,
        SubmitTx: lambda machine, effect: world.chain.submit(machine, effect),
        Deliver: lambda _machine, effect: world.updates[effect.task].append(effect.update),
        Reply: lambda _machine, effect: world.replies.__setitem__(effect.request, effect.answer),
        Judge: lambda machine, effect: world.judge(machine, world.by_peer[effect.peer], effect.rule, effect.offence),
    }


def _keep(world: "World", machine: Machine, note: Note) -> None:
    if note.name not in world.unkept:
        world.notes.append((world.now, machine.name, note))
