from itertools import pairwise

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.adapters.engine.ipc import (
    MAX_BATCH,
    MAX_COMMAND_BYTES,
    BatchSpeed,
    Cancel,
    Done,
    Failed,
    FrameError,
    FrameReader,
    Load,
    Loaded,
    LoadFailed,
    Order,
    Ping,
    Pong,
    Progress,
    Run,
    Started,
    TooLarge,
    decode_command,
    decode_report,
    encode,
)

ORDER = Order(job=2**63 - 1, prompt="𝄞" * 2000, negative_prompt="𝄞" * 2000, seed=2**63 - 1)
RUN = Run(
    model="pocket-emoji", width=4096, height=4096, steps=200, guidance=3.5, orders=(ORDER,) * MAX_BATCH
)  # fmt: skip
COMMANDS = [
    Load(
        model="m",
        folder="/models/m",
        digest=bytes(32),
        precision="half",
        width=128,
        height=128,
        steps=15,
        guidance=4.0,
        batches=(1, 2),
    ),
    Run(model="m", width=128, height=128, steps=15, guidance=4.0, orders=(ORDER,)),
    Cancel(job=7),
    Ping(number=3),
]
REPORTS = [
    Started(device="cpu", threads=2),
    Loaded(model="m", numbers="float16", load_ms=900, speeds=(BatchSpeed(batch=1, pixel_steps_per_s=400_000),)),
    LoadFailed(model="m", reason="model_corrupt"),
    Progress(jobs=(7, 8), state="step", step=3, steps=15, step_ms=52),
    Done(job=7, data=b"picture", digest=bytes(32), fingerprint=bytes(32), generation_ms=800),
    Failed(job=7, reason="out_of_memory"),
    TooLarge(model="m", width=512, height=512, batch=4),
    Pong(number=3),
]


def bodies(data, limit=MAX_COMMAND_BYTES):
    return list(FrameReader(limit).feed(data))


@pytest.mark.parametrize("message", COMMANDS, ids=lambda message: message.kind)
def test_decode_command__what_encode_made__is_the_same(message):
    (body,) = bodies(encode(message))
    assert decode_command(body) == message


@pytest.mark.parametrize("message", REPORTS, ids=lambda message: message.kind)
def test_decode_report__what_encode_made__is_the_same(message):
    (body,) = bodies(encode(message))
    assert decode_report(body) == message


def test_encode__longest_run__fits_a_command_frame():
    frame = encode(RUN)
    assert len(frame) < MAX_COMMAND_BYTES
    (body,) = bodies(frame)
    assert decode_command(body) == RUN


@given(cuts=st.lists(st.integers(0, 400), max_size=20))
def test_feed__cut_anywhere__gives_the_same_frames(cuts):
    data = b"".join(encode(message) for message in REPORTS)
    reader = FrameReader(MAX_COMMAND_BYTES)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = [body for start, end in pairwise(edges) for body in reader.feed(data[start:end])]
    assert [decode_report(body) for body in found] == REPORTS


@given(data=st.binary(max_size=300))
def test_feed__any_bytes__gives_bounded_frames_or_frame_error(data):
    try:
        found = bodies(data, limit=100)
    except FrameError:
        return
    assert all(0 < len(body) <= 100 for body in found)


@given(body=st.binary(max_size=200))
def test_decode__any_bytes__gives_a_message_or_frame_error(body):
    for decode, messages in ((decode_command, COMMANDS), (decode_report, REPORTS)):
        try:
            message = decode(body)
        except FrameError:
            continue
        assert type(message) in {type(known) for known in messages}


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(message=st.sampled_from(COMMANDS + REPORTS), key=st.integers(0, 12), value=values)
def test_decode__one_field_replaced__gives_a_message_or_frame_error(message, key, value):
    fields = message.model_dump()
    fields[sorted(fields)[key % len(fields)]] = value
    body = msgpack.packb(fields)
    for decode in (decode_command, decode_report):
        try:
            decoded = decode(body)
        except FrameError:
            continue
        assert decoded.kind in {known.kind for known in COMMANDS + REPORTS}


def test_feed__length_over_the_limit__is_refused_before_the_body_arrives():
    with pytest.raises(FrameError):
        bodies((MAX_COMMAND_BYTES + 1).to_bytes(4, "big"))


def test_decode_command__a_report__is_refused():
    (body,) = bodies(encode(Pong(number=1)))
    with pytest.raises(FrameError):
        decode_command(body)


def test_decode_command__deeply_nested__is_refused():
    with pytest.raises(FrameError):
        decode_command(b"\x91" * 5000)
