"""A trunk of simple shapes with organs of known density, for the tests of the contrast phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livertumor_cli.arrays import LabelArray
from livertumor_cli.geometry import Geometry
from livertumor_cli.phantom.shapes import Canvas, Ellipsoid

FAT_HU, MUSCLE_HU, WATER_HU = -100, 55, 10
SHAPE = (80, 120, 170)
GEOMETRY = Geometry.from_spacing(SHAPE, spacing_mm=(2.5, 2.0, 2.0), origin_mm=(-170, -120, -100))


@dataclass(frozen=True)
class Body:
    """Densities in HU; what is None is not there."""

    liver: float = 105.0
    aorta: float | None = 150.0
    spleen: float | None = 115.0
    cava: float | None = 140.0
    kidney: float = 180.0
    has_spine: bool = True
    noise: float = 10.0
    aorta_radius_mm: float = 10.0

    def scan(self) -> tuple[np.ndarray, LabelArray]:
        """HU (int16) and labels on GEOMETRY: fat in a wall of muscle, ribs, organs."""
        canvas = Canvas(GEOMETRY)
        x, y, z = canvas.axes(canvas.whole())
        radius = np.broadcast_to(np.sqrt((x / 155) ** 2 + (y / 110) ** 2), SHAPE)
        hu = np.full(SHAPE, -1000.0)
        hu[radius < 1] = FAT_HU
        hu[(radius < 0.93) & (radius > 0.84)] = MUSCLE_HU
        rib = (np.mod(z + 0.4 * y, 28) < 10) & (radius > 0.86) & (radius < 0.91)
        hu[rib & (np.abs(x) > 40)] = 350
        for side in (-1, 1):  # muscles of the back
            self._column(hu, x - side * 35, y - 90, radius_mm=22, value=MUSCLE_HU)
        if self.has_spine:
            self._column(hu, x, y - 45, radius_mm=21, value=350)
            self._column(hu, x, y - 45, radius_mm=18, value=160)
            self._column(hu, x, y - 74, radius_mm=12, value=400)
            self._column(hu, x, y - 72, radius_mm=8, value=30)
        for place, value in self._organs():
            hu[canvas.mask_of(place)] = value
        if self.aorta is not None:
            self._column(hu, x - 10, y - 12, radius_mm=self.aorta_radius_mm, value=self.aorta)
        if self.cava is not None:
            self._column(hu, x + 22, y - 14, radius_mm=12, value=self.cava)
        liver = canvas.mask_of(Ellipsoid((-75, 0, 0), (55, 65, 75)))
        hu[liver] = self.liver
        noise = np.random.default_rng(0).normal(0, self.noise, SHAPE)
        return np.rint(hu + noise).astype(np.int16), liver.astype(np.uint8)

    @staticmethod
    def _column(hu, x, y, *, radius_mm: float, value: float) -> None:
        hu[:, (x**2 + y**2 <= radius_mm**2)[0]] = value

    def _organs(self):
        yield Ellipsoid((60, -40, 20), (40, 30, 50)), WATER_HU  # stomach
        yield Ellipsoid((62, 45, -75), (26, 26, 50)), self.kidney
        if self.spleen is not None:
            yield Ellipsoid((100, 25, 25), (30, 38, 48)), self.spleen


PORTAL = Body()
NATIVE = Body(liver=60, aorta=42, spleen=48, cava=42, kidney=32)
ARTERIAL = Body(liver=68, aorta=320, spleen=125, cava=80, kidney=170)
DELAYED = Body(liver=92, aorta=98, spleen=90, cava=98, kidney=160)
