"""What tables and records say of a receipt's parties: were they registered then, and how was the task drawn?

Online from the network's chain, offline from a record of gossip, which holds the tables of its epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.network_file import NetworkFile, read_network
from protocol.audit.receipts import Drawn, Registered, draw_of, registered_at, views_in
from protocol.audit.record import RecordHead
from protocol.crypto.typed_data import Domain
from protocol.errors import ConfigError, InvalidMessage
from protocol.params import Params
from protocol.stake.epoch import acceptable_epochs, epoch_at
from protocol.stake.table import EpochView
from protocol.units import Epoch
from protocol.wire.statements import ReceiptStatement


@dataclass(frozen=True, slots=True)
class ReceiptStanding:
    """What could be found out."""

    domain: Domain
    """Chain and contract for which the signatures must hold."""
    registered: Registered | None
    drawn: Drawn | None
    problem: str | None
    """Why the receipt cannot be believed."""

    def lines(self) -> list[str]:
        """Say it to a person, after who signed it."""
        found = []
        if self.registered is not None:
            found.append(f"in whose epoch {self.registered.epoch} coordinator and miner were registered")
        if self.drawn is not None and self.drawn.rank is not None:
            found.append(f"the miner was drawn number {self.drawn.rank + 1} of {self.drawn.candidates}")
        elif self.drawn is not None:
            found.append(f"the miner was not among the {self.drawn.candidates} that were drawn: none of them took it")
        return found


def standing_of(statement: ReceiptStatement, network: Path | None, records: Sequence[Path]) -> ReceiptStanding:
    """Look a receipt's parties up.

    Args:
        statement: What the receipt says.
        network: The network's file: tables and beacons come from its chain. None: from the records.
        records: A record of gossip in one or several files, for the draw.

    Raises:
        ConfigError: A file is wrong, or they are of different networks.
        Unavailable: The chain does not answer.
    """
    from node.record_file import RecordFiles  # imported here: few receipts are checked against a record

    files = RecordFiles(records) if records else None
    head = files.head if files is not None else None
    entries = list(files.entries()) if files is not None else []
    if network is not None:
        described, params = _described(network)
        found = RecordHead(params, described.chain.chain_id, described.staking_address)
        if head is not None and head != found:
            raise ConfigError(f"--network: the record is not of the network that {network} describes")
        head = found
        epochs = {Epoch(epoch) for epoch in acceptable_epochs(statement.accepted, params)}
        views = _views_of_chain(described, params, epochs | set(views_in(entries)))
    else:
        if head is None:
            raise ConfigError("--record: name the record of a node, or the network's file with --network")
        views = views_in(entries)
    stood = registered_at(statement, views, head.params)
    if stood is None and network is None:
        epoch = epoch_at(statement.accepted, head.params)
        raise ConfigError(f"--record: it has no table of epoch {epoch}, in which the receipt was signed: use --network")
    registered, problem = (stood, None) if not isinstance(stood, InvalidMessage) else (None, str(stood))
    return ReceiptStanding(head.domain, registered, draw_of(statement, head, entries, views), problem)


def _described(network: Path) -> tuple[NetworkFile, Params]:
    from node.config.configuration import load_params

    described = read_network(network)
    return described, load_params(described.params, network.absolute().parent)


def _views_of_chain(network: NetworkFile, params: Params, epochs: set[Epoch]) -> dict[Epoch, EpochView]:
    import trio

    from node.chain_views import views_of_chain

    return trio.run(views_of_chain, network, params, epochs)
