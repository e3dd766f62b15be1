"""Pictures that nobody trained on, by kind: photographs, grey, infrared, pages, and pictures that show nothing.

Infrared pictures, pages and covered lenses are made in other ways than those of training: what is measured is not
whether a model knows a program.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import numpy as np

from lifeiqa.models.synthesis.distortions import Picture, gaussian_blur, white_noise, without_color
from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime.console import require
from lifeiqa.runtime.opencv import to_rgb

_SIZE = (640, 480)  # of what is drawn: width, height
_ARTICLE = (
    "Image quality",
    "A camera at a gate sees the same yard all day. In the morning the sun is low and the lens flares, at noon "
    "everything is sharp, and at night the lamp comes on and the sensor turns up its gain. Rain leaves drops on the "
    "glass, a spider builds its net, and one day somebody paints the wall beside it and a little on it too.",
    "Nobody looks at its pictures until they are needed. So a program has to say when they have become useless, and "
    "it has nothing to compare with but what pictures look like in general: edges, grain, blocks, haze and light.",
    "What it answers is one number. It should fall when the picture gets worse, stay where it is when nothing has "
    "changed, and mean the same for a street, a face, a page and a field at night.",
)
_PROGRAM = """
def mean(values):
    total = 0.0  # in points, not in shares of the range
    for value in values:
        total += value if value > 0 else 0.0
    return total / len(values)

class Camera:
    name = "gate, north", "yard, east", "roof"
    rate = 25  # frames a second; 12 at night

    def frames(self):
        while self.open:
            yield self.read(timeout=1.5) or self.last

# 2,048 frames, 12 lost
print(mean([87.5, 62.5, 37.5]), file=report, flush=True)
"""
_TABLE = """Monday 06:00 2,048 0.97 sharp
Monday 12:00 1,995 0.99 sharp
Monday 18:00 2,101 0.84 low sun
Tuesday 06:00 2,050 0.35 fog
Tuesday 12:00 2,047 0.98 sharp
Tuesday 18:00 1,870 0.52 rain
Wednesday 06:00 2,044 0.96 sharp
Wednesday 12:00 12 0.08 covered
Wednesday 18:00 2,046 0.91 sharp
Thursday 06:00 2,048 0.95 sharp
Thursday 12:00 2,048 0.97 sharp"""


class Content(NamedTuple):
    """One picture.

    Attributes:
        kind: a key of `behaviour_limits.KINDS`.
        name: its own among those of the kind.
        pixels: (H, W, 3) uint8 RGB; H and W are even, as H.264 needs them.
        sharp: whether people would call it so.
    """

    kind: str
    name: str
    pixels: Picture
    sharp: bool = True


def contents() -> list[Content]:
    """All of them; the same at every call.

    Raises:
        MissingError: scikit-image or Pillow is not installed.
    """
    require("export", "skimage", "PIL")
    photographs = {name: _even(picture) for name, picture in held_out_pictures()}
    colour = {name: picture for name, picture in photographs.items() if has_color(picture)}
    grey = {name: without_color(picture) for name, picture in sorted(photographs.items(), key=lambda p: p[0] in colour)}
    found = [Content("colour", name, picture) for name, picture in colour.items()]
    found += [Content("grey", name, picture) for name, picture in grey.items()]
    found += [Content("infrared", name, infrared_light(picture)) for name, picture in photographs.items()]
    found += [*_pages(), *_nothing(colour)]
    return found


def has_color(p: Picture) -> bool:
    """Whether any pixel's channels differ."""
    return bool((p != p[:, :, :1]).any())


def infrared_light(p: Picture) -> Picture:
    """(H, W, 3) uint8 with equal channels: mostly the red one, lit by a lamp beside the camera, so darker outwards."""
    height, width = p.shape[:2]
    y, x = np.mgrid[:height, :width]
    far = np.hypot((y - 0.45 * height) / height, (x - 0.5 * width) / width)
    light = 0.95 / (1 + 2.5 * far**2)
    return to_rgb(np.rint(p @ np.array([0.7, 0.25, 0.05]) * light).astype(np.uint8))


