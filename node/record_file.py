"""Reads records of gossip: what ``node.recording`` wrote, or what somebody says that it did.

Nothing in a file is trusted but its form, and a file that has another form is refused by line.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, final

from pydantic import ValidationError

from node.recording import VERSION
from protocol.audit.record import Entry, Heard, InactiveSeen, RecordHead, ViewSeen
from protocol.crypto.publication import Publication
from protocol.errors import ConfigError
from protocol.params import MAX_MESSAGE_BYTES, Params
from protocol.stake.table import EpochView, StakeRow, StakeTable
from protocol.units import Address, Digest, Epoch, PeerId, Role, StakingId, UnixMillis, Wei
from protocol.wire.fields import UINT32_MAX, UINT64_MAX

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""Longest line (bytes): a table of 10,000 nodes has one."""
MAX_LINES: Final = 1_000_000
"""Lines of all files together: a day of a dozen messages a second. An audit holds them all in memory: about 2 kB each,
and for each offer 5 kB and 8 bytes for each miner in its order, which is 13 kB where 1,000 may claim."""
MAX_ROWS: Final = 20_000
_NOT_OURS: Final = (KeyError, TypeError, ValueError, OverflowError, RecursionError, binascii.Error, AttributeError)
"""What a line of another form makes Python say."""


@final
class RecordFiles:
    """One record in one or several files of the same network."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the heads.

        Raises:
            ConfigError: One is no record, or they are of different networks.
        """
        heads = [_read_head(path) for path in paths]
        for path, head in zip(paths, heads, strict=True):
            if head.network_id != heads[0].network_id:
                raise ConfigError(f"{path}: of another network than {paths[0]}: audit each network by itself")
        self._paths = paths
        self.head: Final = heads[0]
        self.left_out = False
        """Whether ``entries`` ended before the last line."""

    def entries(self, *, only_what_fits: bool = False) -> Iterator[Entry]:
        """Give everything behind the heads, file after file.

        Args:
            only_what_fits: End after MAX_LINES, and say so in ``left_out``, instead of refusing more.

        Raises:
            ConfigError: A line has another form, which is named, or there are too many.
        """
        count = 0
        for path in self._paths:
            tables: dict[bytes, StakeTable] = {}
            for number, line in _lines(path):
                if number == 1:
                    continue
                count += 1
                if count > MAX_LINES and only_what_fits:
                    self.left_out = True
                    return
                if count > MAX_LINES:
                    raise ConfigError(f"{path}: more than {MAX_LINES:,} lines in all: audit fewer files at once")
                try:
                    yield _entry(line, tables)
                except _NOT_OURS:
                    raise ConfigError(f"{path}: line {number} is damaged: no line of a record") from None


def _lines(path: Path) -> Iterator[tuple[int, Any]]:  # Any: what JSON holds
    """Give the lines with their numbers; one that was cut off at the end, by a crash, is left out."""
    try:
        with path.open("rb") as file:
            number = 0
            while data := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(data) > MAX_LINE_BYTES:
                    raise ConfigError(f"{path}: line {number} is longer than any of a record")
                try:
                    line = json.loads(data)
                except (ValueError, RecursionError):
                    if not data.endswith(b"\n") and number > 1:
                        return
                    raise ConfigError(f"{path}: line {number} is not JSON, which a record of gossip is") from None
                yield number, line
            if number == 0:
                raise ConfigError(f"{path}: empty: no record of gossip")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file: a node writes one with cuckoo node --record FILE") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _read_head(path: Path) -> RecordHead:
    """Read of which network a file is."""
    _, line = next(_lines(path))
    version = line.get("cuckoo_record") if isinstance(line, dict) else None
    if type(version) is not int:
        raise ConfigError(f"{path}: no record of gossip: a node writes one with cuckoo node --record FILE")
    if version > VERSION:
        raise ConfigError(f"{path}: a record of version {version}; this program reads up to {VERSION}: use a newer one")
    try:
        params = Params.model_validate_json(json.dumps(line["params"]))
        contract = bytes.fromhex(line["staking"].removeprefix("0x"))
        if len(contract) != 20:
            raise ValueError("an address has 20 bytes")
        return RecordHead(params, _number(line["chain_id"], UINT64_MAX), Address(contract))
    except (ValidationError, *_NOT_OURS):
        raise ConfigError(f"{path}: its first line does not describe a network") from None


def _entry(line: Any, tables: dict[bytes, StakeTable]) -> Entry:  # noqa: ANN401 what JSON holds
    """Read one line.

    Raises:
        KeyError, TypeError, ValueError: It has another form.
    """
    if "data" in line:
        publication = Publication(
            publisher=PeerId(_text(line["from"])),
            sequence=_number(line["seq"], UINT64_MAX),
            topic=_text(line["topic"]),
            data=_bytes(line["data"]),
            signature=_bytes(line["sig"]),
        )
        return Heard(UnixMillis(_number(line["at"], 2**53)), publication)
    if "epoch" in line:
        return _view(line, tables)
    nodes = frozenset(StakingId(_number(node, UINT64_MAX)) for node in line["inactive"])
    return InactiveSeen(UnixMillis(_number(line["at"], 2**53)), nodes)


def _view(line: Any, tables: dict[bytes, StakeTable]) -> ViewSeen:  # noqa: ANN401 what JSON holds
    root, beacon = bytes.fromhex(line["root"]), bytes.fromhex(line["beacon"])
    if len(root) != 32 or len(beacon) != 32:
        raise ValueError("a root and a beacon have 32 bytes")
    if "rows" in line:
        if len(line["rows"]) > MAX_ROWS:
            raise ValueError("no table is so long")
        tables[root] = StakeTable.of(_row(row) for row in line["rows"])
    return ViewSeen(EpochView(Epoch(_number(line["epoch"], UINT32_MAX)), tables[root], Digest(beacon)), Digest(root))


def _row(row: Any) -> StakeRow:  # noqa: ANN401 what JSON holds
    identity, address, role, stake, active = row
    key = bytes.fromhex(address)
    if len(key) != 20 or not isinstance(active, bool):
        raise ValueError("an address has 20 bytes; a node is active or not")
    amount = int(_text(stake))
    if not 0 <= amount < 2**256:
        raise ValueError("an amount is below 2^256")
    return StakeRow(StakingId(_number(identity, UINT64_MAX)), Address(key), Role(role), Wei(amount), active)


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("not a number within its bounds")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 512:
        raise ValueError("not a short text")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * MAX_MESSAGE_BYTES:
        raise ValueError("not a short text")
    return base64.b64decode(value, validate=True)
