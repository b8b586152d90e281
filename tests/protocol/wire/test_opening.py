"""Questions for steps and their answers: SPEC.md §12.8."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.task.fingerprint import FINGERPRINT_BYTES, MAX_STEPS, fingerprint_root
from protocol.task.steps import check_shown, show_steps
from protocol.wire import codec
from protocol.wire.codec import WORK_PLACE, decode, encode
from protocol.wire.messages import MAX_OPENED_STEPS, OpenedSteps, OpenSteps

HEAD = {"task": b"t" * 32, "attempt": 0, "commitment": b"k" * 32}
STEP = {"step": 3, "fingerprint": bytes(128), "path": ()}
FINGERPRINTS = st.integers(1, MAX_STEPS).flatmap(
    lambda count: st.integers(0, 2**32).map(
        lambda seed: [((seed + step) % 2**64).to_bytes(8, "big") * (FINGERPRINT_BYTES // 8) for step in range(count)]
    )
)


def read(**fields: object) -> object:
    return decode(msgpack.packb({"version": 1, **HEAD, **fields}), WORK_PLACE)


@given(FINGERPRINTS, st.data())
def test_decode__any_steps_that_are_shown__lead_to_their_root(fingerprints: list[bytes], data: st.DataObject) -> None:
    most = min(MAX_OPENED_STEPS, len(fingerprints))
    chosen = st.sets(st.integers(0, len(fingerprints) - 1), min_size=1, max_size=most)
    steps = tuple(sorted(data.draw(chosen)))
    question = OpenSteps(**HEAD, steps=steps)
    assert decode(encode(question), WORK_PLACE) == question
    answer = decode(encode(OpenedSteps(**HEAD, opened=show_steps(fingerprints, steps))), WORK_PLACE)
    assert isinstance(answer, OpenedSteps)
    shown = check_shown(answer, steps, fingerprint_root(fingerprints), len(fingerprints))
    assert shown == tuple(fingerprints[step] for step in steps)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "open_steps", "steps": ()},
        {"kind": "open_steps", "steps": (0,) * (MAX_OPENED_STEPS + 1)},
        {"kind": "open_steps", "steps": (MAX_STEPS,)},
        {"kind": "opened_steps", "opened": (), "reason": None},
        {"kind": "opened_steps", "opened": (STEP,), "reason": "not_kept"},
        {"kind": "opened_steps", "opened": (STEP | {"fingerprint": bytes(127)},), "reason": None},
        {"kind": "opened_steps", "opened": (STEP | {"path": (bytes(32),) * 9},), "reason": None},
        {"kind": "opened_steps", "opened": (STEP,) * (MAX_OPENED_STEPS + 1), "reason": None},
    ],
)
def test_decode__question_or_answer_beyond_its_bounds__is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(**fields)
    assert caught.value.rule == "message.malformed"


def test_decode__question_at_a_release_that_does_not_know_it__is_ignored_and_nobody_is_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(codec._VERSIONS, "open_steps")
    with pytest.raises(IgnoredMessage) as caught:
        decode(encode(OpenSteps(**HEAD, steps=(1,))), WORK_PLACE)
    assert caught.value.rule == "message.unknown_kind"
