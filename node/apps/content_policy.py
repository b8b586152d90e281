"""What an owner does not let be drawn, of a miner or a coordinator: words and phrases that a prompt must not hold.

Words, not patterns: a prompt is whatever a stranger writes, and a pattern can take hours on the wrong one.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable

from protocol.errors import ConfigError
from protocol.wire.messages import TaskSpecification


def refusal_of(words: Iterable[str], key: str = "miner.refused_words") -> Callable[[TaskSpecification], bool]:
    """Give the rule that refuses each prompt that holds one of these, whatever its case.

    A word stands for itself alone: ``ass`` is not in ``grass``. A ``*`` at its end stands for any ending; spaces in a
    phrase for any space. What an app does *not* want to see, its negative prompt, is not looked at.

    Args:
        words: What is refused.
        key: The setting that names them, for who got one wrong.

    Raises:
        ConfigError: One of them has no letter or digit.
    """
    patterns = [_pattern(word, key) for word in words]
    if not patterns:
        return lambda specification: False
    found = re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)")
    return lambda specification: found.search(_plain(specification.prompt)) is not None


def _pattern(word: str, key: str) -> str:
    """Write one word or phrase as a pattern that takes no longer than the text is long."""
    parts = _plain(word).rstrip("*").split()
    if not any(letter.isalnum() for part in parts for letter in part):
        raise ConfigError(f"{key}: {word!r} has no letter or digit: write a word, a phrase, or word*")
    return r"\s+".join(map(re.escape, parts)) + (r"\w*" if word.rstrip().endswith("*") else "")


def _plain(text: str) -> str:
    """Bring letters that look alike to one form: full width, ligatures, case, accents that were put together."""
    return unicodedata.normalize("NFKC", text).casefold()
