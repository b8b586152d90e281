"""Draws the strip of all kinds of work in the README: ``python -m tests.support.work_kinds_strip FILE.png``.

A whole devnet makes each picture: a source from text, then from it and from a mask what the network draws. From left to
right: the source; three pictures from it, by strength; the mask; two pictures drawn where it is white.
"""

import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.devnet import Running, devnet

EDGE = 128
GAP = 8
SEED = 3
SOURCE = "a red heart"
VARIED = (("a blue heart", 0.6), ("a green apple", 0.75), ("an orange", 0.9))
PAINTED: tuple[dict[str, Any], ...] = (
    {"prompt": "a blue heart", "strength": 0.9},
    {"prompt": "a pizza", "strength": 1.0, "steps": 20, "guidance": 6.0, "seed": 2},
)


def draw(network: Running, prompt: str, **order: Any) -> bytes:
    """Have one picture made; gives its file."""
    with network.client as client:
        files = {name: (f"{name}.png", order.pop(name)) for name in ("image", "mask") if name in order}
        fields = {"prompt": prompt, "seed": order.pop("seed", SEED), **order}
        if files:
            answer = client.post("/v1/images/edits", files=files, data={k: str(v) for k, v in fields.items()})
        else:
            answer = client.post("/v1/images/generations", json=fields)
    answer.raise_for_status()
    return base64.b64decode(answer.json()["data"][0]["b64_json"])


def right_half() -> bytes:
    """A mask that leaves the left half as it is."""
    mask = Image.new("L", (EDGE, EDGE), 0)
    mask.paste(255, (EDGE // 2, 0, EDGE, EDGE))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()


def strip(pictures: list[bytes]) -> Image.Image:
    """Put pictures beside each other."""
    whole = Image.new("RGB", (len(pictures) * (EDGE + GAP) - GAP, EDGE), "lightgray")
    for place, data in enumerate(pictures):
        whole.paste(Image.open(io.BytesIO(data)).convert("RGB"), (place * (EDGE + GAP), 0))
    return whole


def main(out: Path) -> None:
    """Draw and save."""
    mask = right_half()
    with tempfile.TemporaryDirectory() as folder, devnet(Path(folder), "--miners", "1") as network:
        source = draw(network, SOURCE, seed=1)
        varied = [draw(network, prompt, image=source, strength=strength) for prompt, strength in VARIED]
        painted = [draw(network, image=source, mask=mask, **order) for order in PAINTED]
    strip([source, *varied, mask, *painted]).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
