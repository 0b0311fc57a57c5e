"""Analytic shapes and the canvas they are drawn on; positions are LPS mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livertumor_cli.arrays import BoolArray, DoubleArray
from livertumor_cli.geometry import Box, Geometry

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid along the patient's axes.

    Attributes:
        center_mm: LPS position.
        semi_axes_mm: Half lengths along left, posterior, superior.
    """

    center_mm: Point
    semi_axes_mm: Point

    @property
    def volume_ml(self) -> float:
        """4/3 pi a b c."""
        a, b, c = self.semi_axes_mm
        return 4.0 / 3.0 * float(np.pi) * a * b * c / 1000.0

    def bounds(self) -> tuple[DoubleArray, DoubleArray]:
        """Lowest and highest LPS corner."""
        center, half = np.array(self.center_mm), np.array(self.semi_axes_mm)
        return center - half, center + half

    def distance(self, x: DoubleArray, y: DoubleArray, z: DoubleArray) -> DoubleArray:
        """Signed pseudo-distance in mm, negative inside; broadcasts x, y, z."""
        (cx, cy, cz), (a, b, c) = self.center_mm, self.semi_axes_mm
        radius = np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2)
        return np.asarray((radius - 1.0) * min(a, b, c))


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight tube with round ends whose radius changes evenly.

    Attributes:
        start_mm: LPS position of one end.
        end_mm: LPS position of the other end.
        radii_mm: Radius at start and end.
    """

    start_mm: Point
    end_mm: Point
    radii_mm: tuple[float, float]

    def bounds(self) -> tuple[DoubleArray, DoubleArray]:
        """Lowest and highest LPS corner."""
        ends = np.array([self.start_mm, self.end_mm])
        radius = max(self.radii_mm)
        return ends.min(axis=0) - radius, ends.max(axis=0) + radius

    def distance(self, x: DoubleArray, y: DoubleArray, z: DoubleArray) -> DoubleArray:
        """Signed distance in mm, negative inside; broadcasts x, y, z."""
        (sx, sy, sz), (ex, ey, ez) = self.start_mm, self.end_mm
        dx, dy, dz = ex - sx, ey - sy, ez - sz
        length2 = max(dx * dx + dy * dy + dz * dz, 1e-9)
        along = np.clip(((x - sx) * dx + (y - sy) * dy + (z - sz) * dz) / length2, 0.0, 1.0)
        radius = self.radii_mm[0] + along * (self.radii_mm[1] - self.radii_mm[0])
        gap2 = (x - sx - along * dx) ** 2 + (y - sy - along * dy) ** 2 + (z - sz - along * dz) ** 2
        return np.asarray(np.sqrt(gap2) - radius)


Shape = Ellipsoid | Tube


@dataclass(frozen=True, slots=True)
class Canvas:
    """The voxel centers of a grid along the patient's axes, as three broadcastable arrays."""

    geometry: Geometry

    def axes(self, box: Box) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """LPS mm of the voxels in a box: x (1, 1, X), y (1, Y, 1), z (Z, 1, 1)."""
        depth, height, width = self.geometry.spacing_mm
        x0, y0, z0 = self.geometry.origin_mm
        x = x0 + width * np.arange(box[2].start, box[2].stop, dtype=np.float64)
        y = y0 + height * np.arange(box[1].start, box[1].stop, dtype=np.float64)
        z = z0 + depth * np.arange(box[0].start, box[0].stop, dtype=np.float64)
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def whole(self) -> Box:
        """The box of all voxels."""
        depth, height, width = self.geometry.shape
        return slice(0, depth), slice(0, height), slice(0, width)

    def box_of(self, shape: Shape) -> Box:
        """The voxels that a shape can touch; may be empty."""
        low, high = shape.bounds()
        first = np.floor(self.geometry.lps_to_index(low)).astype(int)
        last = np.ceil(self.geometry.lps_to_index(high)).astype(int) + 1
        sizes = np.array(self.geometry.shape)
        start, stop = np.clip(first, 0, sizes), np.clip(last, 0, sizes)
        return slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2])

    def draw(self, mask: BoolArray, shape: Shape) -> None:
        """Set the voxels of `mask` whose centers lie inside the shape."""
        box = self.box_of(shape)
        if all(part.stop > part.start for part in box):
            mask[box] |= shape.distance(*self.axes(box)) <= 0

    def mask_of(self, *shapes: Shape) -> BoolArray:
        """The union of shapes, shape (z, y, x)."""
        mask = np.zeros(self.geometry.shape, dtype=np.bool_)
        for shape in shapes:
            self.draw(mask, shape)
        return mask
