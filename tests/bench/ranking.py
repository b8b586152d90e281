"""What it costs to work out who may claim an offer, and when."""

import hashlib
import time
from statistics import median

from protocol.stake.field import Field
from protocol.stake.lottery import order
from protocol.stake.table import StakeRow, StakeTable
from protocol.units import CAI, Address, Digest, Role, StakingId
from tests.support.networks import network_params

REPEATS = 15


def ranking_ms(miners: int) -> float:
    """Give the time (ms, median) in which one process ranks so many miners that are all in the field and warm."""
    rows = tuple(
        StakeRow(
            id=StakingId(number),
            address=Address(hashlib.sha256(b"%d" % number).digest()[:20]),
            role=Role.MINER,
            stake=(20_000 + number) * CAI,
            active=True,
        )
        for number in range(1, miners + 1)
    )
    table = StakeTable(rows)
    everybody = {row.id for row in rows}
    field, params = Field.of(table.miners, everybody, everybody), network_params()
    spans = []
    for number in range(REPEATS):
        ticket = Digest(hashlib.sha256(b"ticket %d" % number).digest())
        begun = time.perf_counter()
        order(table.miners, field, ticket, params)
        spans.append(time.perf_counter() - begun)
    return 1000 * median(spans)
