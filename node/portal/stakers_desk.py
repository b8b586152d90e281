"""The staking contracts for people with a browser's wallet: what there is, what they have, what a wish would do.

It reads and tries out with the node's own chain nodes, and signs nothing: whoever asks signs in his own wallet. The
plans are those of the command line. What many people ask is read from the chain once in a few seconds.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar, final

import trio

from node.adapters.chain.abi import TransactionRefused
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.simulation import CannotSimulate
from node.addresses import checked_address, checksummed
from node.amounts import format_cai, parse_cai
from node.network_file import NetworkChain, NetworkContracts, NetworkFile
from node.owner.plans import ALL, add_stake, claim, drip, register, take_back, withdraw
from node.owner.registration_proof import MAX_FILE_BYTES, RegistrationProof
from node.owner.slashes import Slash, SlashLog
from node.owner.stakes import NodeStake, all_nodes, find_node, positions, unbondings
from node.owner.wallet import Plan, Step, Wallet
from node.portal.ports import (
    Holding,
    Holdings,
    Listed,
    PortalChain,
    Prepared,
    PreparedStep,
    Release,
    Slashed,
    Wish,
)
from node.settings import ChainSection, PortalSection
from protocol.errors import ConfigError
from protocol.units import Role

FRESH_S: Final = 3.0
"""For how long (s) what was read for everybody is good enough: a block or two."""
FRESH_TIMES: Final = 30
"""So many times as long as reading took it is good enough, too: large networks are read less often, so that those who
look cost the chain nodes a thirtieth of their time at most."""
MAX_LISTED: Final = 1000
"""Nodes in the list, those with most stake: about 400 kB."""
MAX_SLASHES: Final = 5
"""Slashes of one node that are shown, the newest."""
PATIENCE_S: Final = 2.0
"""How long (s) the list of nodes waits for slashes that are still being read."""
NO_SIMULATION: Final = (
    "this coordinator's chain node cannot try transactions out (eth_simulateV1), so that nothing is prepared that was "
    "not tried: whoever runs it may give it another; meanwhile the portal of another coordinator will do"
)
NOBODY: Final = "0x" + "00" * 20
_SECONDS_PER_DAY: Final = 86_400
_MAX_ARGUMENT: Final = 100
_PROFILE_FIELDS: Final = ("name", "description", "site", "location", "contact")
_FOR_THE_PAGE: Final = (
    ("NODE: ", ""),
    ("AMOUNT: ", ""),
    ("amount: ", ""),
    ("--stake: ", ""),
    ("--proof: ", "proof: "),
    ("shorten --description", "shorten the description"),
    (", on a devnet or testnet with cuckoo faucet", ", on a test network from the faucet above"),
    (": cuckoo status --stakes lists all", ""),
    (", with cuckoo unvote or cuckoo unbond", ""),
    (": cuckoo rewards shows what there is", ""),
    (": cuckoo rewards shows where you have", ""),
    ("after cuckoo unvote", "after you take it back"),
    ("after cuckoo unbond", "after you take it back"),
    (": make it with the same --network", ""),
)
"""What plans say to people at a terminal -> how it reads on a page, where the commands are buttons."""
T = TypeVar("T")


@final
class ContractsDesk:
    """Implements ``node.portal.ports.StakersDesk``."""

    def __init__(self, chain: ChainSection, portal: PortalSection, faucet: str | None) -> None:
        """Ask the node's own chain nodes, from the first question on.

        Args:
            chain: The chain nodes, and the staking contract.
            portal: What wallets are told of the chain.
            faucet: Hex address of the network's faucet, if it has one.
        """
        self._rpc = JsonRpc(chain.rpc_urls, chain_id=chain.chain_id)
        self._chain = chain
        self._portal = portal
        self._faucet = faucet
        self._file: NetworkFile | None = None
        self._nodes = _Kept(self._read_nodes)
        self._slash_log = SlashLog()
        self._slashes = _Kept(self._read_slashes)
        self._state = _Kept(self._read_chain)

    async def run(self) -> None:
        """Close all connections once it is cancelled."""
        async with self._rpc:
            await trio.sleep_forever()

    async def chain(self) -> PortalChain:
        """Say which chain, and which contracts."""
        return await self._state.value()

    async def nodes(self) -> Sequence[Listed]:
        """List every registered node, as it was a few seconds ago at most."""
        found = sorted(await self._nodes.value(), key=lambda node: (-node.effective_wei, node.id))
        with trio.move_on_after(PATIENCE_S):  # of a long chain more is read with each question
            await self._slashes.value()
        slashes: dict[int, tuple[Slashed, ...]] = {}
        for slash in self._slash_log.found:
            slashes[slash.node] = (_slashed(slash), *slashes.get(slash.node, ()))[:MAX_SLASHES]
        return [_listed(node, slashes.get(node.id, ())) for node in found[:MAX_LISTED]]

    async def holdings(self, account: str) -> Holdings:
        """Say what an account has."""
        wallet = await self._wallet(checked_address(account, "account"))
        (balance,) = await wallet.read(wallet.call("CAI", "balanceOf", wallet.address))
        next_drip = None
        if self._faucet is not None:
            (next_drip,) = await wallet.read(wallet.call("Faucet", "next_drip_at", wallet.address))
        return Holdings(
            account=wallet.address,
            balance_wei=balance,
            gas_wei=await wallet.gas_balance(),
            holdings=tuple(
                Holding(
                    node=held.node.id,
                    name=held.node.profile.get("name", ""),
                    is_own=held.node.owner == wallet.address,
                    stake_wei=held.stake_wei,
                    earned_wei=held.earned_wei,
                )
                for held in await positions(wallet)
            ),
            releases=tuple(Release(entry.id, entry.value_wei, entry.release_at) for entry in await unbondings(wallet)),
            next_drip_at=next_drip,
            now=await wallet.now(),
        )

    async def prepare(self, wish: Wish) -> Prepared:
        """Work out the transactions of a wish, and try them out."""
        wallet = await self._wallet(checked_address(wish.account, "account"))
        try:
            plan = await self._plan(wallet, wish)
            preview = await wallet.preview(plan)
        except TransactionRefused as refusal:
            raise ConfigError(f"the contract refuses: {refusal}") from refusal
        except CannotSimulate as error:
            raise ConfigError(NO_SIMULATION) from error
        except ConfigError as error:
            raise ConfigError(_for_the_page(str(error))) from error
        return Prepared(
            title=_for_the_page(plan.title),
            steps=tuple(_prepared(step, gas) for step, gas in zip(plan.steps, preview.allowed, strict=True)),
            gas=preview.gas,
            fee_wei=preview.fee_wei,
            is_affordable=preview.is_affordable,
            effects=preview.effects,
            notes=tuple(_for_the_page(note) for note in plan.notes),
        )

    async def _plan(self, wallet: Wallet, wish: Wish) -> Plan:
        """Make the plan that the command line would make."""
        match wish.action:
            case "faucet":
                await wallet.fill_up_on_dev_chain()
                return await drip(wallet, wallet.address)
            case "vote":
                node = await find_node(wallet, wish.node.strip())
                amount = parse_cai(wish.amount, "amount")
                return await add_stake(wallet, node, amount, as_owner=node.owner == wallet.address)
            case "unvote":
                node = await find_node(wallet, wish.node.strip())
                everything = wish.amount.strip().lower() == "all"
                part = ALL if everything else parse_cai(wish.amount, "amount")
                return await take_back(wallet, node, part, as_owner=node.owner == wallet.address)
            case "withdraw":
                return await withdraw(wallet)
            case "claim":
                chosen = [await find_node(wallet, wish.node.strip())] if wish.node.strip() else []
                return await claim(wallet, chosen)
            case "register":
                if len(wish.proof) > MAX_FILE_BYTES:
                    raise ConfigError("proof: too long to be one: paste what cuckoo key prove printed")
                profile = {name: wish.profile[name] for name in _PROFILE_FIELDS if wish.profile.get(name)}
                proof = RegistrationProof.of(wish.proof, "proof")
                return await register(wallet, proof, parse_cai(wish.amount, "stake"), profile)

    async def _wallet(self, address: str) -> Wallet:
        """Look at the chain as an account, without its key."""
        return Wallet(self._rpc, await self._network(), address, None)

    async def _network(self) -> NetworkFile:
        """Find the contracts: the staking contract names the others."""
        if self._file is None:
            chain = NetworkChain(rpc_urls=self._chain.rpc_urls, chain_id=self._chain.chain_id)
            contracts = NetworkContracts(
                staking=self._chain.staking,
                faucet=self._faucet,
                start_block=self._chain.start_block,
                **dict.fromkeys(("cai", "parameters", "settlement", "slashing", "disputes"), NOBODY),
            )
            wallet = Wallet(self._rpc, NetworkFile(chain=chain, contracts=contracts), NOBODY, None)
            views = ("token", "parameters", "settlement", "slashing", "disputes")
            found = await wallet.read(*(wallet.call("Staking", view) for view in views))
            named: dict[str, str] = dict(zip(("cai", *views[1:]), map(checksummed, found), strict=True))
            self._file = NetworkFile(chain=chain, contracts=contracts.model_copy(update=named))
        return self._file

    async def _read_nodes(self) -> Sequence[NodeStake]:
        return await all_nodes(await self._wallet(NOBODY))

    async def _read_slashes(self) -> bool:
        await self._slash_log.read(await self._wallet(NOBODY))
        return True

    async def _read_chain(self) -> PortalChain:
        wallet = await self._wallet(NOBODY)
        names = ("unbonding_delay", "emission_status", "total_staked")
        delay, (pool, rate, _), staked = await wallet.read(*(wallet.call("Staking", name) for name in names))
        roles = {role.name.lower(): wallet.call("Staking", "minimum_stake", int(role)) for role in Role}
        minimum = await wallet.read(*roles.values())
        network = await self._network()
        addresses = network.contracts.model_dump(exclude_none=True, exclude={"start_block"})
        return PortalChain(
            chain_id=self._chain.chain_id,
            name=self._portal.chain_name,
            coin=self._portal.chain_coin,
            rpc_url=self._portal.wallet_rpc_url,
            contracts={name: checksummed(address) for name, address in addresses.items()},
            now=await wallet.now(),
            unbonding_s=delay,
            minimum_wei=dict(zip(roles, minimum, strict=True)),
            emission_wei_per_day=rate * _SECONDS_PER_DAY if pool else 0,
            staked_wei=staked,
        )


class _Kept(Generic[T]):
    """Something that is read anew when it is no longer fresh, by one at a time, for all who ask meanwhile."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._lock = trio.Lock()
        self._found: T | None = None
        self._fresh_until = 0.0

    async def value(self) -> T:
        """Give it."""
        async with self._lock:
            begun = trio.current_time()
            if self._found is None or begun >= self._fresh_until:
                self._found = await self._read()
                now = trio.current_time()
                self._fresh_until = now + max(FRESH_S, FRESH_TIMES * (now - begun))
            return self._found


