"""Why an app's order is refused or ends, and what of that passes or is the same elsewhere. Spec: SPEC.md §9.9."""

from typing import Final

AGAIN: Final = frozenset(
    {"busy", "rate_limited", "no_miner", "escrow_short", "unavailable", "stopping", "not_ready", "not_registered"}
    | {"disk_full", "timeout"}
)
"""Refusals that pass: others are tried, and later the same ones again."""
ELSEWHERE: Final = frozenset(
    {"unknown_model", "model_not_pinned", "work_not_offered", "size_not_offered", "scheduler_not_offered"}
    | {"invalid_api_key", "spend_limit", "sealed_not_taken"}
)
"""Refusals that another coordinator may not share. All that stand in neither set are the app's to mend."""
FINAL_FAILURES: Final = frozenset({"content_policy", "cancelled", "input_invalid"})
"""Ends of a task that would be the same elsewhere."""
UNPAID_FAILURES: Final = frozenset(
    {"attempts_exhausted", "client_gone", "deadline", "not_taken", "app_gone", "not_accepted", "sealed_invalid"}
)
"""Ends of a task for which we owe nothing, also where the coordinator had our word. After any other end with our word
we may: its picture was withheld (``picture_refused``), or is kept no more (``artifact_expired``)."""


def printable(text: str) -> str:
    """Make a coordinator's words fit for a terminal, which would take some for commands."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)
