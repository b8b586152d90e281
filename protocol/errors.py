"""Every error that is expected in operation, as one tree.

::

    OverlayError
    ├── InvalidMessage(rule)     a peer sent what is wrong in every possible view: REJECT and judge
    ├── IgnoredMessage(rule)     a peer sent what we cannot or need not use: IGNORE and count
    ├── Unavailable              a chain, engine, store or peer does not answer now
    │   └── DiskFull             no space is left for what must be durable: the node waits for some
    └── ConfigError              the person who starts the node must mend something: exit code 2

Anything else that escapes a core is a fault of ours and stops the node with its traceback.
"""


class OverlayError(Exception):
    """Base of all errors that are expected in normal operation."""


class InvalidMessage(OverlayError):
    """A message that no honest peer sends. ``rule`` is its stable name, as in SPEC, metrics and tests."""

    def __init__(self, rule: str, detail: str = "") -> None:
        """Name the broken rule; ``detail`` is for people and may hold remote text."""
        super().__init__(f"{rule}: {detail}" if detail else rule)
        self.rule = rule
        self.detail = detail


class IgnoredMessage(OverlayError):
    """A message that an honest peer may send but we cannot use: late, newer version, unknown kind."""

    def __init__(self, rule: str, detail: str = "") -> None:
        """Name the rule by which it is ignored; ``detail`` is for people."""
        super().__init__(f"{rule}: {detail}" if detail else rule)
        self.rule = rule


class Unavailable(OverlayError):
    """Something outside this process does not answer now and may later."""


class DiskFull(Unavailable):
    """No space is left on the disk; of what was to be written nothing was, and it may be tried again."""


class ConfigError(OverlayError):
    """A setting, flag or file is wrong. The text names it and the fix, in one line."""
