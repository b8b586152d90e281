"""API keys of a coordinator, one a line in a file. Only their hashes are kept in memory."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from node.given_file import read_given_file
from protocol.errors import ConfigError

MIN_KEY_CHARACTERS: Final = 16
"""Shorter keys can be guessed over the network."""
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Largest file (bytes), some ten thousand keys."""


def read_api_keys(path: Path | None) -> Mapping[str, str]:
    """Read ``key [label]`` lines, ``#`` beginning a comment, into SHA-256 (hex) of the key -> label.

    Raises:
        ConfigError: the file cannot be read or is too large, or a key is too short.
    """
    if path is None:
        return {}
    named = f"http.keys_file: {path}"
    try:
        lines = read_given_file(path, MAX_FILE_BYTES, "file of API keys", named=named).decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"{named}: not text in UTF-8") from None
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, _, label = line.partition("#")[0].strip().partition(" ")
        if not key:
            continue
        if len(key) < MIN_KEY_CHARACTERS:
            raise ConfigError(f"{named}: line {number}: a key has at least {MIN_KEY_CHARACTERS} characters")
        keys[hashlib.sha256(key.encode()).hexdigest()] = label.strip() or f"line {number}"
    return keys
