"""What the node and its engine child say to each other, over the child's two pipes.

A frame is its length in 4 big-endian bytes and a msgpack map with ``kind``. Both sides decode into frozen, strictly
typed messages: the child runs foreign model code, so its output is checked like any other foreign input.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self, TypeVar

import msgpack
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from node.adapters.engine.choices import Wanted
from node.adapters.engine.precision import Numbers, Precision
from protocol.params import MAX_ARTIFACT_BYTES, MAX_INPUT_BYTES, MAX_PREVIEW_BYTES, MAX_PROMPT_CHARACTERS
from protocol.task.fingerprint import FINGERPRINT_BYTES, MAX_STEPS
from protocol.wire.fields import DigestField, DurationField, Frozen, ModelName, ReasonText, StepCount
from protocol.wire.specification import Output, Pixels, Work

LENGTH_BYTES: Final = 4
MAX_BATCH: Final = 64
"""Most pictures drawn together."""
MAX_COMMAND_BYTES: Final = 2 * MAX_INPUT_BYTES + 64 * 1024
"""Largest frame to the child (bytes): a source, its mask and numbers. A whole batch has less: for each picture two
prompts of 2000 characters at 4 bytes each, and numbers."""
MAX_REPORT_BYTES: Final = MAX_ARTIFACT_BYTES + 64 * 1024
"""Largest frame from the child (bytes): one picture and numbers."""
MAX_ITEMS: Final = MAX_BATCH
"""Most entries of a map or list in a frame."""

Message = TypeVar("Message")
JobNumber = Annotated[int, Field(ge=0, le=2**63 - 1)]
PreviewBytes = Annotated[bytes, Field(max_length=MAX_PREVIEW_BYTES)]
InputBytes = Annotated[bytes, Field(max_length=MAX_INPUT_BYTES)]
BatchSize = Annotated[int, Field(ge=1, le=MAX_BATCH)]


class FrameError(Exception):
    """The other end sent what is no frame: the pipe cannot be used any more."""


class StyleOrder(Frozen):
    """A LoRA to put into a model's weights."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    digest: DigestField
    weight: Annotated[float, Field(ge=-2, le=2)]


class Load(Frozen):
    """Check and load a model, warm it up, and answer ``Loaded`` or ``LoadFailed``."""

    kind: Literal["load"] = "load"
    model: ModelName
    folder: Annotated[str, Field(min_length=1, max_length=4096)]
    checkpoint: Annotated[str, Field(max_length=4096)] = ""
    """The one file that holds all weights; empty where the folder's parts hold them."""
    styles: Annotated[tuple[StyleOrder, ...], Field(max_length=4)] = ()
    digest: DigestField
    precision: Precision
    width: Pixels
    height: Pixels
    steps: Annotated[int, Field(ge=1, le=200)]
    """Steps of a usual picture, for which the speed is stated."""
    guidance: Annotated[float, Field(ge=0, le=50)]
    batches: Annotated[tuple[BatchSize, ...], Field(min_length=1, max_length=16)]
    """Batches to measure, smallest first, up to the first that does not pay or does not fit."""
    measure_all: bool = False
    """Measure every batch that fits, whether it pays or not."""
    max_prompt_tokens: Annotated[int, Field(ge=0, le=4096)] = 0
    """Tokens of a prompt that the model reads; 0 where nobody said."""
    fewer_threads: bool = False
    """On a CPU: draw with one thread where all that the child has do not pay."""
    wanted: Wanted = Wanted()
    """How its owner wants it laid out on the device."""
    in_memory: Annotated[int, Field(ge=0, le=64)] = 0
    """Most models that the device holds at once; 0 for as many as fit."""


class Give(Frozen):
    """Keep what a job begins from until it ends; comes before the ``Run`` that has it."""

    kind: Literal["give"] = "give"
    job: JobNumber
    source: InputBytes
    mask: InputBytes = b""
    """Empty where there is none."""


class Order(Frozen):
    """One picture of a batch, which its own seed decides, and the file that it becomes."""

    job: JobNumber
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    output: Output = "png"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """Of a WebP; None loses nothing."""
    embed_prompt: bool = False


class Run(Frozen):
    """Draw pictures together; each order is answered by ``Progress`` and one ``Done`` or ``Failed``."""

    kind: Literal["run"] = "run"
    model: ModelName
    width: Pixels
    height: Pixels
    steps: Annotated[int, Field(ge=1, le=200)]
    guidance: Annotated[float, Field(ge=0, le=50)]
    work: Work = "text_to_image"
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How far sources are left behind: so many of the steps are taken."""
    scheduler: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{0,64}$")] = ""
    """Class name; empty is the model's own."""
    orders: Annotated[tuple[Order, ...], Field(min_length=1, max_length=MAX_BATCH)]


class Cancel(Frozen):
    """Stop this job between two steps; without effect once it has ended."""

    kind: Literal["cancel"] = "cancel"
    job: JobNumber


class Ping(Frozen):
    """Ask whether the child still runs; answered from a thread that no model holds up."""

    kind: Literal["ping"] = "ping"
    number: JobNumber


class Started(Frozen):
    """The libraries are imported and the device is there; once models are loaded, pings are answered in time."""

    kind: Literal["started"] = "started"
    device: Annotated[str, Field(min_length=1, max_length=128)]
    threads: Annotated[int, Field(ge=1, le=4096)]


