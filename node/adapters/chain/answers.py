"""Reads what chain nodes answer, and names what may be wrong with it.

::

    Unavailable
    ├── CallRefused           the node answered with an error
    │   └── AnswerTooLarge    and would have answered with more than we read
    ├── RateLimited           we ask too often
    └── WrongChain            the URL serves another chain
"""

import json
import re
import time
import zlib
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Any, Final, TypeAlias, TypeVar

import httpx

from protocol.errors import Unavailable

Json: TypeAlias = Any  # what a remote node sent: whoever reads a part of it checks that part

COUNT_BITS: Final = 48
"""Block numbers, unix seconds and places in a block: beyond any real one, and safe to calculate with and to store."""
ID_BITS: Final = 64
"""Bits of a staking id at most."""
WORD: Final = 32
"""Bytes of each value in what a contract returns or logs."""
MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
"""Largest answer that is read (bytes): 2,000 blocks full of events are below it."""
MAX_DEPTH: Final = 64
"""Deepest nesting of an answer that is decoded; real ones have about eight. Python's decoder recurses in C, and where a
library has raised the limit of recursion a deep answer ends the process."""
MAX_BRACKETS: Final = 4_000_000
"""Most brackets in an answer: each event has four."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
TOO_MANY_REQUESTS: Final = 429
"""HTTP status and JSON-RPC error code of a rate limit."""
_RATE_WORDS: Final = re.compile(
    r"rate.?limit|too many requests|request limit|compute units|throughput|capacity", re.IGNORECASE
)
"""How providers that answer 200 say that our rate is too high; limits of blocks or results have other words."""

StateT = TypeVar("StateT", bound=IntEnum)


class CallRefused(Unavailable):
    """The node answered with an error: it does not know the block yet, or finds the request too large."""

    def __init__(self, method: str, code: int, message: str, data: Json = None) -> None:
        """Keep what the node said; the message is remote text and is cut."""
        super().__init__(f"{method}: {message[:300]} (code {code})")
        self.code = code
        self.message = message[:300]
        self.data = data


class AnswerTooLarge(CallRefused):
    """The answer is beyond MAX_RESPONSE_BYTES: a smaller question may get one."""

    def __init__(self, url: str, limit: int) -> None:
        """Name the URL and the limit (bytes)."""
        super().__init__(url, 0, f"answer larger than {limit} bytes")


class RateLimited(Unavailable):
    """A node says that we ask too often."""

    def __init__(self, text: str, asked_s: float | None) -> None:
        """Keep for how long (s) it asks to be left alone, None where it does not say."""
        super().__init__(text)
        self.asked_s = asked_s


class WrongChain(Unavailable):
    """A URL serves another chain than the one that is configured."""

    def __init__(self, url: str, expected: int, found: int) -> None:
        """Name the URL and both chains."""
        super().__init__(f"{url} serves chain {found}, not {expected}")
        self.url = url
        self.found = found


def shown(url: str) -> str:
    """Give scheme, host and port of a URL: path and query often hold an API key and stay out of texts."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii').rpartition('@')[2]}"


def quantity(value: Json, bits: int = 256) -> int:
    """Read a JSON-RPC quantity, as ``0x1f``, of at most so many bits."""
    try:
        number = int(value, 16)
    except (TypeError, ValueError) as error:
        raise Unavailable(f"the chain node sent {value!r:.80} for a number") from error
    if not 0 <= number < 1 << bits:
        raise Unavailable(f"the chain node sent {value!r:.80} for a number of {bits} bits")
    return number


def octets(value: Json, length: int | None = None) -> bytes:
    """Read JSON-RPC data, as ``0x1f2e``, of an exact length where one is given."""
    try:
        data = bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, TypeError, ValueError) as error:
        raise Unavailable(f"the chain node sent {value!r:.80} for bytes") from error
    if length is not None and len(data) != length:
        raise Unavailable(f"the chain node sent {len(data)} bytes instead of {length}")
    return data


def state_of(kind: type[StateT], word: int) -> StateT:
    """Give a state of a contract by its number.

    Raises:
        Unavailable: There is none: the chain node is wrong, or was asked about a later contract.
    """
    try:
        return kind(word)
    except ValueError:
        raise Unavailable(f"the chain node tells of a {kind.__name__.lower()} {word}, unknown here") from None


def inflated(content: bytes, encoding: str, limit: int) -> bytes | None:
    """Undo gzip within a limit (bytes); None beyond it. What is packed twice or otherwise is left as it is.

    httpx unpacks whatever comes, packed as often as the answer says: 2 kB become as much memory as there is.
    """
    if encoding.strip().lower() != "gzip":
        return content
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = unpacking.decompress(content, limit + 1)
    except zlib.error:
        return content
    return plain if len(plain) <= limit else None


def decoded(content: bytes) -> Json:
    """Decode JSON that a remote node sent.

    Raises:
        ValueError: It is none, or nested more deeply than any honest answer.
    """
    brackets = content.translate(None, _NO_BRACKETS)  # those inside of texts count too: they are few
    depth = 0
    if len(brackets) > MAX_BRACKETS:
        raise ValueError("too many brackets")
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
    return json.loads(content)


def result_of(method: str, answer: Json) -> Json:
    """Take the result out of one JSON-RPC answer."""
    if not isinstance(answer, dict):
        raise Unavailable(f"{method}: the chain node sent no JSON-RPC answer")
    error = answer.get("error")
    if error is not None:
        detail = error if isinstance(error, dict) else {"message": str(error)}
        code = detail.get("code", 0)
        message = str(detail.get("message", ""))
        raise CallRefused(method, code if isinstance(code, int) else 0, message, detail.get("data"))
    if "result" not in answer:
        raise Unavailable(f"{method}: the chain node sent neither result nor error")
    return answer["result"]


def is_rate_limit(answer: Json) -> bool:
    """Say whether one JSON-RPC answer complains of our rate."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return False
    return error.get("code") == TOO_MANY_REQUESTS or _RATE_WORDS.search(str(error.get("message", ""))[:300]) is not None


def is_known(refusal: CallRefused) -> bool:
    """Say whether a node refuses a transaction because it has it already: an earlier try reached it."""
    words = refusal.message.lower()
    return "already" in words or "known transaction" in words


def asked_rest_s(header: str | None) -> float | None:
    """Read ``Retry-After``: seconds or a date. Gives seconds from now, None where there is none that makes sense."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
