"""One voxel grid in the patient, and the tolerances that decide when two are the same.

Arrays are indexed z, y, x; the affine maps the index (x, y, z) to the position of the voxel's
center in LPS millimeters (left, posterior, superior grow), as DICOM and ITK define it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from livertumor_cli.arrays import BoolArray, DoubleArray, InstanceArray, LabelArray

POSITION_TOLERANCE_MM = 0.01
"""Two grids are the same when every corner agrees within this: far below a voxel, above float32."""

ORTHOGONALITY_TOLERANCE = 1e-3
"""Largest cosine between two axes of a grid that still counts as rectangular (0.06 degrees): the
rounding of 6-digit direction cosines passes, a gantry tilt of a tenth of a degree does not."""

Spacing: TypeAlias = tuple[float, float, float]
Box: TypeAlias = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A grid of voxels in the patient.

    Attributes:
        shape: Number of voxels along z, y, x.
        affine_lps: 4x4, index (x, y, z, 1) to LPS mm of the voxel's center.

    Raises:
        ValueError: If the affine is not finite and invertible, or a size not positive.
    """

    shape: tuple[int, int, int]
    affine_lps: DoubleArray

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine_lps, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("affine_lps must be a finite 4x4 matrix")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise ValueError("affine_lps is singular")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be three positive sizes, not {self.shape}")
        affine = affine.copy()
        affine.flags.writeable = False
        object.__setattr__(self, "affine_lps", affine)
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))

    @classmethod
    def from_spacing(
        cls,
        shape: tuple[int, int, int],
        *,
        spacing_mm: Spacing,
        origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Geometry:
        """A grid along the patient's axes: x to the left, y to the back, z to the head.

        Args:
            shape: Voxels along z, y, x.
            spacing_mm: Voxel size along z, y, x.
            origin_mm: LPS position of the first voxel's center.
        """
        affine = np.diag([spacing_mm[2], spacing_mm[1], spacing_mm[0], 1.0])
        affine[:3, 3] = origin_mm
        return cls(shape, affine)

    @cached_property
    def spacing_mm(self) -> Spacing:
        """Distance of neighboring voxel centers along z, y, x."""
        x, y, z = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @cached_property
    def direction(self) -> DoubleArray:
        """3x3, columns are the unit vectors of the x, y, z index axes in LPS."""
        matrix: DoubleArray = self.affine_lps[:3, :3]
        return np.asarray(matrix / np.linalg.norm(matrix, axis=0))

    @property
    def origin_mm(self) -> DoubleArray:
        """LPS position of the first voxel's center."""
        origin: DoubleArray = self.affine_lps[:3, 3]
        return origin

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel: the determinant, which also holds for sheared grids."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    @property
    def is_rectangular(self) -> bool:
        """Whether the three axes stand at right angles, within ORTHOGONALITY_TOLERANCE."""
        gram = self.direction.T @ self.direction
        return bool(np.abs(gram - np.eye(3)).max() <= ORTHOGONALITY_TOLERANCE)

    def index_to_lps(self, zyx: DoubleArray) -> DoubleArray:
        """LPS mm of (fractional) indices z, y, x; shape (..., 3) in and out."""
        xyz = np.asarray(zyx, dtype=np.float64)[..., ::-1]
        return np.asarray(xyz @ self.affine_lps[:3, :3].T + self.affine_lps[:3, 3])

    def lps_to_index(self, lps_mm: DoubleArray) -> DoubleArray:
        """Fractional indices z, y, x of LPS positions; shape (..., 3) in and out."""
        inverse = np.linalg.inv(self.affine_lps[:3, :3])
        xyz = (np.asarray(lps_mm, dtype=np.float64) - self.affine_lps[:3, 3]) @ inverse.T
        return np.asarray(xyz[..., ::-1])

    def corners_lps(self) -> DoubleArray:
        """LPS mm of the eight corner voxels' centers, shape (8, 3)."""
        last = np.array(self.shape, dtype=np.float64) - 1
        grid = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
        return self.index_to_lps(grid * last)

    def is_same_grid(self, other: Geometry, *, tolerance_mm: float = POSITION_TOLERANCE_MM) -> bool:
        """Whether both grids have the same shape and every corner at the same place."""
        if self.shape != other.shape:
            return False
        return bool(np.abs(self.corners_lps() - other.corners_lps()).max() <= tolerance_mm)

    def cropped(self, box: Box) -> Geometry:
        """The grid of `array[box]`: slices with non-negative start, stop, and step 1."""
        start = np.array([part.start for part in box], dtype=np.float64)
        shape = tuple(part.stop - part.start for part in box)
        affine = self.affine_lps.copy()
        affine[:3, 3] = self.index_to_lps(start)
        return Geometry((shape[0], shape[1], shape[2]), affine)

    def grown(self, voxels: tuple[int, int, int]) -> Geometry:
        """The grid with so many voxels more at both ends of z, y, x."""
        affine = self.affine_lps.copy()
        affine[:3, 3] = self.index_to_lps(-np.array(voxels, dtype=np.float64))
        depth, height, width = (
            size + 2 * more for size, more in zip(self.shape, voxels, strict=True)
        )
        return Geometry((depth, height, width), affine)

    def respaced(self, spacing_mm: Spacing) -> Geometry:
        """The smallest grid of another voxel size that covers this one, on its axes and center."""
        have, want = np.array(self.spacing_mm), np.array(spacing_mm)
        depth, height, width = (
            # A hair below a whole number is that number: 360.0000001 mm in 3 mm steps are 120.
            max(1, math.ceil(voxels - 1e-3))
            for voxels in self.shape * have / want
        )
        affine = np.eye(4)
        affine[:3, :3] = self.direction * want[::-1]
        middle = self.index_to_lps((np.array(self.shape) - 1) / 2)
        affine[:3, 3] = middle - affine[:3, :3] @ ((np.array([width, height, depth]) - 1) / 2)
        return Geometry((depth, height, width), affine)

    def axis_codes(self) -> str:
        """Where the z, y, x index axes mostly point, such as 'SPL' for an ordinary axial scan."""
        letters = [("L", "R"), ("P", "A"), ("S", "I")]
        codes = ""
        for column in self.direction.T[::-1]:
            axis = int(np.abs(column).argmax())
            codes += letters[axis][0 if column[axis] > 0 else 1]
        return codes


def bounding_box(mask: BoolArray | LabelArray | InstanceArray) -> Box | None:
    """The smallest box that holds every set voxel; None for an empty mask.

    Args:
        mask: Shape (z, y, x); of labels, all but 0 are set.
    """
    plane: BoolArray = np.any(mask, axis=0)
    if not plane.any():
        return None
    z, y, x = np.any(mask, axis=(1, 2)), plane.any(axis=1), plane.any(axis=0)
    extents = [np.flatnonzero(line)[[0, -1]] for line in (z, y, x)]
    z_part, y_part, x_part = (slice(int(first), int(last) + 1) for first, last in extents)
    return z_part, y_part, x_part


def box_of(mask: BoolArray) -> Box:
    """The smallest box that holds every set voxel.

    Args:
        mask: Shape (z, y, x).

    Raises:
        ValueError: If no voxel is set.
    """
    box = bounding_box(mask)
    if box is None:
        raise ValueError("a mask without a voxel has no box")
    return box


def box_holding(
    geometry: Geometry, points_lps: DoubleArray, *, least: tuple[int, int, int] = (1, 1, 1)
) -> Box:
    """The smallest box of a grid that holds points, as far as the grid reaches.

    Args:
        geometry: The grid.
        points_lps: LPS mm, shape (n, 3).
        least: Voxels along z, y, x that the box has at least, where the grid has them.
    """
    indices = geometry.lps_to_index(points_lps)
    first = np.floor(indices.min(axis=0) + 1e-6).astype(int)
    stop = np.ceil(indices.max(axis=0) - 1e-6).astype(int) + 1
    z, y, x = (
        _span(int(start), int(end), size=size, least=min(few, size))
        for start, end, size, few in zip(first, stop, geometry.shape, least, strict=True)
    )
    return z, y, x


def _span(start: int, stop: int, *, size: int, least: int) -> slice:
    """A range widened to `least` voxels around its middle and moved inside 0..size."""
    missing = max(0, least - (stop - start))
    start = min(max(start - missing // 2, 0), size - least)
    stop = max(min(stop + missing - missing // 2, size), start + least)
    return slice(start, stop)
