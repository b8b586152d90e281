"""The three answers to a gossip message. Spec: SPEC.md §4.3."""

from enum import Enum


class Verdict(Enum):
    """What to do with a gossip message."""

    ACCEPT = "accept"
    """Forward it and hand it to the core."""
    IGNORE = "ignore"
    """Neither forward nor cache nor score it: an honest peer may have sent it."""
    REJECT = "reject"
    """Wrong in every possible view: drop it; its publisher is judged, its forwarder is not."""
