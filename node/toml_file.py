"""Reads a TOML file that a person names: settings, a network's numbers, a model catalog."""

import tomllib
from pathlib import Path
from typing import Any, Final

from protocol.errors import ConfigError

MAX_FILE_BYTES: Final = 1024 * 1024
"""Largest file (bytes), some thousand models of a catalog; a larger one is some other file, named by mistake."""


def read_toml(path: Path) -> dict[str, Any]:  # Any: TOML holds anything until it is validated
    """Read a file into plain values.

    Raises:
        ConfigError: It cannot be read, is too large, or is no TOML; the text begins with its path.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes, which no settings file or catalog is")
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are both
        raise ConfigError(f"{path}: not valid TOML: {str(error).splitlines()[0]}") from None
