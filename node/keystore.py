"""The node's key on disk: Web3 secret storage version 3, as every Ethereum tool reads and writes it.

Keys and passwords are never logged, put into an error or shown. Files are made for the owner only (0600), written
whole or not at all, and never overwritten. Source: https://ethereum.org/en/developers/docs/data-structures-and-encoding/web3-secret-storage/
"""

import getpass
import json
import os
import stat
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Final

from node.given_file import read_given_file
from protocol.errors import ConfigError

SCRYPT_WORK: Final = 2**18
"""scrypt n of a real key: about one second and 256 MB for each guess at the password. What geth writes."""

LIGHT_SCRYPT_WORK: Final = 2**12
"""scrypt n of a devnet key: about 10 ms, no protection worth the name. Its chain holds nothing of value."""

MAX_SCRYPT_WORK: Final = 2**20
"""Most scrypt n that we read: 1 GB of memory. A file that asks for more was made to stop this process."""

MAX_PBKDF2_ITERATIONS: Final = 10_000_000
"""Most iterations of pbkdf2 that we read: about ten seconds."""

MAX_KEYSTORE_BYTES: Final = 64 * 1024
"""Largest keystore file (bytes); real ones have about 500."""

MAX_PASSWORD_BYTES: Final = 4096
"""Largest password file (bytes)."""

MIN_PASSWORD_CHARACTERS: Final = 8
"""Shortest password for a new key that is not a light one."""

NODE_KEY_FLAG: Final = "--password-file"
"""What sets the file with the password of the node's key."""

Ask = Callable[[str], str]
"""Asks a person for a secret, without showing what is typed."""


def create(path: Path, password: str, *, light: bool = False, key: bytes | None = None) -> bytes:
    """Make a new key, or take the one given, and write it encrypted.

    Args:
        path: Where to write; its folders are made (0700). An existing file is never overwritten.
        password: Opens the key later.
        light: Spare the key derivation: for devnet keys only.
        key: 32 bytes to store instead of a fresh random key.

    Returns:
        The key, 32 bytes.

    Raises:
        ConfigError: When the file exists or cannot be written, or the password is too short.
    """
    if not light and len(password) < MIN_PASSWORD_CHARACTERS:
        raise ConfigError(f"password: at least {MIN_PASSWORD_CHARACTERS} characters for a key that holds value")
    if path.exists():
        raise ConfigError(f"{path}: exists already; keys are never overwritten: move it away or name another file")
    from node.ethereum_account import Account  # imported here: costs a second that reading --help should not

    secret = key if key is not None else _fresh_key()
    work = LIGHT_SCRYPT_WORK if light else SCRYPT_WORK
    content = Account.encrypt(secret, password, kdf="scrypt", iterations=work)
    write_private(path, json.dumps(content) + "\n")
    return secret


def load(path: Path, password: str) -> bytes:
    """Read and decrypt a key.

    Returns:
        The key, 32 bytes.

    Raises:
        ConfigError: When there is no such file, it is no keystore, others can read it, or the password is wrong.
    """
    content = _read_keystore(path)
    from node.ethereum_account import Account  # imported here: costs a second that reading --help should not

    try:
        return bytes(Account.decrypt(content, password))
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise ConfigError(f"{path}: wrong password for this keystore") from None
        raise ConfigError(f"{path}: damaged keystore: {error}") from None
    except (KeyError, TypeError, ArithmeticError, AttributeError):
        raise ConfigError(f"{path}: damaged keystore: a field is missing or has the wrong type") from None


def unlock(path: Path, password_file: Path | None, *, ask: Ask | None = None, flag: str = NODE_KEY_FLAG) -> bytes:
    """Read a key with the password from a file, or from the person at the terminal.

    The keystore is looked at first, so that nobody types a password for a file that is not there.

    Args:
        path: The keystore.
        password_file: Holds its password; None to ask for it.
        ask: How to ask, the terminal where left out.
        flag: What sets the password file, for faults.

    Returns:
        The key, 32 bytes.

    Raises:
        ConfigError: As ``load`` and ``password_for``.
    """
    _read_keystore(path)
    return load(path, password_for(path, password_file, ask=ask, flag=flag))


def address_of(path: Path) -> str:
    """Read which address a keystore is for, without its password. Whoever wrote the file vouches for it, not the key.

    Raises:
        ConfigError: As ``load``, or the file does not say.
    """
    address = _read_keystore(path).get("address")
    if not isinstance(address, str) or not set(address.lower()) <= set("0123456789abcdefx"):
        raise ConfigError(f"{path}: does not say its address: give --account 0x…")
    return "0x" + address.lower().removeprefix("0x")