def _even(p: Picture) -> Picture:
    height, width = p.shape[:2]
    return np.ascontiguousarray(p[: height // 2 * 2, : width // 2 * 2])


def _pages() -> list[Content]:
    from skimage import data

    printed, handwriting = (_even(to_rgb(np.asarray(getattr(data, name)(), np.uint8))) for name in ("page", "text"))
    return [
        Content("page", "article", _article()),
        Content("page", "program", _program()),
        Content("page", "table", _table()),
        Content("page", "printed", printed),
        Content("page", "handwriting", handwriting, sharp=False),
    ]


def _article() -> Picture:
    """Black on white: a heading and paragraphs."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", _SIZE, "white")
    draw, y = ImageDraw.Draw(page), 24
    for number, paragraph in enumerate(_ARTICLE):
        size = 17 if number else 30
        lines = "\n".join(textwrap.wrap(paragraph, 74))
        draw.multiline_text((30, y), lines, fill="black", font=ImageFont.load_default(size), spacing=6)
        y += (lines.count("\n") + 1) * (size + 7) + 18
    return np.array(page)


def _program() -> Picture:
    """Light on dark, lines in several colours: an editor."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", _SIZE, (24, 26, 32))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(19)
    colors = {"def": (120, 190, 255), "class": (120, 190, 255), "#": (130, 150, 130), "return": (240, 150, 110)}
    for number, line in enumerate(_PROGRAM.strip().splitlines()):
        color = colors.get((line.split() or [""])[0], (222, 222, 214))
        indent = len(line) - len(line.lstrip())
        draw.text((14, 12 + 27 * number), str(number + 1), fill=(96, 100, 110), font=font)
        draw.text((56 + 11 * indent, 12 + 27 * number), line.strip(), fill=color, font=font)
    return np.array(page)


def _table() -> Picture:
    """Dark blue on cream: a table with rules."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", _SIZE, (250, 245, 230))
    draw, font, ink = ImageDraw.Draw(page), ImageFont.load_default(17), (28, 34, 70)
    for row, line in enumerate(_TABLE.splitlines()):
        y = 20 + 40 * row
        draw.line((24, y + 30, 616, y + 30), fill=ink)
        for column, cell in enumerate(line.split(maxsplit=4)):
            draw.text((30 + 118 * column, y), cell, fill=ink, font=font)
    return np.array(page)


def _nothing(photographs: dict[str, Picture]) -> list[Content]:
    rng = np.random.default_rng(0)
    width, height = _SIZE
    values = {"grey": 128, "black": 0, "white": 255}
    found = [Content("flat", name, np.full((height, width, 3), value, np.uint8)) for name, value in values.items()]
    for (name, picture), sigma in zip(photographs.items(), (2, 4, 0, 3), strict=False):
        hand = gaussian_blur(np.rint(0.2 * picture).astype(np.uint8), 40, rng)
        found.append(Content("covered", f"{name}, noise {sigma}", noisy(hand, sigma, rng)))
    grey = np.full((height, width, 3), 128, np.uint8)
    for sigma in (20, 40, 80):
        found.append(Content("noise", f"grey, {sigma}", noisy(grey, sigma, rng)))
        found.append(Content("noise", f"colour, {sigma}", white_noise(grey, (sigma / 255) ** 2, rng)))
    found.append(Content("noise", "grey, uniform", to_rgb(rng.integers(0, 256, (height, width), np.uint8))))
    found.append(Content("noise", "colour, uniform", rng.integers(0, 256, (height, width, 3), np.uint8)))
    return found


def noisy(p: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    """White Gaussian noise, standard deviation `sigma` of 255; alike in all channels of a picture without colour."""
    variance = (sigma / 255) ** 2
    if has_color(p):
        return white_noise(p, variance, rng)
    return np.repeat(white_noise(p[:, :, :1], variance, rng), 3, axis=2)
