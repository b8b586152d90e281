"""Transactions from the account of a person, many at a time: nonces are counted here, receipts are polled for.

Nothing is kept on disk: whoever sends waits for the end. A node's own transactions outlive it: see ``transactor``.

A nonce that was given out and never mined would hold up everything behind it, so after any doubt (an error while
sending, a receipt that does not come) the count is read from the chain again. Others may send from the account too, a
person's wallet for example: a nonce that the chain node knows to be used is skipped, else ours would replace what waits
there.
"""

import time
from typing import Any, Final, final

import node.lean_ethereum  # noqa: F401  before eth_utils

# isort: split
import trio
from eth_utils.address import to_checksum_address

from contracts.bindings import Artifact
from contracts.deploy import Argument, Deployment
from node.adapters.chain.abi import TransactionRefused, call_data, creation_data, is_revert, reason_of
from node.adapters.chain.answers import COUNT_BITS, CallRefused, Json, is_known, octets, quantity
from node.adapters.chain.fees import allowed_gas, first_fees
from node.adapters.chain.gas_account import Fees, GasAccount
from node.adapters.chain.gas_view import CERTAIN_BLOCKS, ask_all
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.simulation import Call, read
from protocol.chain_records import SignedTransaction
from protocol.errors import Unavailable
from protocol.units import Address, UnixMillis, Wei

RECEIPT_LIMIT_S: Final = 120.0
"""How long (s) a receipt is waited for where nobody says otherwise: ten blocks of a slow chain."""
FIRST_POLL_S: Final = 0.005
"""First pause (s) between two looks for a receipt; it doubles up to MAX_POLL_S."""
MAX_POLL_S: Final = 1.0
"""Longest pause (s) between two looks for a receipt."""
_NO_LIMIT: Final = 2**256 - 1


