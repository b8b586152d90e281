"""Tables and beacons of past epochs, read again from the chain: nobody's record of them needs to be believed."""

from collections.abc import Iterable

from node.network_file import NetworkFile
from protocol.params import Params
from protocol.stake.epoch import beacon_cutoff, table_cutoff
from protocol.stake.table import EpochView
from protocol.units import Epoch


async def views_of_chain(network: NetworkFile, params: Params, epochs: Iterable[Epoch]) -> dict[Epoch, EpochView]:
    """Give what these epochs are drawn from, as the network's chain nodes tell it now.

    Reads every event of the staking contract from its first block, and finds the blocks of each epoch by time. Epochs
    whose beacon is not fixed yet by the chain's own time are left out.

    Raises:
        Unavailable: No chain node answers, or the chain was re-organised while it was read.
        ConfigError: A chain node serves another chain.
    """
    from node.adapters.chain.follower import Follower  # imported here: most commands need no chain
    from node.adapters.chain.rpc import JsonRpc

    views = {}
    chain = network.chain
    async with JsonRpc(chain.rpc_urls, chain_id=chain.chain_id) as rpc:
        follower = Follower(rpc, network.staking_address, network.contracts.start_block)
        await follower.step()
        for epoch in sorted(set(epochs)):
            head = follower.head
            if epoch < 1 or head is None or head.timestamp < beacon_cutoff(epoch, params):
                continue
            table_block = await follower.last_before(table_cutoff(epoch, params))
            beacon_block = await follower.last_before(beacon_cutoff(epoch, params))
            views[epoch] = follower.history.view(epoch, table_block, beacon_block)
    return views
