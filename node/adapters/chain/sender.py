"""Transactions from one account, many at a time: nonces are counted here, receipts are polled for.

A nonce that was given out and never mined would hold up everything behind it, so after any doubt (an error while
sending, a receipt that does not come) the count is read from the chain again.
"""

from collections.abc import Sequence
from typing import Any, Final, final

import trio
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import AsyncWeb3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3Exception
from web3.types import TxParams, TxReceipt

from contracts.bindings import Artifact
from contracts.deploy import Argument, Deployment
from node.adapters.chain.provider import TrioHTTPProvider
from node.adapters.chain.rpc import JsonRpc
from protocol.errors import OverlayError, Unavailable

RECEIPT_LIMIT_S: Final = 120.0
"""How long (s) a receipt is waited for: ten blocks of a slow chain."""
FIRST_POLL_S: Final = 0.005
"""First pause (s) between two looks for a receipt; it doubles up to MAX_POLL_S."""
MAX_POLL_S: Final = 1.0
"""Longest pause (s) between two looks for a receipt."""
GAS_MARGIN: Final = 1.25
"""Gas allowed over the estimate, which holds for the state before ours and not for that of the block we get into."""
EPOCH_GAS: Final = 100_000
"""Gas allowed beyond that: the first settlement in an epoch stores more, and the epoch may begin after the estimate."""
TIP_WEI: Final = 10**9
"""What the block's maker gets per gas (wei): enough on every chain that is not congested."""


class TransactionRefused(OverlayError):
    """The contract says no. The text is its reason, written for people."""


@final
class Sender:
    """Sends from one account. Satisfies ``contracts.deploy.Deployer``."""

    def __init__(self, rpc: JsonRpc, secret: bytes, *, receipt_limit_s: float = RECEIPT_LIMIT_S) -> None:
        """Sign with this secret (32 bytes) and send through a client that the caller closes."""
        self._web3: Final[AsyncWeb3[Any]] = AsyncWeb3(TrioHTTPProvider(rpc))  # Any: only persistent providers differ
        self._account: Final[LocalAccount] = Account.from_key(secret)
        self._receipt_limit_s = receipt_limit_s
        self._lock = trio.Lock()
        self._nonce: int | None = None
        self._chain_id: int | None = None

    @property
    def address(self) -> str:
        """Checksummed hex address of the account."""
        return self._account.address

    def checksum(self, address: str) -> str:
        """Write a hex address as web3 takes it."""
        return self._web3.to_checksum_address(address)

    async def deploy(self, artifact: Artifact, *arguments: Argument) -> Deployment:
        """Deploy a contract and wait until it is mined.

        Raises:
            TransactionRefused: The constructor refused.
            Unavailable: The chain does not answer, or no receipt came in time.
        """
        contract = self._web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        receipt = await self._transact(contract.constructor(*arguments))
        address = receipt["contractAddress"]
        assert address is not None, "a creation transaction always names its contract"
        return Deployment(address, receipt["blockNumber"])

    async def call(self, artifact: Artifact, address: str, function: str, *arguments: Argument) -> None:
        """Call a function in a transaction and wait until it is mined; errors as in ``deploy``."""
        await self._transact(self._bound(artifact, address, function, arguments))

    async def read(self, artifact: Artifact, address: str, function: str, *arguments: Argument) -> Any:  # noqa: ANN401 the ABI decides at run time
        """Read from a contract at the latest block; errors as in ``deploy``."""
        try:
            return await self._bound(artifact, address, function, arguments).call({"from": self._account.address})
        except ContractLogicError as error:
            raise TransactionRefused(_reason(error)) from error
        except Web3Exception as error:
            raise Unavailable(f"the chain node failed: {error}") from error

    def _bound(self, artifact: Artifact, address: str, function: str, arguments: Sequence[Argument]) -> Any:  # noqa: ANN401 web3's functions are made at run time
        """Bind a contract function to its arguments."""
        contract = self._web3.eth.contract(address=self._web3.to_checksum_address(address), abi=artifact.abi)
        # By their number too: a default argument in Vyper makes two functions of one name.
        fitting = (
            found for found in contract.find_functions_by_name(function) if len(found.abi["inputs"]) == len(arguments)
        )
        return next(fitting)(*arguments)

    async def _transact(self, call: Any) -> TxReceipt:  # noqa: ANN401 a bound function or constructor, alike in use
        """Estimate, sign, send, and wait for the receipt."""
        try:
            gas = await call.estimate_gas({"from": self._account.address})
            async with self._lock:
                sent = await self._send(call, int(gas * GAS_MARGIN) + EPOCH_GAS)
            receipt = await self._receipt(sent)
        except ContractLogicError as error:
            raise TransactionRefused(_reason(error)) from error
        except Web3Exception as error:
            raise Unavailable(f"the chain node refused a transaction: {error}") from error
        if receipt["status"] != 1:
            raise TransactionRefused("the transaction was reverted: the contract's state changed before it was mined")
        return receipt

    async def _send(self, call: Any, gas: int) -> HexBytes:  # noqa: ANN401 as in _transact
        """Give the transaction its nonce, sign and send it. Runs under the lock."""
        for again in (True, False):
            signed = self._account.sign_transaction(await call.build_transaction(await self._fields(gas)))
            try:
                await self._web3.eth.send_raw_transaction(signed.raw_transaction)
            except (Web3Exception, Unavailable) as error:
                if "already known" in str(error):  # an earlier try reached the node, and all is well
                    break
                self._nonce = None
                # Somebody else sent from this account: nothing of ours is on its way, so try once more.
                if not (again and "nonce too low" in str(error)):
                    raise
            else:
                break
        assert self._nonce is not None, "counted when the fields were made"
        self._nonce += 1
        return signed.hash

    async def _fields(self, gas: int) -> TxParams:
        """Make the fields that every transaction has, with the next nonce."""
        if self._chain_id is None:
            self._chain_id = await self._web3.eth.chain_id
        if self._nonce is None:
            self._nonce = await self._web3.eth.get_transaction_count(self._account.address, "pending")
        fields: TxParams = {
            "from": self._account.address,
            "chainId": self._chain_id,
            "nonce": self._nonce,  # type: ignore[typeddict-item] # web3's Nonce is a NewType over int
            "gas": gas,
        }
        block = await self._web3.eth.get_block("latest")
        if "baseFeePerGas" in block:
            fields["maxPriorityFeePerGas"] = self._web3.to_wei(TIP_WEI, "wei")
            fields["maxFeePerGas"] = self._web3.to_wei(2 * block["baseFeePerGas"] + TIP_WEI, "wei")
        else:
            fields["gasPrice"] = await self._web3.eth.gas_price
        return fields

    async def _receipt(self, sent: HexBytes) -> TxReceipt:
        """Poll for a receipt."""
        pause = FIRST_POLL_S
        with trio.move_on_after(self._receipt_limit_s):
            while True:
                try:
                    return await self._web3.eth.get_transaction_receipt(sent)
                except TransactionNotFound:
                    await trio.sleep(pause)
                    pause = min(MAX_POLL_S, pause * 2)
        self._nonce = None
        raise Unavailable(
            f"no receipt of transaction {sent.to_0x_hex()} in {self._receipt_limit_s:.0f} s: it may still be mined"
        )


def _reason(error: ContractLogicError) -> str:
    """Give the contract's own words."""
    return (error.message or str(error)).removeprefix("execution reverted: ")
