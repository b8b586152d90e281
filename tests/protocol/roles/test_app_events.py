"""What an order tells its app, printed as README's program prints it."""

import pytest

from protocol.roles.app.app_events import KeySealed, Moved, Tell
from protocol.units import PeerId, StakingId, TaskId, Wei
from protocol.wire.app_messages import OrderAccepted, OrderNews

PEER = PeerId("16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi")
ORDER = b"o" * 16


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            Tell(PEER, OrderAccepted(order=ORDER, task=TaskId(b"t" * 32), price=Wei(1))),
            f"accepted by coordinator {PEER}",
        ),
        (Tell(PEER, OrderNews(order=ORDER, stage="queued", attempt=0)), "queued"),
        (Tell(PEER, OrderNews(order=ORDER, stage="claimed", attempt=0, miner=StakingId(4))), "claimed by miner 4"),
        (
            Tell(
                PEER,
                OrderNews(
                    order=ORDER, stage="progress", attempt=0, miner=StakingId(4), step=3, steps=20, reason="step"
                ),
            ),
            "miner 4: step 3 of 20",
        ),
        (
            Tell(
                PEER,
                OrderNews(
                    order=ORDER, stage="progress", attempt=0, miner=StakingId(4), step=3, steps=20, preview=b"\x00RIFF"
                ),
            ),
            "miner 4: step 3 of 20, with a preview",
        ),
        (Tell(PEER, OrderNews(order=ORDER, stage="failed", attempt=0, reason="deadline")), "failed: deadline"),
        (
            Tell(
                PEER,
                OrderNews(order=ORDER, stage="progress", attempt=0, miner=StakingId(4), steps=20, reason="loading"),
            ),
            "miner 4: loading",
        ),
        (Moved(PEER, "busy: come back later"), "busy: come back later"),
        (KeySealed(PEER, StakingId(4), 0, "both are registered"), "sealed to miner 4: both are registered"),
    ],
)
def test_str__each_piece_of_news__is_one_line_for_people(told: Tell | Moved | KeySealed, words: str) -> None:
    assert str(told) == words