def _slashed(slash: Slash) -> Slashed:
    return Slashed(slash.reason, slash.why, slash.slashed_wei, slash.at, slash.transaction)


def _listed(node: NodeStake, slashes: tuple[Slashed, ...]) -> Listed:
    return Listed(
        id=node.id,
        role=node.role.name.lower(),
        state=node.state(),
        owner=node.owner,
        key=node.key,
        own_wei=node.own_wei,
        votes_wei=max(0, node.effective_wei - node.own_wei),
        commission_bps=node.commission_bps,
        next_commission_bps=node.next_commission_bps,
        next_commission_at=node.next_commission_at,
        jailed_until=node.jailed_until,
        profile={name: node.profile[name] for name in _PROFILE_FIELDS if name in node.profile},
        slashes=slashes,
    )


def _prepared(step: Step, gas_limit: int) -> PreparedStep:
    """Write a call out for a wallet, and for the eyes of its owner."""
    call = step.call
    return PreparedStep(
        text=step.text,
        contract=call.artifact.name,
        to=call.address,
        function=call.function,
        arguments=tuple(_argument(value) for value in call.arguments),
        data=call.data(),
        gas_limit=gas_limit,
    )


def _argument(value: object) -> str:
    """Write an argument as people read it."""
    if isinstance(value, bytes):
        text = "0x" + value.hex()
    elif isinstance(value, str):
        text = value if value.startswith("0x") else json.dumps(value, ensure_ascii=False)
    elif isinstance(value, int) and value == ALL:
        text = "everything"
    elif isinstance(value, int) and value >= 10**9:
        text = f"{value} ({format_cai(value)})"
    else:
        text = str(value)
    return text if len(text) <= _MAX_ARGUMENT else text[:_MAX_ARGUMENT] + "…"


def _for_the_page(text: str) -> str:
    """Say what a plan says in the words of the page."""
    for command, words in _FOR_THE_PAGE:
        text = text.replace(command, words)
    return text
