"""The API keys of a coordinator: a file that holds their hashes, what each is allowed, and until when.

``cuckoo apikey`` writes it, whole and all at once, so that a gateway that reads it at any instant finds either what was
or what is. A key itself is shown once, when it is made, and kept nowhere.
"""

import fcntl
import hashlib
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, final

import trio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.apps.app_keys import ApiKey
from node.given_file import read_given_file
from node.whole_file import replace_file
from protocol.errors import ConfigError
from protocol.units import UnixMillis, Wei

FORMAT: Final = "cuckoo-api-keys-1"
"""What the file begins with, so that no other is taken for one."""
PREFIX: Final = "ck_"
"""How keys that are made here begin, so that people and scanners know one that lies where it should not."""
SECRET_BYTES: Final = 32
"""Nobody guesses 256 bits: so a plain hash, cheap enough for each request, hides a key as well as a slow one would."""
NAME_DIGITS: Final = 12
"""Hexadecimal digits of the hash that name a key: two of ten thousand meet once in millions of such files."""
MIN_KEY_CHARACTERS: Final = 16
"""Shorter keys of older files can be guessed over the network."""
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Largest file (bytes), some ten thousand keys."""
MAX_REQUESTS_PER_MINUTE: Final = 1_000_000
WATCH_S: Final = 1.0
"""How often (s) a running gateway looks whether the file has changed: one question to the file system."""
_LABEL: Final = r"^\S(.{0,62}\S)?$"
_EXPIRY: Final = re.compile(r"(\d{1,5})([dh])")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


@final
class KeyEntry(_Strict):
    """One key, as the file tells it."""

    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the key."""
    label: Annotated[str, Field(pattern=_LABEL)]
    """For people: who has it."""
    created: datetime
    requests_per_minute: Annotated[int, Field(ge=1, le=MAX_REQUESTS_PER_MINUTE)] | None = None
    """None is what the gateway allows everybody."""
    wei_per_day: Annotated[str, Field(pattern=r"^[1-9]\d{0,29}$")] | None = None
    """Price of all that it may order within one day (UTC); text, since readers of JSON round such numbers."""
    expires: datetime | None = None

    @property
    def name(self) -> str:
        """What tells it apart from all others, also from those that are gone."""
        return self.hash[:NAME_DIGITS]

    def is_over(self, now: datetime) -> bool:
        """Say whether it is refused by now."""
        return self.expires is not None and self.expires <= now

    @property
    def api_key(self) -> ApiKey:
        """What the gateway needs to know."""
        return ApiKey(
            name=self.name,
            label=self.label,
            requests_per_minute=self.requests_per_minute,
            wei_per_day=None if self.wei_per_day is None else Wei(int(self.wei_per_day)),
            expires_at=None if self.expires is None else UnixMillis(int(self.expires.timestamp() * 1000)),
        )


@final
class _File(_Strict):
    format: Literal["cuckoo-api-keys-1"]
    keys: Annotated[tuple[KeyEntry, ...], Field(max_length=20_000)]


def new_key() -> str:
    """Draw a key."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def entry_of(
    key: str,
    label: str,
    *,
    requests_per_minute: int | None = None,
    wei_per_day: Wei | None = None,
    expires: datetime | None = None,
) -> KeyEntry:
    """Describe a key.

    Raises:
        ConfigError: The label cannot be one.
    """
    if re.fullmatch(_LABEL, label) is None:
        raise ConfigError("--label: give 1 to 64 characters, neither beginning nor ending in a space")
    return KeyEntry(
        hash=hash_of(key),
        label=label,
        created=datetime.now(UTC).replace(microsecond=0),
        requests_per_minute=requests_per_minute,
        wei_per_day=None if wei_per_day is None else str(wei_per_day),
        expires=expires,
    )


def hash_of(key: str) -> str:
    """Give the form in which a key is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


