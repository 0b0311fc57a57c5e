"""The organs of a phantom besides tumors and vessels, and their HU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from livertumor_cli.arrays import BoolArray, DoubleArray, FloatArray
from livertumor_cli.phantom.shapes import Canvas, Ellipsoid, Point

AIR_HU, LUNG_HU, FAT_HU, MUSCLE_HU = -1000.0, -850.0, -100.0, 60.0
CAVITY = 0.84
"""Radius of the abdominal cavity as a share of the body's."""


@dataclass(frozen=True, slots=True)
class Organs:
    """Shapes of one phantom.

    Attributes:
        body_mm: Half widths of the body along left and posterior.
        right_lobe: Right liver lobe.
        left_lobe: Left liver lobe.
        filled: Other organs in drawing order with their HU.
        cava_x_mm: Vena cava, left coordinate.
        cava_y_mm: Vena cava, posterior coordinate.
    """

    body_mm: tuple[float, float]
    right_lobe: Ellipsoid
    left_lobe: Ellipsoid
    filled: tuple[tuple[Ellipsoid, float], ...]
    cava_x_mm: float
    cava_y_mm: float

    def body_radius(self, x: DoubleArray, y: DoubleArray) -> DoubleArray:
        """1 on the skin, 0 on the axis; a rounded box as a trunk is."""
        a, b = self.body_mm
        return np.asarray((np.abs(x / a) ** 2.4 + np.abs(y / b) ** 2.4) ** (1 / 2.4))

    def liver_mask(self, canvas: Canvas) -> BoolArray:
        """Both lobes inside the abdominal cavity, shape (z, y, x)."""
        mask = canvas.mask_of(self.right_lobe, self.left_lobe)
        x, y, _ = canvas.axes(canvas.whole())
        inside: BoolArray = mask & (self.body_radius(x, y) < CAVITY)
        return inside

    def paint_surroundings(self, canvas: Canvas) -> FloatArray:
        """HU of everything but the liver, shape (z, y, x)."""
        x, y, z = canvas.axes(canvas.whole())
        radius = self.body_radius(x, y)  # (1, Y, X)
        flat = np.full(radius.shape, AIR_HU, dtype=np.float32)
        flat[radius < 1.0] = FAT_HU
        flat[radius < 0.92] = MUSCLE_HU
        flat[radius < CAVITY] = FAT_HU
        hu = np.repeat(flat, canvas.geometry.shape[0], axis=0)
        self._paint_bones(hu, radius=radius, x=x, y=y, z=z)
        for shape, value in self.filled:
            hu[canvas.mask_of(shape) & (radius < CAVITY)] = value
        self._paint_columns(hu, x=x, y=y)
        return hu

    def _paint_bones(
        self,
        hu: FloatArray,
        *,
        radius: DoubleArray,
        x: DoubleArray,
        y: DoubleArray,
        z: DoubleArray,
    ) -> None:
        """Ribs: bands in the chest wall that rise toward the back, with gaps between them."""
        slope = z + 0.35 * y
        rib = (radius > 0.86) & (radius < 0.91) & (np.mod(slope, 26.0) < 10.0) & (z > -60.0)
        hu[rib & (np.abs(x) > 18.0)] = 350.0

    def _paint_columns(self, hu: FloatArray, *, x: DoubleArray, y: DoubleArray) -> None:
        """Spine, aorta and vena cava run through all slices."""
        back = 0.66 * self.body_mm[1]
        columns = (
            (0.0, back, 21.0, 230.0),
            (0.0, back + 26.0, 8.0, 30.0),
            (0.0, back + 26.0 + 14.0, 5.0, 400.0),
            (12.0, back - 33.0, 10.5, 165.0),
            (self.cava_x_mm, self.cava_y_mm, 12.0, 150.0),
        )
        for cx, cy, r, value in columns:
            inside = (x - cx) ** 2 + (y - cy) ** 2 <= r * r
            hu[:, inside[0]] = value


SHIFT_MM = 6.0
"""How far an organ's middle may lie from its usual place, along each axis."""


def make_organs(rng: np.random.Generator) -> Organs:
    """Random organs of ordinary size and place; the liver's middle is near z = 0."""
    ellipsoid = partial(_ellipsoid, rng)
    a, b = float(rng.uniform(150, 178)), float(rng.uniform(105, 125))
    lungs = [(ellipsoid((side * 72, 0, 120), (58, 78, 88)), LUNG_HU) for side in (-1, 1)]
    heart = (ellipsoid((15, -35, 105), (45, 40, 32)), float(rng.uniform(120, 170)))
    spleen = (ellipsoid((98, 42, 28), (28, 40, 46)), float(rng.uniform(105, 145)))
    stomach_hu = float(rng.choice([15.0, 30.0, 200.0]))
    stomach = [
        (ellipsoid((68, -28, 15), (40, 36, 48)), stomach_hu),
        (ellipsoid((66, -48, 22), (22, 12, 26)), AIR_HU),
    ]
    kidney_hu = float(rng.uniform(150, 210))
    kidneys = [
        part
        for side in (-1, 1)
        for part in (
            (ellipsoid((side * 60, 56, -62), (25, 27, 50)), kidney_hu),
            (ellipsoid((side * 46, 54, -62), (9, 9, 18)), 15.0),
        )
    ]
    bowel = _bowel(rng)
    gallbladder = (ellipsoid((-38, -38, -42), (13, 15, 26)), 8.0)
    return Organs(
        body_mm=(a, b),
        right_lobe=ellipsoid((-62, 4, 0), (66, 76, 76)),
        left_lobe=ellipsoid((2, -42, 22), (68, 34, 38)),
        filled=(*lungs, heart, *bowel, *stomach, spleen, *kidneys, gallbladder),
        cava_x_mm=float(rng.uniform(-24, -14)),
        cava_y_mm=0.66 * b - 30.0,
    )


def _bowel(rng: np.random.Generator) -> list[tuple[Ellipsoid, float]]:
    """Loops below the liver, filled with fluid, contrast or gas."""
    return [
        (
            _ellipsoid(
                rng,
                (float(rng.uniform(-95, 95)), float(rng.uniform(-70, 10)), float(level)),
                (18, 15, 15),
            ),
            float(rng.choice([25.0, 45.0, -900.0])),
        )
        for level in rng.uniform(-170, -70, 14)
    ]


def _ellipsoid(rng: np.random.Generator, center: Point, semi: Point) -> Ellipsoid:
    """About there and about so large."""
    moved = np.array(center) + rng.uniform(-SHIFT_MM, SHIFT_MM, 3)
    scaled = np.array(semi) * rng.uniform(0.88, 1.12, 3)
    return Ellipsoid(
        (float(moved[0]), float(moved[1]), float(moved[2])),
        (float(scaled[0]), float(scaled[1]), float(scaled[2])),
    )
