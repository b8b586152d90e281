"""Reads a TOML file that a person names: settings, a network's numbers, a model catalog."""

import tomllib
from pathlib import Path
from typing import Any, Final

from node.given_file import read_given_file
from protocol.errors import ConfigError

MAX_FILE_BYTES: Final = 1024 * 1024
"""Largest file (bytes), some thousand models of a catalog; a larger one is some other file, named by mistake."""


def read_toml(path: Path) -> dict[str, Any]:  # Any: TOML holds anything until it is validated
    """Read a file into plain values.

    Raises:
        ConfigError: It cannot be read, is too large, or is no TOML; the text begins with its path.
    """
    data = read_given_file(path, MAX_FILE_BYTES, "settings file or catalog")
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are both
        raise ConfigError(f"{path}: not valid TOML: {str(error).splitlines()[0]}") from None