class BatchSpeed(Frozen):
    """How fast a model draws usual pictures in batches of this size, with everything around their steps."""

    batch: BatchSize
    pixel_steps_per_s: Annotated[int, Field(ge=1, le=2**48)]


class Loaded(Frozen):
    """A model is in memory, warm and measured."""

    kind: Literal["loaded"] = "loaded"
    model: ModelName
    numbers: Numbers
    """In which it draws on this device."""
    load_ms: DurationField
    speeds: Annotated[tuple[BatchSpeed, ...], Field(min_length=1, max_length=16)]
    """Smallest batch first; the last is the largest that fits and pays."""


class LoadFailed(Frozen):
    """A model cannot be used."""

    kind: Literal["load_failed"] = "load_failed"
    model: ModelName
    reason: ReasonText


class InMemory(Frozen):
    """These models, and no others, are on the device now; the rest are loaded again when they are needed."""

    kind: Literal["in_memory"] = "in_memory"
    models: Annotated[tuple[ModelName, ...], Field(max_length=64)]


class Progress(Frozen):
    """Jobs of one batch are in this state now. From ``encoding`` on the device is free for the next batch."""

    kind: Literal["progress"] = "progress"
    jobs: Annotated[tuple[JobNumber, ...], Field(min_length=1, max_length=MAX_BATCH)]
    state: Literal["loading", "step", "encoding"]
    step: StepCount
    steps: StepCount
    step_ms: DurationField
    previews: Annotated[tuple[PreviewBytes, ...], Field(max_length=MAX_BATCH)] = ()
    """None, or one for each job: a small WebP file of what the picture may become; empty where there is none."""
    memory_bytes: Annotated[int, Field(ge=0, le=2**48)] = 0
    """With ``encoding``: the most memory (bytes) that the device gave for the batch; on a CPU the whole process's."""

    @model_validator(mode="after")
    def _check_previews(self) -> Self:
        """Refuse previews of which nobody knows whose they are."""
        if self.previews and len(self.previews) != len(self.jobs):
            raise ValueError("one preview for each job, or none")
        return self


class Done(Frozen):
    """A job's picture as a file in the ordered format, with its SHA-256."""

    kind: Literal["done"] = "done"
    job: JobNumber
    data: Annotated[bytes, Field(min_length=1, max_length=MAX_ARTIFACT_BYTES)]
    digest: DigestField
    fingerprint: DigestField
    """Root over the latents of its steps, as in a commitment."""
    fingerprints: Annotated[bytes, Field(max_length=MAX_STEPS * FINGERPRINT_BYTES)] = b""
    """What it binds, the first step first; empty where there are none."""
    generation_ms: DurationField


class Failed(Frozen):
    """A job has no picture, for this named reason."""

    kind: Literal["failed"] = "failed"
    job: JobNumber
    reason: ReasonText


class TooLarge(Frozen):
    """A batch did not fit in memory: from now on at most ``batch`` pictures of this size are drawn together."""

    kind: Literal["too_large"] = "too_large"
    model: ModelName
    width: Pixels
    height: Pixels
    batch: BatchSize


class Pong(Frozen):
    """The answer to a ``Ping``."""

    kind: Literal["pong"] = "pong"
    number: JobNumber


Command = Load | Give | Run | Cancel | Ping
Report = Started | Loaded | LoadFailed | InMemory | Progress | TooLarge | Done | Failed | Pong

_COMMANDS: Final[TypeAdapter[Command]] = TypeAdapter(Annotated[Command, Field(discriminator="kind")])
_REPORTS: Final[TypeAdapter[Report]] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def encode(message: Command | Report) -> bytes:
    """Give the frame of a message."""
    body: bytes = msgpack.packb(message.model_dump(), use_bin_type=True)  # type: ignore[no-untyped-call]
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_command(body: bytes) -> Command:
    """Read what the node says.

    Raises:
        FrameError: It is no command.
    """
    return _decode(body, _COMMANDS)


def decode_report(body: bytes) -> Report:
    """Read what the child says.

    Raises:
        FrameError: It is no report.
    """
    return _decode(body, _REPORTS)


def _decode(body: bytes, adapter: TypeAdapter[Message]) -> Message:
    """Decode and validate one body."""
    try:
        value = msgpack.unpackb(  # type: ignore[attr-defined, no-untyped-call]  # untyped upstream
            body,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_map_len=MAX_ITEMS,
            max_array_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise FrameError(f"not msgpack: {error}") from None
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise FrameError(f"no such message: {error.errors()[0]['msg']}") from None


class FrameReader:
    """Cuts a stream of bytes, in pieces of any size, into frame bodies. Does no I/O."""

    def __init__(self, limit: int) -> None:
        """Refuse frames of more than ``limit`` bytes before they are held in memory."""
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more bytes and give the bodies that are complete now.

        Raises:
            FrameError: A frame is empty or longer than the limit.
        """
        self._buffer += data
        while len(self._buffer) >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if not 0 < length <= self._limit:
                raise FrameError(f"a frame of {length} bytes, allowed are 1 to {self._limit}")
            end = LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[LENGTH_BYTES:end])
            del self._buffer[:end]
            yield body
