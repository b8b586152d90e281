"""Reads a small file that a person names: settings, a key, a receipt. One way to read, one way to refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from protocol.errors import ConfigError


def read_given_file(
    path: Path,
    limit_bytes: int,
    what: str,
    *,
    named: str | None = None,
    missing: str = "no such file",
    inspect: Callable[[IO[bytes]], None] | None = None,
) -> bytes:
    """Give the whole content of a file.

    Args:
        path: The file.
        limit_bytes: The most that it may hold; a larger one is some other file, named by mistake.
        what: What it should be, as "settings file".
        named: How errors begin: the flag or key that named it, and the path; the path alone where None.
        missing: What is said when there is none.
        inspect: Called with the open file before it is read; may raise a ConfigError of its own.

    Raises:
        ConfigError: It cannot be read, or is too large.
    """
    begin = named or f"{path}"
    try:
        with path.open("rb") as file:
            if inspect is not None:
                inspect(file)
            data = file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise ConfigError(f"{begin}: {missing}") from None
    except OSError as error:
        raise ConfigError(f"{begin}: cannot be read: {error.strerror}") from None
    if len(data) > limit_bytes:
        raise ConfigError(f"{begin}: larger than {limit_bytes} bytes, which no {what} is")
    return data
