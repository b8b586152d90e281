"""The safety checker in its process, with a tiny random CLIP that is told to like everything, or nothing."""

import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
import trio
from PIL import Image

from node.adapters.review import SafetyChecker, safety
from protocol.errors import ConfigError, Unavailable
from tests.support.pictures import png

MAKE = """
import sys, torch
from transformers import CLIPConfig, CLIPImageProcessor
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
vision = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
          "image_size": 32, "patch_size": 8, "projection_dim": 8}
for folder, limit in zip(sys.argv[1::2], map(float, sys.argv[2::2])):
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    torch.nn.init.normal_(checker.concept_embeds)
    torch.nn.init.normal_(checker.special_care_embeds)
    checker.concept_embeds_weights.fill_(limit)
    checker.special_care_embeds_weights.fill_(limit)
    checker.save_pretrained(folder + "/safety_checker")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder + "/feature_extractor")
"""
LIKES_NOTHING, LIKES_ALL = -2.0, 2.0
"""Likeness of a picture to what must not be shown, from -1 to 1, beyond which it is refused."""


def jpeg_file() -> bytes:
    """A good picture in a format in which no artifact is."""
    written = BytesIO()
    Image.new("RGB", (64, 48)).save(written, "JPEG")
    return written.getvalue()


def see_through() -> bytes:
    """A file of which people see another picture than its pixels."""
    written = BytesIO()
    Image.new("RGBA", (64, 48), (255, 255, 255, 254)).save(written, "PNG")
    return written.getvalue()


@pytest.fixture(scope="module")
def checkers(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    made = {limit: tmp_path_factory.mktemp("checker") for limit in (LIKES_NOTHING, LIKES_ALL)}
    named = [text for limit, folder in made.items() for text in (str(folder), str(limit))]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAKE, *named], check=True
    )  # at once: its imports take seconds
    return made


async def refuses_what_is_no_picture(checker: SafetyChecker) -> None:
    for file in (png(64, 48)[:60], b"", jpeg_file(), see_through()):
        assert await checker.refuse_picture(file) == "it cannot be decoded"


async def test_refuse_picture__checker_says_no_or_it_is_no_picture__is_refused(checkers: dict[float, Path]) -> None:
    said = "the safety checker does not let it be shown"
    checker = SafetyChecker(checkers[LIKES_NOTHING])
    async with checker.opened():
        assert [await checker.refuse_picture(png(64, 48)) for _ in range(2)] == [said, said]
        await refuses_what_is_no_picture(checker)
        pid = checker.pid
    assert checker.pid is None
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_refuse_picture__checker_says_yes__passes_whatever_was_asked_or_happened_before(
    checkers: dict[float, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One story, since each start of the process costs seconds: no picture, nobody waits, it dies, it hangs."""
    checker = SafetyChecker(checkers[LIKES_ALL])
    async with checker.opened():
        assert [await checker.refuse_picture(png(64, 48)) for _ in range(2)] == [None, None]
        await refuses_what_is_no_picture(checker)
        with trio.CancelScope() as scope:
            scope.cancel()
            await checker.refuse_picture(b"no picture")
        assert await checker.refuse_picture(png(64, 48)) is None, "not the answer for which nobody waited"
        first = checker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Unavailable):
            await checker.refuse_picture(png(64, 48))
        assert await checker.refuse_picture(png(64, 48)) is None
        second = checker.pid
        assert second is not None
        os.kill(second, signal.SIGSTOP)
        monkeypatch.setattr(safety, "PICTURE_LIMIT_S", 0.1)
        with pytest.raises(Unavailable, match="TooSlowError"):
            await checker.refuse_picture(png(64, 48))
        assert checker.pid is None


async def test_refuse_picture__weights_that_cannot_be_read__is_unavailable(
    checkers: dict[float, Path], tmp_path: Path
) -> None:
    for name in safety.READ:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((checkers[LIKES_ALL] / name).read_bytes())
    (tmp_path / safety.READ[1]).write_bytes(b"no weights")
    checker = SafetyChecker(tmp_path)
    async with checker.opened():
        with pytest.raises(Unavailable, match="does not start"):
            await checker.refuse_picture(png(64, 48))


def test_import__of_what_asks__loads_no_torch() -> None:
    program = "import sys, node.adapters.review; print(sorted({'torch', 'diffusers', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"[]\n"


def test_safety_checker__file_or_library_missing__config_error_says_what_to_do(
    tmp_path: Path, checkers: dict[float, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"^content\.safety_checker: there is no safety_checker/config\.json in "):
        SafetyChecker(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'cuckoo-overlay\[miner\]'$"):
        SafetyChecker(checkers[LIKES_ALL])
