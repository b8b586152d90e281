"""Reads the model catalog from the installed package, and what a node adds to it from a file of its own."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from node.config.toml_file import read_toml
from protocol.errors import ConfigError
from protocol.task.catalog import Catalog

_TABLES: Final = ("aliases", "models")


def load_catalog(extra: Path | None = None) -> Catalog:
    """Give the catalog of this node.

    Args:
        extra: A TOML file of the same form as ``configs/models.toml``, every part optional. Its models and aliases
            are added and win by name; of a model that ours has too, the keys that it gives win, so that a digest
            alone pins one. Its ``default`` replaces ours.

    Raises:
        ConfigError: A file cannot be read, or an entry is wrong; the text names the file and the key.
    """
    packaged = Path(str(files("configs"))) / "models.toml"
    merged = read_toml(packaged)
    origin = packaged
    if extra is not None:
        origin = extra
        added = read_toml(extra)
        for table in _TABLES:
            merged[table] = _joined(merged.get(table, {}), _table(extra, added, table))
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


def _joined(ours: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:  # Any: as in ``_table``
    """Add entries; one that both have keeps of ours what the other does not say."""
    both = {
        key: {**ours[key], **value}
        for key, value in added.items()
        if isinstance(value, dict) and isinstance(ours.get(key), dict)
    }
    return {**ours, **added, **both}


def _table(
    path: Path, values: dict[str, Any], key: str
) -> dict[str, Any]:  # Any: TOML holds anything until it is validated
    """Give a table of the file, empty when it has none."""
    table = values.get(key, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {key}: must be a table, [{key}.…]")
    return table
