"""What the swarm tells about connections, as two plain calls."""

from collections.abc import Callable
from typing import final

from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from multiaddr.multiaddr import Multiaddr


@final
class ConnectionWatch(INotifee):
    """Calls one function for each new connection and one for each lost one."""

    def __init__(self, on_connected: Callable[[INetConn], None], on_disconnected: Callable[[INetConn], None]) -> None:
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        """Pass it on."""
        self._on_connected(conn)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        """Pass it on."""
        self._on_disconnected(conn)

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Nothing to do."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Nothing to do."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Nothing to do."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Nothing to do."""