def parse_expiry(text: str, now: datetime) -> datetime:
    """Read ``30d``, ``12h`` or a day as ``2027-01-31``, at whose beginning (UTC) a key ends.

    Raises:
        ConfigError: It is none of these, or over already.
    """
    try:
        if (found := _EXPIRY.fullmatch(text)) is not None:
            length = timedelta(days=int(found[1])) if found[2] == "d" else timedelta(hours=int(found[1]))
            moment = (now + length).replace(microsecond=0)
        else:
            moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"--expires: {text!r} is no time: write it as 30d, 12h or 2027-01-31") from None
    if moment <= now:
        raise ConfigError(f"--expires: {text} is over already: give a day to come")
    return moment


def read_entries(path: Path) -> tuple[KeyEntry, ...]:
    """Read all keys; a file that does not exist holds none.

    Raises:
        ConfigError: It cannot be read, is too large, or is no such file; the text says what to do.
    """
    named = f"http.keys_file: {path}"
    if not path.exists():
        return ()
    try:
        text = read_given_file(path, MAX_FILE_BYTES, "file of API keys", named=named).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{named}: not text in UTF-8") from None
    if FORMAT not in text[:100]:
        raise ConfigError(
            f"{named}: this is no file of hashed keys. One of an older release, with a key on each line, is taken over "
            f"with: cuckoo apikey import {path} --keys-file NEW_FILE"
        )
    try:
        return _File.model_validate_json(text).keys
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{named}: {place or 'the file'}: {fault['msg']}: mend it, or make it anew") from None


def read_api_keys(path: Path) -> Mapping[str, ApiKey]:
    """Read hash of a key -> what it is allowed.

    Raises:
        ConfigError: As ``read_entries``.
    """
    return {entry.hash: entry.api_key for entry in read_entries(path)}


def read_old_keys(path: Path) -> tuple[KeyEntry, ...]:
    """Read the ``key [label]`` lines of an older release, ``#`` beginning a comment.

    Raises:
        ConfigError: The file cannot be read, or a key is too short.
    """
    try:
        lines = read_given_file(path, MAX_FILE_BYTES, "file of API keys").decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text in UTF-8") from None
    entries: list[KeyEntry] = []
    for number, line in enumerate(lines, start=1):
        key, _, label = line.partition("#")[0].strip().partition(" ")
        if not key:
            continue
        if len(key) < MIN_KEY_CHARACTERS or key.startswith(("{", "[", '"')):
            raise ConfigError(f"{path}: line {number}: a key has at least {MIN_KEY_CHARACTERS} characters")
        entries.append(entry_of(key, " ".join(label.split())[:64].strip() or f"line {number}"))
    return tuple(entries)


@contextmanager
def changed_entries(path: Path) -> Generator[list[KeyEntry]]:
    """Change the keys: what is in the list at the end is in the file, or nothing has changed.

    Two commands at once wait for each other. The file is for its owner only.

    Raises:
        ConfigError: As ``read_entries``, or it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = list(read_entries(path))
            yield entries
            _write(path, entries)
    except OSError as error:
        raise ConfigError(f"http.keys_file: {path}: cannot be written: {error.strerror}") from None


def _write(path: Path, entries: Iterable[KeyEntry]) -> None:
    """Replace the file."""
    data = _File(format=FORMAT, keys=tuple(entries)).model_dump_json(indent=1, exclude_none=True) + "\n"
    replace_file(path, data.encode(), 0o600)


async def follow_api_keys(
    path: Path, use: Callable[[Mapping[str, ApiKey]], None], complain: Callable[[str], None]
) -> None:
    """Hand the keys on now and whenever the file has changed, until cancelled.

    A file that cannot be read, or is none, leaves the keys of before in force, and ``complain`` hears why, once.
    """
    seen: object = None
    while True:
        state = _state(path)
        if state != seen:
            seen = state
            try:
                use(await trio.to_thread.run_sync(read_api_keys, path))
            except ConfigError as error:
                complain(str(error))
        await trio.sleep(WATCH_S)


def _state(path: Path) -> object:
    """Give what changes with every change of the file."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_mtime_ns, found.st_size
