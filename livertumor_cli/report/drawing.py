"""Planes as pictures: gray values of a window, outlines, lines, orientation marks, a scale bar.

Everything is drawn at twice its size and halved at the end, so that lines and outlines are smooth.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from livertumor_cli.anatomy import STRUCTURES, Label
from livertumor_cli.arrays import BoolArray, HuArray
from livertumor_cli.geometry import bounding_box
from livertumor_cli.report.planes import Plane

WINDOW_HU = (-75.0, 175.0)
"""In which liver tumors differ from the liver by eye: that of the networks' papers."""

Color = tuple[int, int, int]

LIVER, TUMOR, VESSEL = (
    STRUCTURES[label].color_rgb for label in (Label.LIVER, Label.TUMOR, Label.VESSEL)
)
LONGEST: Color = (240, 228, 66)
PERPENDICULAR: Color = (255, 255, 255)
MARKS: Color = (255, 255, 255)

_TWICE = 2
_BARS_CM = (10, 5, 2, 1)
_FLATTEST = 2.0
"""So many times as wide as high, or as high as wide, is a picture of a plane at most."""

_GRAYS = 128
"""Of the 256 colors of a picture; the others are for what is drawn on it."""

_LARGEST_BAR = 0.35
"""Share of the picture's width that the scale bar takes at most."""


class Picture:
    """A plane, or a part of it, drawn at a scale.

    Args:
        plane: What to draw.
        middle: Row and column (fractional) in the middle of the picture.
        size_mm: Height and width of what is shown; what lies outside the scan is black.
        height_px: Height of the finished picture.
        window_hu: From black to white.
    """

    def __init__(
        self,
        plane: Plane,
        *,
        middle: tuple[float, float],
        size_mm: tuple[float, float],
        height_px: int,
        window_hu: tuple[float, float] = WINDOW_HU,
    ) -> None:
        self._plane = plane
        self._scale = _TWICE * height_px / size_mm[0]
        steps = np.array(plane.step_mm)
        self._first = np.array(middle) + 0.5 - 0.5 * np.array(size_mm) / steps
        self._pixel = steps * self._scale
        width = round(size_mm[1] * self._scale / _TWICE) * _TWICE
        self._size = (max(_TWICE, width), _TWICE * height_px)
        gray = self._resized(windowed(plane.hu, window_hu), Image.Resampling.BICUBIC)
        self._image = Image.merge("RGB", [gray] * 3)
        self._draw = ImageDraw.Draw(self._image)

    def _resized(self, pixels: np.ndarray, how: Image.Resampling) -> Image.Image:
        """The shown part of an array, black outside the scan."""
        low = np.floor(self._first).astype(int)
        shown = np.array(self._size[::-1]) / self._pixel
        high = np.ceil(self._first + shown).astype(int)
        before = np.maximum(0, -low)
        after = np.maximum(0, high - pixels.shape)
        inside = tuple(
            slice(max(0, start), max(0, stop)) for start, stop in zip(low, high, strict=True)
        )
        part = np.pad(pixels[inside], list(zip(before, after, strict=True)))
        top, left = self._first - low
        box = (left, top, min(left + shown[1], part.shape[1]), min(top + shown[0], part.shape[0]))
        return Image.fromarray(part).resize(self._size, how, box=box)

    def _mask(self, mask: BoolArray) -> BoolArray:
        pixels = mask.astype(np.uint8) * 255
        return np.asarray(self._resized(pixels, Image.Resampling.NEAREST)) > 0

    def outline(self, mask: BoolArray, color: Color, *, width_px: float = 1.5) -> None:
        """A line just outside a mask, so that what it surrounds stays visible."""
        inside = self._mask(mask)
        box = bounding_box(inside[None])
        if box is None:
            return
        reach = round(_TWICE * width_px)
        # Most lesions are small beside the picture, and a maximum filter takes its time.
        rows, columns = (slice(max(0, part.start - reach), part.stop + reach) for part in box[1:])
        inside = inside[rows, columns]
        ring = ndimage.maximum_filter(inside, size=2 * reach + 1) & ~inside
        stencil = Image.fromarray(ring.astype(np.uint8) * 255)
        self._image.paste(color, (columns.start, rows.start), stencil)

    def fill(self, mask: BoolArray, color: Color, *, share: float) -> None:
        """Tint what a mask covers."""
        tint = (self._mask(mask) * round(255 * share)).astype(np.uint8)
        self._image.paste(color, mask=Image.fromarray(tint))

    def place(self, point: Sequence[float]) -> tuple[float, float]:
        """Where a row and column (fractional) lie in the picture while it is drawn: x, y."""
        y, x = (np.array(point) + 0.5 - self._first) * self._pixel
        return float(x), float(y)

    def line(self, ends: Sequence[Sequence[float]], color: Color) -> None:
        """A line with a dark rim and short bars at its ends, between rows and columns."""
        start, stop = (np.array(self.place(end)) for end in ends)
        along = stop - start
        length = float(np.hypot(*along))
        across = np.array([-along[1], along[0]]) / max(length, 1e-9) * 5 * _TWICE
        strokes = [(start, stop), (start - across, start + across), (stop - across, stop + across)]
        for width, paint in ((3.5, (0, 0, 0)), (2.0, color)):
            for one, other in strokes:
                self._draw.line([*one, *other], fill=paint, width=round(width * _TWICE))

    def text(
        self, place: tuple[float, float], text: str, *, color: Color = MARKS, anchor: str = "mm"
    ) -> None:
        """A text with a dark rim at x, y as `place` gives them."""
        font = ImageFont.load_default(13 * _TWICE)
        self._draw.text(
            place, text, fill=color, font=font, anchor=anchor, stroke_width=3, stroke_fill=(0, 0, 0)
        )

    def frame(self) -> None:
        """Orientation marks at the edges and a scale bar at the bottom."""
        width, height = self._size
        left, right, top, bottom = self._plane.marks
        gap = 6 * _TWICE
        self.text((gap, height / 2), left, anchor="lm")
        self.text((width - gap, height / 2), right, anchor="rm")
        self.text((width / 2, gap), top, anchor="mt")
        self.text((width / 2, height - gap), bottom, anchor="mb")
        fitting = [bar for bar in _BARS_CM if 10 * bar * self._scale <= _LARGEST_BAR * width]
        length_cm = fitting[0] if fitting else _BARS_CM[-1]
        end, level = width - 2 * gap, height - 2 * gap
        start = end - 10 * length_cm * self._scale
        for thickness, paint in ((7, (0, 0, 0)), (3, MARKS)):
            self._draw.line([start, level, end, level], fill=paint, width=thickness)
        self.text(((start + end) / 2, level - 4), f"{length_cm} cm", anchor="mb")

    def finished(self) -> Image.Image:
        """The picture at its size."""
        return self._image.reduce(_TWICE)


