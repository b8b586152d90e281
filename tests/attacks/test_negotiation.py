"""Peers that answer with what is no text where the protocol of a stream is agreed on."""

from libp2p.abc import INetStream

from node.adapters.libp2p.dht import OverlayDht
from protocol.stake.standing import Standing
from tests.support.adversary import Adversary
from tests.support.overlay import Running, until
from tests.support.siege import siege

KEY = "/cuckoo/1/devnet/model/pocket-emoji"
NO_TEXT = b"\x03\xff\xfe\n"


def _dht(node: Running) -> OverlayDht:
    parts = node.transport._parts
    assert parts is not None
    return parts.discovery._dht


def _answer_no_text(enemy: Adversary) -> list[INetStream]:
    """Have an enemy answer so on each stream that is opened to it; gives these streams as they come."""
    asked: list[INetStream] = []

    async def answer(stream: INetStream) -> None:
        asked.append(stream)
        await stream.write(NO_TEXT)

    enemy.host.get_network().set_stream_handler(answer)
    return asked


async def test_negotiation__answered_with_no_text__ends_that_stream_alone() -> None:
    async with siege() as place, place.enemy(standing=Standing.MINER) as enemy:
        _dht(place.victim).table.meet(enemy.host.get_id(), [b"\x04\x7f\x00\x00\x01\x06\x00\x01"])
        asked = _answer_no_text(enemy)
        place.victim.transport.find_providers(KEY)
        place.victim.transport.open_stream(enemy.id)
        await until(lambda: len(asked) >= 2, "both streams")
        await place.holds()
