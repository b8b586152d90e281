"""Reads the model catalog from the installed package, and what a node adds to it from a file of its own."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from protocol.errors import ConfigError
from protocol.task.catalog import Catalog

MAX_CATALOG_BYTES: Final = 1024 * 1024
"""Largest catalog file (bytes): some thousand models. A larger file is a mistaken path."""

_TABLES: Final = ("aliases", "models")


def load_catalog(extra: Path | None = None) -> Catalog:
    """Give the catalog of this node.

    Args:
        extra: A TOML file of the same form as ``configs/models.toml``, every part optional. Its models and aliases
            are added and win by name, its ``default`` replaces ours.

    Raises:
        ConfigError: A file cannot be read, or an entry is wrong; the text names the file and the key.
    """
    packaged = Path(str(files("configs"))) / "models.toml"
    merged = _read(packaged)
    origin = packaged
    if extra is not None:
        origin = extra
        added = _read(extra)
        for table in _TABLES:
            merged[table] = {**merged.get(table, {}), **_table(extra, added, table)}
        merged.update({key: value for key, value in added.items() if key not in _TABLES})
    try:
        # Through JSON, because strict validation takes a list for a tuple there and nowhere else.
        return Catalog.model_validate_json(json.dumps(merged))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{origin}: {key}: {reason}" if key else f"{origin}: {reason}") from None
    except TypeError as error:
        raise ConfigError(f"{origin}: dates and times have no place in a model catalog ({error})") from None


def _read(path: Path) -> dict[str, Any]:  # Any: TOML holds anything until it is validated
    """Read a TOML file into plain values."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the model catalog: {error.strerror}") from None
    if len(data) > MAX_CATALOG_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_CATALOG_BYTES} bytes, so this is no model catalog")
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are both
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _table(path: Path, values: dict[str, Any], key: str) -> dict[str, Any]:  # Any: as in _read
    """Give a table of the file, empty when it has none."""
    table = values.get(key, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {key}: must be a table, [{key}.…]")
    return table
