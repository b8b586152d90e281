"""Asks a network's chain whether those who signed for an award are registered, and repeats the draw of its winner.

For an app that seals an order: it gives the key to whoever is drawn by stake, and to nobody who is made up.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import final

import trio

from node.network_file import NetworkFile
from node.ports import Clock
from protocol.crypto.keys import address_of_peer_id
from protocol.crypto.typed_data import Domain, signer
from protocol.errors import InvalidMessage, Unavailable
from protocol.params import Params
from protocol.roles.app.order_seal import KnownNetwork
from protocol.stake.epoch import acceptable_epochs, beacon_cutoff, table_cutoff
from protocol.stake.field import Field
from protocol.stake.lottery import order, ticket
from protocol.stake.table import EpochView
from protocol.units import Address, Epoch, PeerId, Role, StakingId
from protocol.wire.sealed_messages import ShownAward


@asynccontextmanager
async def awards_of_chain(network: NetworkFile, params: Params) -> AsyncGenerator["ChainAwards"]:
    """Read the stake tables of a network's chain, and be able to ask about awards.

    Raises:
        Unavailable: No chain node answers.
        ConfigError: A chain node serves another chain.
    """
    from node.adapters.chain.follower import Follower  # imported here: most orders need no chain
    from node.adapters.chain.rpc import JsonRpc
    from node.adapters.system import SystemClock

    chain = network.chain
    async with JsonRpc(chain.rpc_urls, chain_id=chain.chain_id) as rpc:
        follower = Follower(rpc, network.staking_address, network.contracts.start_block)
        await follower.step()
        turn = trio.Lock()

        async def view(epoch: Epoch) -> EpochView:
            async with turn:
                await follower.step()
                head = follower.head
                if head is None or head.timestamp < beacon_cutoff(epoch, params):
                    raise Unavailable(f"the chain node is behind: it does not know the table of epoch {epoch} yet")
                table_block = await follower.last_before(table_cutoff(epoch, params))
                beacon_block = await follower.last_before(beacon_cutoff(epoch, params))
                return follower.history.view(epoch, table_block, beacon_block)

        yield ChainAwards(view, Domain(chain.chain_id, network.staking_address), params, SystemClock())


@final
class ChainAwards:
    """Implements ``node.apps.app_client.AwardChecker``."""

    def __init__(
        self, view: Callable[[Epoch], Awaitable[EpochView]], domain: Domain, params: Params, clock: Clock
    ) -> None:
        """Ask ``view`` for the table and beacon of an epoch, as the chain has them."""
        self._view = view
        self._domain = domain
        self._params = params
        self._clock = clock

    @property
    def known(self) -> KnownNetwork:
        """Of which network awards must be."""
        return KnownNetwork(self._params.network_id(self._domain.chain_id, self._domain.contract), self._domain)

    async def check(self, coordinator: PeerId, shown: ShownAward) -> str:
        """Say where the winner of an award was drawn.

        Raises:
            InvalidMessage: ``award.epoch``, ``award.table``, ``award.unregistered``: it is of no epoch that holds, of
                another table than the chain's, or one of the two is not active in it with that key.
            Unavailable: The chain does not answer, or is behind.
        """
        if shown.epoch not in acceptable_epochs(self._clock.now(), self._params):
            raise InvalidMessage("award.epoch", f"it is drawn from epoch {shown.epoch}, which does not hold now")
        view = await self._view(shown.epoch)
        if shown.root != view.table.root:
            raise InvalidMessage("award.table", f"it is of another table than the chain has for epoch {shown.epoch}")
        miner = signer(self._domain, shown.claim, shown.claim_signature)
        _check_active(view, shown.award.coordinator, Role.COORDINATOR, address_of_peer_id(coordinator))
        _check_active(view, shown.award.miner, Role.MINER, miner)
        return self._drawn(shown, view)

    def _drawn(self, shown: ShownAward, view: EpochView) -> str:
        """Repeat the draw. A place behind the first is no fault: those before may have been busy."""
        offer = shown.offer
        place = (offer.accepted_epoch, offer.boot, offer.number)
        drawn = ticket(shown.network, view.beacon, shown.award.coordinator, *place)
        field = Field.from_bytes(shown.field, len(view.table.miners))
        ranking = order(view.table.miners, field, drawn, self._params)
        who = f"both are registered in epoch {shown.epoch}"
        if shown.award.miner not in ranking:
            return f"{who}; the miner was not among the {len(ranking)} that were drawn"
        return f"{who}; the miner was drawn number {ranking.index(shown.award.miner) + 1} of {len(ranking)}"


def _check_active(view: EpochView, node: StakingId, role: Role, key: Address) -> None:
    row = view.table.by_id.get(node)
    if row is None or row.role is not role or not row.active or row.address != key:
        who = role.name.lower()
        raise InvalidMessage("award.unregistered", f"{who} {node} is not active with the key that signed")
