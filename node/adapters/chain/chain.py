"""The Chain port: stake tables and beacons of the epochs around now, from one staking contract on any EVM chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import trio

from node.adapters.chain.answers import CallRefused, quantity, shown
from node.adapters.chain.asked_ahead import AskedAhead
from node.adapters.chain.disputes import DisputeReader
from node.adapters.chain.fees import GWEI
from node.adapters.chain.follower import Follower
from node.adapters.chain.gas_view import Call
from node.adapters.chain.outcomes import Outcomes
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.settlement import SettlementReader
from node.adapters.chain.slashing import ProofChecker, Questions
from node.adapters.chain.tables import has_passed
from node.adapters.chain.watch import NODE_COUNT, Watch
from node.ports import ChainStore, Clock, EventSink, Journal, Ready
from protocol.chain_records import Header
from protocol.crypto.keys import keccak256
from protocol.errors import ConfigError, Unavailable
from protocol.events import ActivityChanged, BlockSeen, StakeChanged
from protocol.justice.evidence import Evidence
from protocol.notes import NoteName
from protocol.params import Params
from protocol.stake.epoch import beacon_cutoff, epoch_at, table_cutoff
from protocol.units import CAI, Address, BlockNumber, Digest, Epoch, Role, StakingId, UnixMillis, Wei

MINIMUM_STAKE: Final = "0x" + keccak256(b"minimum_stake(uint8)")[:4].hex()
"""Call data of its `minimum_stake`, less the role."""
START_LIMIT_S: Final = 10.0
"""How long (s) a chain that does not answer is tried at start, before the person is told."""
START_RETRY_S: Final = 0.5
"""Pause (s) between two tries at start."""
PATIENCE: Final = 3
"""Steps in a row that may fail with one chain node: it answers, and its answers are of no use."""
MAX_BACK_OFF_S: Final = 30.0
"""Longest pause (s) between two tries during an outage."""
REBUILD_PAUSE_S: Final = 600.0
"""Pause (s) before everything is read anew once more because events were missing."""
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
    confirmations: int = 1
    """Blocks from its own on after which a block, and a transaction in it, counts: 1 for its own alone."""
    max_fee: Wei = Wei(500 * GWEI)
    """Most that one gas of our transactions may cost (wei of the chain's coin)."""
    bump_after_s: float = 60.0
    """How long (s) a transaction may wait to be mined before it pays more."""


@final
class StakingChain:
    """Follows the staking contract; see ``node.ports.Chain``."""

    def __init__(
        self,
        settings: ChainSettings,
        params: Params,
        clock: Clock,
        journal: Journal,
        store: ChainStore,
        gas_key: bytes | None = None,
        own: Address | None = None,
    ) -> None:
        """Only keep what is needed; ``run`` does the work.

        Args:
            settings: Which contract to follow, and through whom.
            params: The numbers of the network.
            clock: For epochs, and for how long a transaction has waited.
            journal: Where everything is noted.
            store: Keeps the place among the blocks and our transactions.
            gas_key: Secret (32 bytes) of the account that pays for transactions, never the node's key; without it
                each transaction fails by name.
            own: Address of the node's key: of the Settlement contract it is told what concerns it.
        """
        self._own = own
        self._settlement: SettlementReader | None = None
        self._disputes: DisputeReader | None = None
        self._told_of_disputes = False
        """Whether it was said that the contract knows of none."""
        self._store = store
        self._gas_key = gas_key
        self._outcomes = Outcomes(store, journal)
        self._questions = Questions()
        self._table_blocks: dict[Epoch, Header | None] = {}
        self._inactive: frozenset[StakingId] | None = None
        self._rebuilt_at = -REBUILD_PAUSE_S
        self._settings = settings
        self._params = params
        self._clock = clock
        self._journal = journal
        self._quiet_ms = params.epoch_s * 1000 // QUIET_EPOCH_SHARE
        self._next_epoch = Epoch(0)
        self._seen: Header | None = None
        self._stalled = False
        self._failures = 0

    async def run(self, sink: EventSink, *, task_status: Ready = trio.TASK_STATUS_IGNORED) -> None:
        """Post the epochs around now, then each next one as soon as it is fixed, and every new head.

        Raises:
            ConfigError: At start: no URL answers, one serves another chain, or no contract is at the address.
        """
        settings = self._settings
        async with JsonRpc(settings.rpc_urls, chain_id=settings.chain_id, report=self._note_endpoint) as rpc:
            await self._check_urls(rpc)
            registered = await self._check_contract(rpc)
            place, ahead = (settings.staking, settings.start_block), AskedAhead(rpc)
            follower = Follower(rpc, *place, self._store, settings.chain_id, ahead)
            watch = Watch(rpc, settings.staking)
            self._settlement = SettlementReader(rpc, *place, settings.chain_id, self._store, ahead)
            self._disputes = DisputeReader(rpc, settings.staking, ahead)
            ahead.foreseen = lambda blocks: self._foreseen(follower, blocks)
            pause = settings.poll_s
            pause = await self._try_step(rpc, follower, watch, sink, registered, pause)
            while not self._next_epoch:
                await trio.sleep(pause)
                pause = await self._try_step(rpc, follower, watch, sink, registered, pause)
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._transact, rpc, sink)
                checker = ProofChecker(rpc, settings.staking, self._own, self._journal)
                nursery.start_soon(checker.run, self._questions, sink)
                while True:
                    await trio.sleep(pause)
                    pause = await self._try_step(rpc, follower, watch, sink, 0, pause)

    def submit(self, key: str) -> None:
        """Take up the transaction of this key, whose request is in the store; tell its outcome if there is one."""
        self._outcomes.ask(key)

    def check(self, evidence: Evidence) -> None:
        """Find out whether evidence can be proven now; posts one ``EvidenceChecked`` once a chain node answers."""
        self._questions.add(evidence)

    async def _transact(self, rpc: JsonRpc, sink: EventSink) -> None:
        """Make transactions with the gas key, or fail them by name."""
        if self._gas_key is None:
            await self._outcomes.refuse_all(sink)
            return
        # Imported here: what signs costs half a second, and most nodes send nothing.
        from node.adapters.chain.gas_account import GasAccount
        from node.adapters.chain.transactor import GasPolicy, Transactor

        settings = self._settings
        policy = GasPolicy(
            confirmations=settings.confirmations,
            max_fee=settings.max_fee,
            bump_after_ms=int(settings.bump_after_s * 1000),
            poll_s=settings.poll_s,
        )
        transactor = Transactor(
            rpc,
            GasAccount(self._gas_key, settings.chain_id),
            settings.staking,
            store=self._store,
            outcomes=self._outcomes,
            clock=self._clock,
            journal=self._journal,
            policy=policy,
        )
        await transactor.run(sink)

    async def _try_step(
        self, rpc: JsonRpc, follower: Follower, watch: Watch, sink: EventSink, registered: int, pause: float
    ) -> float:
        """Make one step; gives the pause (s) until the next, the longer the longer nobody answers."""
        try:
            await self._step(rpc, follower, watch, sink, registered)
        except Unavailable as error:
            self._note_outage(error)
            self._failures += 1
            if self._failures % PATIENCE == 0:
                rpc.leave("useless")
            return min(MAX_BACK_OFF_S, pause * 2)
        self._stalled, self._failures = False, 0
        return self._settings.poll_s

    async def _step(self, rpc: JsonRpc, follower: Follower, watch: Watch, sink: EventSink, registered: int) -> None:
        """Read what is new, then tell it."""
        dropped = await follower.step()
        head = follower.head
        assert head is not None
        if self._seen is None and len(follower.history.table_at(head.number).rows) < registered:
            raise ConfigError(
                f"chain.start_block {self._settings.start_block} is later than the first registration: "
                "give the block in which the staking contract was deployed"
            )
        if follower.rebuilt is not None:
            self._journal.note(NoteName.CHAIN_REBUILT, reason=follower.rebuilt, blocks=dropped, head=head.number)
        elif dropped:
            self._journal.note(NoteName.CHAIN_REORGANISED, blocks=dropped, head=head.number)
        await self._post_activity(follower, head, sink)
        await self._post_epochs(rpc, follower, head, sink)
        if self._seen is None or self._seen.hash != head.hash:
            self._seen = head
            await sink.post(BlockSeen(head.number, head.timestamp))
        await self._post_settlement(follower, head, sink)
        await self._post_disputes(follower, head, sink)
        await watch.leave_if_behind()
        await self._check_events(rpc, follower, watch, head)

    async def _check_events(self, rpc: JsonRpc, follower: Follower, watch: Watch, head: Header) -> None:
        """Read everything anew, through another node if there is one, when events were left out."""
        if not (watch.is_due() and await watch.finds_events_missing(head, follower.history.table_at(head.number))):
            return
        rpc.leave("events_missing")
        if trio.current_time() >= self._rebuilt_at + REBUILD_PAUSE_S:
            self._rebuilt_at = trio.current_time()
            await self._rebuild(follower, "events_missing")

    async def _rebuild(self, follower: Follower, reason: str) -> None:
        """Read everything anew from the start block, and say so."""
        self._journal.note(
            NoteName.CHAIN_REBUILT, reason=reason, blocks=0, head=follower.head.number if follower.head else 0
        )
        await follower.rebuild()

    async def _post_activity(self, follower: Follower, head: Header, sink: EventSink) -> None:
        """Post who is inactive in the newest confirmed block, when that changes."""
        confirmed = BlockNumber(max(head.number - self._settings.confirmations + 1, follower.history.settled))
        inactive = follower.history.inactive_at(confirmed)
        if inactive != self._inactive:
            self._inactive = inactive
            await sink.post(ActivityChanged(inactive))

    async def _post_settlement(self, follower: Follower, head: Header, sink: EventSink) -> None:
        """Post what is new of escrows and payments in the newest confirmed block."""
        confirmed = BlockNumber(max(head.number - self._settings.confirmations + 1, self._settings.start_block))
        if self._own is None or self._settlement is None or self._settlement.is_done(confirmed):
            return
        table = follower.history.table_at(head.number)
        own = table.by_address.get(self._own)
        await self._settlement.step(own, table, confirmed, sink, follower.blocks(self._settlement.next, confirmed))

    def _foreseen(self, follower: Follower, blocks: Sequence[Header]) -> Sequence[Call]:
        """Say what is asked of the blocks that new ones confirm: events of each, disputes of the last."""
        confirmed = follower.hashes_below(blocks, self._settings.confirmations - 1)
        if self._own is None or self._settlement is None or self._disputes is None or not confirmed:
            return ()
        of_all = [call for block in confirmed for call in self._settlement.foreseen(block)]
        return (*of_all, *self._disputes.foreseen(confirmed[-1]))

    async def _post_disputes(self, follower: Follower, head: Header, sink: EventSink) -> None:
        """Post the disputes of the newest confirmed block in which this node has a part."""
        confirmed = BlockNumber(max(head.number - self._settings.confirmations + 1, self._settings.start_block))
        if self._own is not None and self._disputes is not None:
            own = follower.history.table_at(head.number).by_address.get(self._own)
            await self._disputes.step(own, confirmed, sink, follower.block(confirmed))
            if self._disputes.is_unknown and not self._told_of_disputes:
                self._told_of_disputes = True
                self._journal.note(NoteName.DISPUTE_WAITS, reason="no_disputes_here")

    async def signing_ids(self, keys: tuple[Address, ...]) -> tuple[StakingId | None, ...]:
        """Say for which nodes signatures of these keys count now; see ``node.disputes.ports.DisputeChain``."""
        return await self._asked_of_disputes().signing_ids(keys)

    async def shown_to(self, dispute: int, reporter: StakingId, juror: StakingId) -> Digest | None:
        """Give the digest of what a juror may see; see ``node.disputes.ports.DisputeChain``."""
        return await self._asked_of_disputes().shown_to(dispute, reporter, juror)

    def _asked_of_disputes(self) -> DisputeReader:
        if self._disputes is None:
            raise Unavailable("the chain is not followed yet")
        return self._disputes

    async def _post_epochs(self, rpc: JsonRpc, follower: Follower, head: Header, sink: EventSink) -> None:
        """Post every epoch up to the next that is fixed and was not posted; those long past are skipped."""
        now = self._clock.now()
        current = epoch_at(now, self._params)
        for number in range(max(self._next_epoch, current - 1, 1), current + 2):
            epoch = Epoch(number)
            if not await self._is_fixed(rpc, beacon_cutoff(epoch, self._params), head, now):
                break
            table_block = await follower.last_before(table_cutoff(epoch, self._params))
            beacon_block = await follower.last_before(beacon_cutoff(epoch, self._params))
            if table_block is not None and table_block.number < follower.history.settled:
                # Our clock was ahead in an earlier run, which gave up what is asked for now.
                await self._rebuild(follower, "clock_went_back")
            await sink.post(StakeChanged(follower.history.view(epoch, table_block, beacon_block)))
            self._next_epoch = Epoch(epoch + 1)
            self._table_blocks[epoch] = table_block
        # A restart in this epoch begins with the table of the one before: what is older is given up.
        for epoch in [known for known in self._table_blocks if known < current]:
            block = self._table_blocks[epoch] if epoch == current - 1 else None
            if epoch < current - 1:
                del self._table_blocks[epoch]
            if block is not None:
                await follower.settle(block)

    async def _is_fixed(self, rpc: JsonRpc, cutoff: UnixMillis, head: Header, now: UnixMillis) -> bool:
        """Say whether no block can come any more that the epoch of this cutoff depends on."""
        if head.timestamp >= cutoff:
            return True
        if not has_passed(cutoff, head=head.timestamp, now=now, quiet_ms=self._quiet_ms):
            return False
        # A node that is still catching up looks like a quiet chain, and its tables would be of the past.
        return await rpc.call("eth_syncing") is False

    async def _check_urls(self, rpc: JsonRpc) -> None:
        """Make sure that one URL answers for our chain; while it is down, none that serves another will do."""
        expected = self._settings.chain_id
        with trio.move_on_after(START_LIMIT_S):
            while True:
                answers = await rpc.probe()
                if expected in answers.values():
                    return  # those of another chain, if any, are noted and left out
                for url, answer in answers.items():
                    if isinstance(answer, int):
                        raise ConfigError(
                            f"chain.chain_id is {expected}, but {shown(url)} serves chain {answer}: "
                            "correct chain.chain_id or chain.rpc_urls"
                        )
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

    def _note_endpoint(self, url: str, trouble: str) -> None:
        """Note a chain node that is left for another, once for each spell of trouble."""
        self._journal.note(NoteName.CHAIN_ENDPOINT_LEFT, url=url, reason=trouble)

    def _note_outage(self, error: Unavailable) -> None:
        """Note an outage once, when it begins."""
        if not self._stalled:
            self._stalled = True
            self._journal.note(NoteName.CHAIN_STALLED, reason=str(error)[:200])