def require_files(path: Path, password_file: Path | None, flag: str = NODE_KEY_FLAG) -> None:
    """Make sure, without decrypting, that a keystore and its password file are there and private.

    Raises:
        ConfigError: As ``unlock``, but for a wrong password.
    """
    _read_keystore(path)
    if password_file is not None:
        read_password_file(password_file, flag)


def password_for(path: Path, password_file: Path | None, *, ask: Ask | None = None, flag: str = NODE_KEY_FLAG) -> str:
    """Get the password of an existing keystore: from a file, else from the person at the terminal.

    Raises:
        ConfigError: When there is neither, or the file is not private.
    """
    if password_file is not None:
        return read_password_file(password_file, flag)
    return _ask_or_advise(ask, flag)(f"Password for {path}: ")


def new_password(password_file: Path | None, *, ask: Ask | None = None) -> str:
    """Get the password for a new keystore; a person types it twice.

    Raises:
        ConfigError: When there is neither file nor terminal, it is empty, or the two differ.
    """
    if password_file is not None:
        return read_password_file(password_file)
    asking = _ask_or_advise(ask)
    first = asking("New password: ")
    if not first:
        raise ConfigError("password: it is empty; nothing was written")
    if asking("The same again: ") != first:
        raise ConfigError("password: the two do not agree; nothing was written")
    return first


def read_password_file(path: Path, flag: str = NODE_KEY_FLAG) -> str:
    """Read a password from the first line of a file that only its owner and group can read.

    Raises:
        ConfigError: When it does not exist, everybody can read it, or it is empty or not text.
    """
    named = f"{flag}: {path}"
    private = partial(_refuse_public, path, "password file")
    content = read_given_file(path, MAX_PASSWORD_BYTES, "password", named=named, inspect=private)
    try:
        password = content.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"{named}: not text in UTF-8") from None
    if not password:
        raise ConfigError(f"{flag}: the first line of {path} is empty")
    return password


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read (0600), whole or not at all, through to the disk.

    Raises:
        ConfigError: When the file exists already or cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: its folder cannot be made: {error.strerror}") from None
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # unlike a rename, this never replaces a file that came in between
        finally:
            draft.unlink()
    except FileExistsError:
        raise ConfigError(f"{path}: exists already; it is not overwritten") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _fresh_key() -> bytes:
    """Draw a secp256k1 key."""
    from coincurve import PrivateKey  # imported here, as its callers import Account

    return PrivateKey().secret


def _read_keystore(path: Path) -> dict[str, object]:
    """Read a keystore as JSON and refuse what is none, or would cost too much to open."""
    missing = f"no such keystore: make one with cuckoo key new --keystore {path}"
    private = partial(_refuse_public, path, "keystore")
    text = read_given_file(path, MAX_KEYSTORE_BYTES, "keystore", missing=missing, inspect=private)
    no_keystore = ConfigError(f"{path}: not a keystore (Web3 secret storage version 3)")
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        raise no_keystore from None
    if not isinstance(content, dict) or content.get("version") != 3:
        raise no_keystore
    crypto = content.get("crypto", content.get("Crypto"))
    if not isinstance(crypto, Mapping):
        raise no_keystore
    _refuse_costly(path, crypto)
    return content


def _refuse_costly(path: Path, crypto: Mapping[str, object]) -> None:
    """Refuse a key derivation that no honest tool writes, before it takes all memory."""
    numbers = crypto.get("kdfparams")
    if not isinstance(numbers, Mapping):
        raise ConfigError(f"{path}: not a keystore (Web3 secret storage version 3)")
    limits = {"n": MAX_SCRYPT_WORK, "r": 8, "p": 8, "c": MAX_PBKDF2_ITERATIONS, "dklen": 64}
    for name, limit in limits.items():
        value = numbers.get(name, 1)
        if not isinstance(value, int) or not 1 <= value <= limit:
            raise ConfigError(f"{path}: damaged keystore: {name} of its key derivation is not within 1 and {limit}")


def _refuse_public(path: Path, what: str, file: IO[bytes]) -> None:
    """Refuse a secret that everybody on this machine can read; a group may, as container secrets need it."""
    if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
        raise ConfigError(f"{path}: every user can read this {what}: chmod 600 {path}")


def _ask_or_advise(ask: Ask | None, flag: str = NODE_KEY_FLAG) -> Ask:
    """Give a way to ask, or say how to do without a terminal."""
    if ask is not None:
        return ask
    if not sys.stdin.isatty():
        raise ConfigError(f"password: nobody to ask, as this is no terminal: give {flag} FILE")
    return getpass.getpass
