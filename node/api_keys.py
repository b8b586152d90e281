"""API keys of a coordinator, one a line in a file. Only their hashes are kept in memory."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from protocol.errors import ConfigError

MIN_KEY_CHARACTERS: Final = 16
"""Shorter keys can be guessed over the network."""


def read_api_keys(path: Path | None) -> Mapping[str, str]:
    """Read ``key [label]`` lines, ``#`` beginning a comment, into SHA-256 (hex) of the key -> label.

    Raises:
        ConfigError: the file cannot be read, or a key is too short.
    """
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"http.keys_file: {path} cannot be read: {error}") from error
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, _, label = line.partition("#")[0].strip().partition(" ")
        if not key:
            continue
        if len(key) < MIN_KEY_CHARACTERS:
            raise ConfigError(
                f"http.keys_file: {path} line {number}: a key has at least {MIN_KEY_CHARACTERS} characters"
            )
        keys[hashlib.sha256(key.encode()).hexdigest()] = label.strip() or f"line {number}"
    return keys
