"""An account that pays for transactions on one chain: it signs them, and knows its own signature.

Imported only where a key is at hand: eth_account costs half a second. It is never the node's hot key, which signs no
transaction (SPEC.md §5.2).
"""

from dataclasses import dataclass
from typing import Any, Final, final

from node.ethereum_account import Account, LocalAccount
from protocol.chain_records import SignedTransaction
from protocol.units import Address, Digest, UnixMillis, Wei


@dataclass(frozen=True, slots=True)
class Fees:
    """What one gas may cost (wei)."""

    cap: Wei
    tip: Wei
    legacy: bool = False
    """The chain has no base fee: ``cap`` is the price."""


@final
class GasAccount:
    """One account on one chain. Knows no nonces: who sends counts them."""

    def __init__(self, secret: bytes, chain_id: int) -> None:
        """Sign with this secret (32 bytes) for this chain only."""
        self._account: Final[LocalAccount] = Account.from_key(secret)
        self._chain_id = chain_id

    @property
    def address(self) -> str:
        """Checksummed hex address."""
        return self._account.address

    def signed(self, version: SignedTransaction) -> bool:
        """Say whether this account signed a version; a gas key may have been changed since."""
        return bool(Account.recover_transaction(version.raw) == self._account.address)

    def sign(
        self, to: Address | None, data: bytes, *, nonce: int, gas: int, fees: Fees, now: UnixMillis
    ) -> SignedTransaction:
        """Sign one version of a transaction; one to nobody creates a contract."""
        fields: dict[str, Any] = {  # Any: what eth_account takes
            "chainId": self._chain_id,
            "to": b"" if to is None else bytes(to),
            "data": data,
            "value": 0,
            "nonce": nonce,
            "gas": gas,
        }
        if fees.legacy:
            fields["gasPrice"] = int(fees.cap)
        else:
            fields |= {"type": 2, "maxFeePerGas": int(fees.cap), "maxPriorityFeePerGas": int(fees.tip)}
        signed = self._account.sign_transaction(fields)
        return SignedTransaction(
            Digest(bytes(signed.hash)), bytes(signed.raw_transaction), fees.cap, fees.tip, gas, now
        )
