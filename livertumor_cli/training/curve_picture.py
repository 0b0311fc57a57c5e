"""The learning curve as a picture: loss above, validation Dice below."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from livertumor_cli.anatomy import STRUCTURES, Label
from livertumor_cli.io.atomic import write_bytes

WIDTH, HEIGHT = 960, 640
LEFT, RIGHT, TOP, BOTTOM, GAP = 70, 24, 34, 44, 46
LINES = 4
"""Horizontal grid lines of a panel."""

SMOOTHED_STEPS = 25
"""The loss of single batches jumps; their running mean is what falls."""

BACKGROUND, GRID, TEXT = (255, 255, 255), (224, 224, 224), (64, 64, 64)
LOSS, SMOOTHED = (200, 208, 220), (40, 80, 140)
COLORS = {
    "liver": STRUCTURES[Label.LIVER].color_rgb,
    "tumor": STRUCTURES[Label.TUMOR].color_rgb,
    "vessel": STRUCTURES[Label.VESSEL].color_rgb,
    "segments": STRUCTURES[Label.LIVER].color_rgb,
}

Point = tuple[float, float]
Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Panel:
    """Axes of one plot.

    Attributes:
        top: Row of the highest value.
        bottom: Row of zero.
        highest: Value at the top.
        last_step: Step at the right end; the left end is step 0.
    """

    top: int
    bottom: int
    highest: float
    last_step: int

    def at(self, step: float, value: float) -> Point:
        """Column and row of a value."""
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / self.last_step
        y = self.bottom - (self.bottom - self.top) * min(value / self.highest, 1.0)
        return x, y


def draw_curve(curve: Path, picture: Path) -> None:
    """Draw a run's `curve.csv` as PNG.

    Args:
        curve: The CSV, with at least one step.
        picture: The PNG; replaced as a whole.

    Raises:
        OutputError: If it cannot be written.
    """
    with curve.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    loss = [float(row["loss"]) for row in rows]
    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(image)
    middle = (HEIGHT + TOP - BOTTOM) // 2
    # The first batches of a run lie far above all others and would press them flat.
    highest = max(1.2 * float(np.quantile(loss, 0.98)), 1e-6)
    above = Panel(TOP, middle - GAP // 2, highest, steps[-1])
    _draw_axes(draw, above, title="Loss")
    _draw_line(draw, above, list(zip(steps, loss, strict=True)), color=LOSS, width=1)
    smoothed = list(zip(steps, _running_mean(loss), strict=True))
    _draw_line(draw, above, smoothed, color=SMOOTHED, width=3)
    below = Panel(middle + GAP // 2, HEIGHT - BOTTOM, 1.0, steps[-1])
    _draw_axes(draw, below, title="Validation Dice")
    _draw_dice(draw, below, rows)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_bytes(picture, buffer.getvalue())


def _draw_dice(draw: ImageDraw.ImageDraw, panel: Panel, rows: Sequence[dict[str, str]]) -> None:
    """One line with marks per structure, its name at the right."""
    left = WIDTH - RIGHT
    for name, color in reversed(COLORS.items()):
        cells = [(int(row["step"]), row.get(f"dice_{name}", "")) for row in rows]
        points = [(step, float(cell)) for step, cell in cells if cell]
        if not points:
            continue
        _draw_line(draw, panel, points, color=color, width=3)
        for point in points:
            x, y = panel.at(*point)
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
        text = f"{name} {points[-1][1]:.3f}"
        left -= 16 + int(draw.textlength(text, font=_font()))
        draw.text((left, panel.top - 20), text, fill=color, font=_font())


def _draw_axes(draw: ImageDraw.ImageDraw, panel: Panel, *, title: str) -> None:
    draw.text((LEFT, panel.top - 20), title, fill=TEXT, font=_font())
    for line in range(LINES + 1):
        value = panel.highest * line / LINES
        x, y = panel.at(0, value)
        draw.line((x, y, WIDTH - RIGHT, y), fill=GRID)
        draw.text((x - 8, y), f"{value:.2f}", fill=TEXT, font=_font(), anchor="rm")
    for share in (0.0, 0.5, 1.0):
        step = round(share * panel.last_step)
        x, _ = panel.at(step, 0.0)
        draw.text((x, panel.bottom + 8), str(step), fill=TEXT, font=_font(), anchor="mt")


def _draw_line(
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    points: Sequence[tuple[int, float]],
    *,
    color: Color,
    width: int,
) -> None:
    draw.line([panel.at(*point) for point in points], fill=color, width=width)


def _running_mean(values: Sequence[float]) -> list[float]:
    """Mean of each value and those shortly before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    stops = np.arange(1, len(values) + 1)
    starts = np.maximum(stops - SMOOTHED_STEPS, 0)
    means: list[float] = ((sums[stops] - sums[starts]) / (stops - starts)).tolist()
    return means


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(13)
