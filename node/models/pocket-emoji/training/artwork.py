"""The pictures that pocket-emoji learns: three sets of emoji artwork, rendered at one size."""

import io
import json

import numpy as np
from PIL import Image

PACKAGES = {
    "3d": "lobehub-fluent-emoji-3d-1.1.0",  # Microsoft Fluent Emoji, MIT
    "flat": "lobehub-fluent-emoji-flat-1.1.0",  # Microsoft Fluent Emoji, MIT
    "noto": "iconify-json-noto-1.2.9",  # Google Noto Emoji, Apache-2.0
    "names": "emojibase-data-17.0.0",  # MIT
    "keywords": "emojilib-4.0.3",  # MIT
}
SIZE = 128
"""Edge of a picture (pixels)."""
RENDER_SIZE = 256
"""Edge at which vector artwork is rendered before it is scaled down (pixels)."""


def normal_code(code):
    """Give an emoji's code points in lower case without the variation selector."""
    return code.lower().replace("-fe0f", "")


class Artwork:
    """Finds and renders the picture of an emoji in a style."""

    def __init__(self, npm):
        """Index the three artwork packages under ``npm``."""
        self.files = {}
        for style in ("3d", "flat"):
            assets = sorted((npm / PACKAGES[style] / "assets").iterdir())
            self.files[style] = {normal_code(path.stem): path for path in assets}
        noto = npm / PACKAGES["noto"]
        characters = json.loads((noto / "chars.json").read_text())
        self.noto_names = {normal_code(code): name for code, name in characters.items()}
        collection = json.loads((noto / "icons.json").read_text())
        self.noto_icons = dict(collection["icons"])
        for alias, target in collection.get("aliases", {}).items():
            if set(target) == {"parent"} and target["parent"] in collection["icons"]:
                self.noto_icons[alias] = collection["icons"][target["parent"]]

    def render(self, style, code):
        """Give an RGBA picture of SIZE x SIZE, or None where the style has no such emoji."""
        if style == "noto":
            icon = self.noto_icons.get(self.noto_names.get(code))
            if icon is None:
                return None
            width = icon.get("width", 128)
            height = icon.get("height", 128)
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
            )
            return scale(render_svg(svg_string=svg))
        path = self.files[style].get(code)
        if path is None:
            return None
        if style == "3d":
            return scale(Image.open(path))
        return scale(render_svg(svg_path=str(path)))


def render_svg(**source):
    """Render an SVG, given as ``svg_string`` or ``svg_path``, at RENDER_SIZE x RENDER_SIZE."""
    import resvg_py  # imported here: --help works without it

    png = bytes(resvg_py.svg_to_bytes(**source, width=RENDER_SIZE, height=RENDER_SIZE))
    return Image.open(io.BytesIO(png))


def scale(picture):
    """Resize to SIZE x SIZE with colours premultiplied by alpha, so that edges stay clean."""
    values = np.asarray(picture.convert("RGBA")).astype(np.float32) / 255
    values[..., :3] *= values[..., 3:]
    method = Image.Resampling.LANCZOS if values.shape[0] != SIZE else Image.Resampling.NEAREST
    channels = [Image.fromarray(values[..., channel]).resize((SIZE, SIZE), method) for channel in range(4)]
    values = np.clip(np.stack([np.asarray(channel) for channel in channels], -1), 0, 1)
    alpha = values[..., 3:]
    values[..., :3] = np.where(alpha > 1e-3, values[..., :3] / np.maximum(alpha, 1e-3), 1.0)
    return Image.fromarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8), "RGBA")