def whole(plane: Plane, *, height_px: int, window_hu: tuple[float, float] = WINDOW_HU) -> Picture:
    """A picture of all of a plane, to scale; black is added to what would be a mere strip."""
    rows, columns = plane.hu.shape
    high_mm, wide_mm = rows * plane.step_mm[0], columns * plane.step_mm[1]
    return Picture(
        plane,
        middle=((rows - 1) / 2, (columns - 1) / 2),
        size_mm=(max(high_mm, wide_mm / _FLATTEST), max(wide_mm, high_mm / _FLATTEST)),
        height_px=height_px,
        window_hu=window_hu,
    )


def windowed(hu: HuArray, window_hu: tuple[float, float]) -> np.ndarray:
    """HU as gray values 0 to 255."""
    low, high = window_hu
    scaled = (hu.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def side_by_side(images: Sequence[Image.Image], *, gap_px: int = 4) -> Image.Image:
    """Pictures of equal height in a row."""
    width = sum(image.width for image in images) + gap_px * (len(images) - 1)
    row = Image.new("RGB", (width, images[0].height), (255, 255, 255))
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width + gap_px
    return row


def png_bytes(image: Image.Image) -> bytes:
    """A PNG of at most 256 colors: grays and a few tints need no more, at a third of the size."""
    stream = io.BytesIO()
    # The smallest possible file is a twentieth smaller, and takes eight times as long.
    few_colors(image).save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def few_colors(image: Image.Image) -> Image.Image:
    """An RGB picture with a palette: grays differ by 1 at most, tints take the nearest of theirs.

    Most pixels of a CT are gray and need no search for a palette, which takes three times as long.
    """
    rgb = np.asarray(image)
    red, green, blue = (rgb[..., channel] for channel in range(3))
    tinted = (red != green) | (green != blue)
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[:_GRAYS] = np.rint(np.linspace(0, 255, _GRAYS))[:, None]
    indices = np.rint(np.arange(256) * (_GRAYS - 1) / 255).astype(np.uint8)[red]
    if tinted.any():
        tints = Image.fromarray(rgb[tinted][None]).quantize(
            len(palette) - _GRAYS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
        found = np.array(tints.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        palette[_GRAYS : _GRAYS + len(found)] = found
        indices[tinted] = _GRAYS + np.asarray(tints)[0]
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    return picture


def thumbnail(png: bytes, *, height_px: int) -> bytes:
    """A small copy of a PNG."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    width = max(1, round(image.width * height_px / image.height))
    return png_bytes(image.resize((width, height_px), Image.Resampling.LANCZOS))
