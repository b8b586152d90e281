"""A person's account on the chain: what it has, what a plan would cost and change, and carrying it out.

The account's key is an owner's or a voter's: it holds CAI and pays gas. It is never a node's hot key, and it lives on
the machine of the person, not on that of the node.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from contracts.bindings import ContractName, load
from contracts.deploy import Argument
from node.adapters.chain.abi import TransactionRefused
from node.adapters.chain.answers import quantity
from node.adapters.chain.devchain import DEV_CHAIN_ID
from node.adapters.chain.fees import DEFAULT_TIP_WEI, allowed_gas
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.simulation import Call, read, simulate
from node.addresses import checksummed
from node.amounts import format_cai
from node.network_file import NetworkFile
from protocol.errors import ConfigError, OverlayError, Unavailable

if TYPE_CHECKING:
    from node.adapters.chain.sender import Sender

LOW_GAS_PLANS: Final = 10
"""An account that cannot pay as many more plans like the last one is warned."""
DEV_COINS_WEI: Final = 10 * 10**18
"""What an empty account of a dev chain is given for gas (wei of the chain's own coin)."""
_FEE_MARGIN: Final = 1.5
"""Over the fee at the present price: it moves between two blocks, and gas is allowed with a margin."""

_OVERTAKEN: Final = ("replacement transaction underpriced", "already imported", "nonce too low")
"""What chain nodes say of a transaction whose place another one of the account has taken."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of a plan."""

    text: str
    """What it does, to be read after "waiting for: "."""
    call: Call


@dataclass(frozen=True, slots=True)
class Watched:
    """Something that a plan changes, shown as it is before and after."""

    label: str
    call: Call
    shown: Callable[[tuple[Any, ...]], str]  # Any: what the ABI returns
    """Writes what the call returned."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Transactions that belong together, and what to look at."""

    title: str
    """What is done, in a line."""
    steps: tuple[Step, ...]
    watched: tuple[Watched, ...] = ()
    notes: tuple[str, ...] = ()
    """What else to know before it is sent: when it can be undone, and what may be lost."""
    advice: tuple[str, ...] = ()
    """What to look at first; once it is sent that is too late, and not shown."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan would do now."""

    gas: int
    """Gas of all its transactions."""
    fee_wei: int
    """What that costs at the chain's present price, in wei of the chain's own coin."""
    balance_wei: int
    """What the account has of that coin."""
    effects: tuple[tuple[str, str, str], ...]
    """What changes: label, before, after."""
    allowed: tuple[int, ...]
    """Gas that each transaction may use: an epoch may begin before it is mined, which costs more."""

    @property
    def is_affordable(self) -> bool:
        """Whether the account can pay the gas, with a margin."""
        return self.balance_wei >= self.fee_wei * _FEE_MARGIN

    @property
    def leaves_little(self) -> bool:
        """Whether little is left for more plans like it."""
        return self.balance_wei < self.fee_wei * (LOW_GAS_PLANS + 1)


@final
class Wallet:
    """An account on one network. Make it with ``open_wallet``."""

    def __init__(self, rpc: JsonRpc, network: NetworkFile, address: str, sender: "Sender | None") -> None:
        """Act for ``address``; without a sender it can look but not act."""
        self.rpc: Final = rpc
        self.network: Final = network
        self.address: Final = address
        """Checksummed hex address of the account."""
        self._sender = sender

    def call(self, name: ContractName, function: str, *arguments: Argument) -> Call:
        """Name a function of one of the network's contracts, with its arguments.

        Raises:
            ConfigError: The network has no such contract.
        """
        return Call(load(name), self.address_of(name), function, arguments)

    def address_of(self, name: ContractName) -> str:
        """Give the checksummed address of one of the network's contracts.

        Raises:
            ConfigError: The network has no such contract.
        """
        address: str | None = getattr(self.network.contracts, name.lower())
        if address is None:
            raise ConfigError(f"this network has no {name} contract")
        return checksummed(address)

    async def read(self, *calls: Call) -> list[Any]:  # Any: the ABI decides at run time
        """Read from contracts in one request; a single value is given bare.

        Raises:
            Unavailable: The chain does not answer.
        """
        answers = await read(self.rpc, calls, sender=self.address)
        return [values[0] if len(values) == 1 else values for values in answers]

    async def gas_balance(self) -> int:
        """Give what the account has for gas (wei of the chain's own coin)."""
        return quantity(await self.rpc.call("eth_getBalance", self.address, "latest"))

    async def fill_up_on_dev_chain(self) -> None:
        """Give the account something for gas where it has none and the chain is a dev chain, which makes coins."""
        if self.network.chain.chain_id == DEV_CHAIN_ID and await self.gas_balance() == 0:
            await self.rpc.call("anvil_setBalance", self.address, hex(DEV_COINS_WEI))

    async def now(self) -> int:
        """Give the chain's time (unix s): contracts go by it."""
        block = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        return quantity(block["timestamp"])

    async def approval(self, contract: ContractName, amount: int) -> tuple[Step, ...]:
        """Give the step that lets a contract take an amount of the account's CAI; none where it may already.

        Raises:
            ConfigError: The account does not have so much.
        """
        taker = self.address_of(contract)
        balance, allowance = await self.read(
            self.call("CAI", "balanceOf", self.address), self.call("CAI", "allowance", self.address, taker)
        )
        if balance < amount:
            raise ConfigError(
                f"{self.address} has {format_cai(balance)}, and {format_cai(amount)} are needed: "
                "send it CAI first, on a devnet or testnet with cuckoo faucet"
            )
        if allowance >= amount:
            return ()
        text = f"let {contract} take {format_cai(amount)}"
        return (Step(text, self.call("CAI", "approve", taker, amount)),)

    async def preview(self, plan: Plan) -> Preview:
        """Try a plan out without sending anything.

        Raises:
            TransactionRefused: A contract refuses one of its steps, and says why.
            Unavailable: The chain does not answer.
        """
        before = await read(self.rpc, [item.call for item in plan.watched], sender=self.address)
        calls = [step.call for step in plan.steps] + [item.call for item in plan.watched]
        outcomes = await simulate(self.rpc, self.address, calls)
        done, after = outcomes[: len(plan.steps)], outcomes[len(plan.steps) :]
        for outcome in done:
            if outcome.refusal is not None:
                raise TransactionRefused(outcome.refusal)
        gas = sum(outcome.gas for outcome in done)
        price = await self._gas_price()
        effects = tuple(
            (item.label, item.shown(was), item.shown(outcome.values))
            for item, was, outcome in zip(plan.watched, before, after, strict=True)
            if outcome.refusal is None
        )
        allowed = tuple(allowed_gas(outcome.gas) for outcome in done)
        return Preview(gas, gas * price, await self.gas_balance(), effects, allowed)

    async def _gas_price(self) -> int:
        """Give what a transaction of ours pays for a unit of gas now (wei)."""
        block = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        if "baseFeePerGas" in block:
            return quantity(block["baseFeePerGas"]) + DEFAULT_TIP_WEI
        return quantity(await self.rpc.call("eth_gasPrice"))

    async def carry_out(self, plan: Plan, say: Callable[[str], None]) -> None:
        """Send the transactions of a plan one after another, each once the one before it is mined.

        Raises:
            TransactionRefused: A contract refuses; what was mined before stays, and the text says how much that is.
            Unavailable: The chain does not answer, or a transaction is not mined in time; the text says so too.
        """
        assert self._sender is not None, "a wallet without a key only looks"
        for number, step in enumerate(plan.steps, start=1):
            say(f"waiting for: {step.text} ({number} of {len(plan.steps)})")
            call = step.call
            try:
                await self._sender.call(call.artifact, call.address, call.function, *call.arguments)
            except (TransactionRefused, Unavailable) as error:
                raise type(error)(f"{_in_words(error)}{_done_before(plan.steps[: number - 1])}") from error


def _in_words(error: OverlayError) -> str:
    """Say what a chain node means when two commands send from one account at a time; all else stays as it is."""
    if any(words in str(error).lower() for words in _OVERTAKEN):
        return "another transaction of this account is under way: wait for it, and run this again"
    return str(error)


def _done_before(steps: tuple[Step, ...]) -> str:
    """Say which steps of a plan were carried out before one that was not."""
    return f"; done before that: {', '.join(step.text for step in steps)}" if steps else ""


@asynccontextmanager
async def open_wallet(network: NetworkFile, *, secret: bytes | None = None, address: str = "") -> AsyncIterator[Wallet]:
    """Connect an account to its network.

    Args:
        network: Where.
        secret: The account's key, 32 bytes; None only looks.
        address: Whom to look at, hex, without a key.

    Raises:
        ConfigError: The chain node serves another chain, or no contract lies at the staking address.
        Unavailable: No chain node answers.
    """
    chain = network.chain
    async with JsonRpc(chain.rpc_urls, chain_id=chain.chain_id) as rpc:
        try:
            code = await rpc.call("eth_getCode", network.contracts.staking, "latest")
        except Unavailable as error:
            raise Unavailable(
                f"no chain node answers ({error}): start it, or correct chain.rpc_urls in the network's file"
            ) from error
        if not isinstance(code, str) or code in {"", "0x"}:
            raise ConfigError(
                f"no contract at {network.contracts.staking} on chain {chain.chain_id}: is it the network's file of "
                "this chain? A devnet that was started again has a new one"
            )
        if secret is not None:
            from node.adapters.chain.sender import Sender  # imported here: what signs takes a second

            sender = Sender(rpc, secret, chain.chain_id)
            yield Wallet(rpc, network, sender.address, sender)
        else:
            yield Wallet(rpc, network, checksummed(address), None)


def require_gas(preview: Preview, address: str) -> None:
    """Refuse to begin what the account cannot pay for.

    Raises:
        ConfigError: It has too little of the chain's coin.
    """
    if not preview.is_affordable:
        raise ConfigError(
            f"{address} has {preview.balance_wei / 10**18:.6f} of the chain's coin, and about "
            f"{preview.fee_wei * _FEE_MARGIN / 10**18:.6f} are needed for gas: send it some"
        )
