"""The Chain port: stake tables and beacons of the epochs around now, from one staking contract on any EVM chain."""

from dataclasses import dataclass
from typing import Final, final

import trio

from node.adapters.chain.follower import Follower, Header
from node.adapters.chain.rpc import CallRefused, JsonRpc, quantity, shown
from node.adapters.chain.tables import has_passed
from node.ports import Clock, EventSink, Journal, Ready
from protocol.crypto.keys import keccak256
from protocol.errors import ConfigError, Unavailable
from protocol.events import BlockSeen, StakeChanged
from protocol.notes import NoteName
from protocol.params import Params
from protocol.stake.epoch import beacon, beacon_cutoff, epoch_at, table_cutoff
from protocol.stake.table import EpochView, StakeTable
from protocol.units import CAI, Address, Epoch, Role, UnixMillis

NODE_COUNT: Final = "0x" + keccak256(b"node_count()")[:4].hex()
"""Call data of the staking contract's `node_count`."""
MINIMUM_STAKE: Final = "0x" + keccak256(b"minimum_stake(uint8)")[:4].hex()
"""Call data of its `minimum_stake`, less the role."""
START_LIMIT_S: Final = 10.0
"""How long (s) a chain that does not answer is tried at start, before the person is told."""
START_RETRY_S: Final = 0.5
"""Pause (s) between two tries at start."""
MAX_BACK_OFF_S: Final = 30.0
"""Longest pause (s) between two tries during an outage."""
QUIET_EPOCH_SHARE: Final = 8
"""A chain is quiet when 1/8 of an epoch has gone by without a block: one may be made before a cutoff and reach us
after it. The share is the same for every node, so that all fix the same table; half an epoch is to spare.
SPEC.md §6.2"""


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """Which contract to follow, and through whom."""

    rpc_urls: tuple[str, ...]
    """In order of preference; the next is tried when one fails."""
    chain_id: int
    staking: Address
    start_block: int
    """Block of the contract's deployment: no event is older."""
    poll_s: float = 1.0
    """How often the head is asked for (s)."""


