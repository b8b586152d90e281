"""Training pictures: read with their transparency, and laid on coloured backgrounds."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image


def decode_pictures(data, limit):
    """Give the training pictures as (pictures, 4, 128, 128) uint8 RGBA."""
    offsets = data["offsets"]
    blob = data["blob"]
    count = len(offsets) - 1
    count = min(limit, count) if limit else count

    def decode(index):
        picture = Image.open(io.BytesIO(blob[offsets[index] : offsets[index + 1]].tobytes()))
        return np.asarray(picture.convert("RGBA"))

    with ThreadPoolExecutor(16) as threads:
        pictures = np.stack(list(threads.map(decode, range(count))))
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def on_background(pictures, colours):
    """Lay (n, 4, h, w) uint8 pictures on (n, 3) uint8 colours; gives (n, 3, h, w) from -1 to 1."""
    values = pictures.float() / 255
    alpha = values[:, 3:]
    return (values[:, :3] * alpha + (colours.float() / 255)[:, :, None, None] * (1 - alpha)) * 2 - 1


def draw_backgrounds(palette, count, device):
    """Draw background colours: 50 % white, 40 % of the palette, 10 % any."""
    drawn = palette[torch.randint(len(palette), (count,), device=device)]
    drawn = torch.where(torch.rand(count, 1, device=device) < 0.55, palette[:1], drawn)
    anything = torch.randint(256, (count, 3), device=device, dtype=torch.uint8)
    return torch.where(torch.rand(count, 1, device=device) < 0.1, anything, drawn)
