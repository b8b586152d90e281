"""The disputes in which a running node has a part, for its owner's eyes, with what he can do."""

from typing import Any, Final

from node.moments import moment
from protocol.justice.dispute import Status
from protocol.roles.disputing import Disputing

_WORDS: Final = {
    Status.DRAWING: "jurors are being drawn",
    Status.VOTING: "jurors judge",
    Status.UPHELD: "jurors found the picture wrong",
    Status.CONFIRMED: "jurors found the picture wrong, also after an appeal",
}


def own_disputes(disputing: Disputing) -> list[dict[str, Any]]:  # Any: what JSON holds
    """Say how each dispute stands in which this node has a part and that is open."""
    return [
        {
            "dispute": seen.number,
            "part": disputing.part_of(seen),
            "status": seen.status.label,
            "round": seen.round,
            "deadline": seen.deadline_s,
            "now": disputing.at_s,
            "accused": seen.accused,
            "reporter": seen.reporter,
            "wrong": seen.wrong,
            "right": seen.right,
            "seats": seen.seats,
        }
        for _, seen in sorted(disputing.seen.items())
    ]


def in_words(told: dict[str, Any]) -> str:
    """Say of one dispute how it stands, until when, and what its owner can do."""
    now = told["now"]
    status = Status[told["status"].upper()]
    about = f"miner {told['accused']} is accused by coordinator {told['reporter']}"
    if told["part"] == "accused":
        about = f"this miner is accused by coordinator {told['reporter']}"
    elif told["part"] == "juror":
        about += ", and this miner is a juror"
    elif told["part"] == "keeper":
        about += ", and this node has its jury drawn, since nobody else did"
    judged = f"{_WORDS[status]} ({told['wrong']} wrong, {told['right']} right of {told['seats']})"
    until = f", {'until' if told['deadline'] > now else 'since'} {moment(told['deadline'], now)}"
    if status is Status.UPHELD and told["part"] != "accused":
        until = f", and the miner's owner may appeal{until.lstrip(',')}" if told["deadline"] > now else ""
    line = f"dispute {told['dispute']}: {about}; {judged}{until}"
    if told["part"] != "accused":
        return line
    can = "nothing is asked of you now"
    if status is Status.UPHELD and told["deadline"] > now:
        can = f"you may appeal: cuckoo dispute appeal {told['dispute']}"
    return f"{line}; withdrawals of stake on it are frozen while it is open, for the unbonding delay at most; {can}"
