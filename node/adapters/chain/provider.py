"""web3.py under trio: its own HTTP provider rests on aiohttp, this one on our JSON-RPC client.

Import this only where transactions are made; the follower does without web3. ``AsyncWeb3`` over it works except
for what web3 builds on asyncio: ``batch_requests`` (use ``JsonRpc.batch``) and ``wait_for_transaction_receipt``
(use ``Sender``).
"""

from typing import Any, final

from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from node.adapters.chain.rpc import JsonRpc
from protocol.errors import Unavailable

_READS = ("eth_get", "eth_call", "eth_block", "eth_chain", "eth_estimate", "eth_gas", "eth_fee", "eth_max", "net_")
_REPEATABLE = (*_READS, "web3_", "eth_sendRawTransaction")
"""What may be sent twice. A raw transaction may: its hash is the same, and a second copy is refused as known."""


@final
class TrioHTTPProvider(AsyncJSONBaseProvider):
    """Sends web3's requests through a ``JsonRpc``, with its fail-over and retries."""

    def __init__(self, rpc: JsonRpc) -> None:
        """Use a client that the caller closes."""
        super().__init__()
        self.rpc = rpc

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:  # noqa: ANN401 as in web3's base class
        """Send one request; errors that the node answers are web3's to raise."""
        body = self.encode_rpc_request(method, params)
        answer: RPCResponse = await self.rpc.exchange(body, repeat=method.startswith(_REPEATABLE))
        return answer

    async def is_connected(self, show_traceback: bool = False) -> bool:
        """Say whether a node answers; never raises unless asked to."""
        try:
            await self.rpc.call("eth_chainId")
        except Unavailable:
            if show_traceback:
                raise
            return False
        return True