@final
class StakingChain:
    """Follows the staking contract; see ``node.ports.Chain``."""

    def __init__(self, settings: ChainSettings, params: Params, clock: Clock, journal: Journal) -> None:
        """Only keep what is needed; ``run`` does the work."""
        self._settings = settings
        self._params = params
        self._clock = clock
        self._journal = journal
        self._quiet_ms = params.epoch_s * 1000 // QUIET_EPOCH_SHARE
        self._next_epoch = Epoch(0)
        self._seen: Header | None = None
        self._stalled = False

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        """Post the epochs around now, then each next one as soon as it is fixed, and every new head.

        Raises:
            ConfigError: At start: no URL answers, one serves another chain, or no contract is at the address.
        """
        settings = self._settings
        async with JsonRpc(settings.rpc_urls, chain_id=settings.chain_id) as rpc:
            await self._check_urls(rpc)
            registered = await self._check_contract(rpc)
            follower = Follower(rpc, settings.staking, settings.start_block)
            pause, started = settings.poll_s, False
            while True:
                try:
                    await self._step(rpc, follower, sink, registered)
                except Unavailable as error:
                    self._note_outage(error)
                    pause = min(MAX_BACK_OFF_S, pause * 2)
                else:
                    self._stalled, pause = False, settings.poll_s
                    if not started and self._next_epoch:
                        started = True
                        task_status.started()
                await trio.sleep(pause)

    async def _step(self, rpc: JsonRpc, follower: Follower, sink: EventSink, registered: int) -> None:
        """Read what is new, then tell it."""
        dropped = await follower.step()
        head = follower.head
        assert head is not None
        if self._seen is None and len(follower.history.table_at(head.number).rows) < registered:
            raise ConfigError(
                f"chain.start_block {self._settings.start_block} is later than the first registration: "
                "give the block in which the staking contract was deployed"
            )
        if dropped:
            self._journal.note(NoteName.CHAIN_REORGANISED, blocks=dropped, head=head.number)
        await self._post_epochs(rpc, follower, head, sink)
        if self._seen is None or self._seen.hash != head.hash:
            self._seen = head
            await sink.post(BlockSeen(head.number, head.timestamp))

    async def _post_epochs(self, rpc: JsonRpc, follower: Follower, head: Header, sink: EventSink) -> None:
        """Post every epoch up to the next that is fixed and was not posted; those long past are skipped."""
        now = self._clock.now()
        current = epoch_at(now, self._params)
        for number in range(max(self._next_epoch, current - 1, 1), current + 2):
            epoch = Epoch(number)
            if not await self._is_fixed(rpc, beacon_cutoff(epoch, self._params), head, now):
                return
            table_block = await follower.last_before(table_cutoff(epoch, self._params))
            beacon_block = await follower.last_before(beacon_cutoff(epoch, self._params))
            # Before the first block there is no table and nothing to draw from: an empty table, a beacon of zeros.
            table = StakeTable(()) if table_block is None else follower.history.table_at(table_block.number)
            drawn = beacon(beacon_block.hash if beacon_block else bytes(32), epoch)
            await sink.post(StakeChanged(EpochView(epoch, table, drawn)))
            self._next_epoch = Epoch(epoch + 1)
            if table_block is not None:
                follower.settle(table_block)

    async def _is_fixed(self, rpc: JsonRpc, cutoff: UnixMillis, head: Header, now: UnixMillis) -> bool:
        """Say whether no block can come any more that the epoch of this cutoff depends on."""
        if head.timestamp >= cutoff:
            return True
        if not has_passed(cutoff, head=head.timestamp, now=now, quiet_ms=self._quiet_ms):
            return False
        # A node that is still catching up looks like a quiet chain, and its tables would be of the past.
        return await rpc.call("eth_syncing") is False

    async def _check_urls(self, rpc: JsonRpc) -> None:
        """Make sure that one URL answers and that none serves another chain."""
        expected = self._settings.chain_id
        with trio.move_on_after(START_LIMIT_S):
            while True:
                answers = await rpc.probe()
                for url, answer in answers.items():
                    if isinstance(answer, int) and answer != expected:
                        raise ConfigError(
                            f"chain.chain_id is {expected}, but {shown(url)} serves chain {answer}: "
                            "correct chain.chain_id or chain.rpc_urls"
                        )
                if any(isinstance(answer, int) for answer in answers.values()):
                    return
                await trio.sleep(START_RETRY_S)
        urls = ", ".join(shown(url) for url in rpc.urls)
        raise ConfigError(
            f"chain.rpc_urls: no answer from {urls} in {START_LIMIT_S:.0f} s: start the chain node or correct the URL"
        )

    async def _check_contract(self, rpc: JsonRpc) -> int:
        """Make sure that the staking contract is at the address; gives how many nodes are registered."""
        address = "0x" + self._settings.staking.hex()
        try:
            code = await rpc.call("eth_getCode", address, "latest")
            if not isinstance(code, str) or code in {"", "0x"}:
                raise ConfigError(
                    f"chain.staking: no contract at {address} on chain {self._settings.chain_id}: "
                    "correct the address, or deploy the contracts first"
                )
            height = quantity(await rpc.call("eth_blockNumber"))
            if self._settings.start_block > height:
                raise ConfigError(
                    f"chain.start_block is {self._settings.start_block}, but the chain is at block {height}: "
                    "correct it, or wait until the chain node has caught up"
                )
            registered = await self._read_number(rpc, address, NODE_COUNT)
            await self._check_minimum(rpc, address, Role.MINER, "miner_minimum_cai", self._params.miner_minimum_cai)
            minimum = self._params.coordinator_minimum_cai
            await self._check_minimum(rpc, address, Role.COORDINATOR, "coordinator_minimum_cai", minimum)
            return registered
        except Unavailable as error:
            raise ConfigError(f"chain.rpc_urls: {error}") from error

    async def _check_minimum(self, rpc: JsonRpc, address: str, role: Role, name: str, cai: int) -> None:
        """Make sure that contract and network mean the same by a registered node."""
        minimum = await self._read_number(rpc, address, MINIMUM_STAKE + role.to_bytes(32, "big").hex())
        if minimum != cai * CAI:
            raise ConfigError(
                f"params: {name} is {cai}, but the staking contract at {address} asks for {minimum / CAI:g}: "
                "name the parameters of this contract's network"
            )

    async def _read_number(self, rpc: JsonRpc, address: str, data: str) -> int:
        """Call a view of the staking contract that gives one number."""
        try:
            answer = await rpc.call("eth_call", {"to": address, "data": data}, "latest")
        except CallRefused:
            answer = None
        if not isinstance(answer, str) or len(answer) != len("0x") + 64:
            raise ConfigError(f"chain.staking: the contract at {address} is no staking contract: correct the address")
        return quantity(answer)

    def _note_outage(self, error: Unavailable) -> None:
        """Note an outage once, when it begins."""
        if not self._stalled:
            self._stalled = True
            self._journal.note(NoteName.CHAIN_STALLED, reason=str(error)[:200])