@final
class Sender:
    """Sends from one account. Satisfies ``contracts.deploy.Deployer``."""

    def __init__(self, rpc: JsonRpc, secret: bytes, chain_id: int) -> None:
        """Sign with this secret (32 bytes) for this chain, and send through a client that the caller closes."""
        self.rpc: Final = rpc
        self.receipt_limit_s = RECEIPT_LIMIT_S
        self._account: Final = GasAccount(secret, chain_id)
        self._lock = trio.Lock()
        self._nonce: int | None = None

    @property
    def address(self) -> str:
        """Checksummed hex address of the account."""
        return self._account.address

    async def deploy(self, artifact: Artifact, *arguments: Argument) -> Deployment:
        """Deploy a contract and wait until it is mined.

        Raises:
            TransactionRefused: The constructor refused.
            Unavailable: The chain does not answer, no receipt came in time, or another transaction took the nonce.
        """
        receipt = await self._transact(None, creation_data(artifact, arguments))
        address = to_checksum_address(octets(receipt.get("contractAddress"), 20))
        return Deployment(address, quantity(receipt.get("blockNumber"), COUNT_BITS))

    async def call(self, artifact: Artifact, address: str, function: str, *arguments: Argument) -> None:
        """Call a function in a transaction and wait until it is mined; errors as in ``deploy``."""
        await self._transact(Address(octets(address, 20)), call_data(artifact, function, arguments))

    async def read(self, artifact: Artifact, address: str, function: str, *arguments: Argument) -> Any:  # noqa: ANN401 the ABI decides at run time
        """Read from a contract at the latest block, a single value bare; errors as in ``deploy``."""
        try:
            (values,) = await read(self.rpc, [Call(artifact, address, function, arguments)], sender=self.address)
        except CallRefused as refusal:
            raise _told(refusal) from refusal
        return values[0] if len(values) == 1 else values

    async def _transact(self, to: Address | None, data: bytes) -> dict[str, Json]:
        """Estimate, sign, send, and give the receipt."""
        call = {"from": self.address, "data": "0x" + data.hex()}
        call |= {} if to is None else {"to": "0x" + to.hex()}
        try:
            gas = allowed_gas(quantity(await self.rpc.call("eth_estimateGas", call), COUNT_BITS))
            async with self._lock:
                sent, nonce = await self._send(to, data, gas)
        except CallRefused as refusal:
            raise _told(refusal) from refusal
        receipt = await self._receipt("0x" + sent.hash.hex(), nonce)
        if quantity(receipt.get("status")) != 1:
            raise TransactionRefused("the transaction was reverted: the contract's state changed before it was mined")
        return receipt

    async def _send(self, to: Address | None, data: bytes, gas: int) -> tuple[SignedTransaction, int]:
        """Give the transaction its nonce, sign and send it; gives both. Runs under the lock."""
        for again in (True, False):
            signed = await self._signed(to, data, gas)
            try:
                await self.rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
            except CallRefused as refusal:
                is_taken = "nonce too low" in refusal.message.lower()
                if is_known(refusal) or (is_taken and await self._is_mined(signed)):
                    break  # an earlier try reached the node, only its answer was lost
                self._nonce = None
                # Somebody else sent from this account: nothing of ours is on its way, so try once more.
                if not (again and is_taken):
                    raise
            except Unavailable:
                self._nonce = None
                raise
            else:
                break
        assert self._nonce is not None, "counted when it was signed"
        self._nonce += 1
        return signed, self._nonce - 1

    async def _signed(self, to: Address | None, data: bytes, gas: int) -> SignedTransaction:
        """Sign with the next nonce and the present fees."""
        block, price, count = await ask_all(
            self.rpc,
            [
                ("eth_getBlockByNumber", ("latest", False)),
                ("eth_gasPrice", ()),
                ("eth_getTransactionCount", (self.address, "pending")),
            ],
        )
        if not isinstance(block, dict):
            raise Unavailable("the chain node sent no latest block")
        self._nonce = max(self._nonce or 0, quantity(count, COUNT_BITS))
        if "baseFeePerGas" in block:
            fees = Fees(*first_fees(quantity(block["baseFeePerGas"]), None, _NO_LIMIT))
        else:
            fees = Fees(Wei(quantity(price)), Wei(quantity(price)), legacy=True)
        now = UnixMillis(int(time.time() * 1000))
        return self._account.sign(to, data, nonce=self._nonce, gas=gas, fees=fees, now=now)

    async def _is_mined(self, sent: SignedTransaction) -> bool:
        """Say whether a transaction is in a block."""
        return await self.rpc.call("eth_getTransactionReceipt", "0x" + sent.hash.hex()) is not None

    async def _receipt(self, sent: str, nonce: int) -> dict[str, Json]:
        """Poll for the receipt of a transaction, given by its hash, until its nonce is certainly another one's."""
        pause, taken_at = FIRST_POLL_S, None
        with trio.move_on_after(self.receipt_limit_s):
            while True:
                calls = [("eth_getTransactionReceipt", (sent,)), ("eth_getTransactionCount", (self.address, "latest"))]
                receipt, count, head = await ask_all(self.rpc, [*calls, ("eth_blockNumber", ())])
                if isinstance(receipt, dict):
                    return receipt
                block = quantity(head, COUNT_BITS)
                if quantity(count, COUNT_BITS) <= nonce:
                    taken_at = None
                elif taken_at is None:
                    taken_at = block  # perhaps only this node does not know the receipt yet
                elif block >= taken_at + CERTAIN_BLOCKS:
                    self._nonce = None
                    raise Unavailable(
                        f"transaction {sent} will never be mined: another one of this account took its nonce"
                    )
                await trio.sleep(pause)
                pause = min(MAX_POLL_S, pause * 2)
        self._nonce = None
        raise Unavailable(f"no receipt of transaction {sent} in {self.receipt_limit_s:.0f} s: it may still be mined")


def _told(refusal: CallRefused) -> TransactionRefused | Unavailable:
    """Tell a contract's no from a chain node's."""
    if is_revert(refusal):
        return TransactionRefused(reason_of(refusal))
    return Unavailable(f"the chain node refused: {refusal}")
