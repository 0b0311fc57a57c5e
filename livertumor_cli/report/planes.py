"""Cross-sections and projections of a scan as readers hang them: the patient faces the reader.

Axial pictures are seen from the feet, coronal ones from the front, sagittal ones from the patient's
left. Whatever order the axes are stored in, rows and columns here follow the patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import DoubleArray, HuArray, InstanceArray, LabelArray
from livertumor_cli.axial import AxialView
from livertumor_cli.volume import LabelMap, Volume

MARGIN_MM = 15.0
"""What is shown around the liver in a projection."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One picture before it is drawn.

    Attributes:
        hu: Shape (rows, columns).
        labels: `anatomy.Label` values, same shape.
        lesions: Lesion numbers, same shape.
        step_mm: Height and width of a pixel.
        marks: Patient directions at the left, right, top and bottom edge.
    """

    hu: HuArray
    labels: LabelArray
    lesions: InstanceArray
    step_mm: tuple[float, float]
    marks: tuple[str, str, str, str]


class Hanging:
    """A segmented scan turned to the patient's axes; nothing is copied.

    Args:
        volume: The scan.
        mask: `anatomy.Label` values on its grid.
        lesions: Lesion numbers on its grid.
    """

    def __init__(self, volume: Volume, mask: LabelMap, lesions: LabelMap) -> None:
        self.view = AxialView.of(volume.geometry)
        self.hu: NDArray[Any] = self.view.show(volume.hu)
        self.labels: NDArray[Any] = self.view.show(mask.labels)
        self.lesions: NDArray[Any] = self.view.show(lesions.labels)
        self.spacing_mm = self.view.geometry.spacing_mm

    def index_of(self, lps_mm: DoubleArray) -> DoubleArray:
        """Slice, row and column of positions in LPS mm; shape (..., 3) in and out."""
        return self.view.geometry.lps_to_index(lps_mm)

    def nearest(self, lps_mm: tuple[float, float, float]) -> tuple[int, int, int]:
        """The voxel at a position: slice, row, column."""
        index = np.rint(self.index_of(np.array(lps_mm))).astype(int)
        z, y, x = np.clip(index, 0, np.array(self.hu.shape) - 1).tolist()
        return z, y, x

    def axial(self, slice_index: int) -> Plane:
        """A slice seen from the feet."""
        return self._plane((slice_index,), (1, 2), "RLAP")

    def coronal(self, row: int) -> Plane:
        """A section seen from the front."""
        return self._plane((slice(None, None, -1), row), (0, 2), "RLSI")

    def sagittal(self, column: int) -> Plane:
        """A section seen from the patient's left."""
        return self._plane((slice(None, None, -1), slice(None), column), (0, 1), "APSI")

    def _plane(self, part: tuple[Any, ...], axes: tuple[int, int], marks: str) -> Plane:
        left, right, top, bottom = tuple(marks)
        return Plane(
            np.ascontiguousarray(self.hu[part]),
            np.ascontiguousarray(self.labels[part]),
            np.ascontiguousarray(self.lesions[part]),
            (self.spacing_mm[axes[0]], self.spacing_mm[axes[1]]),
            (left, right, top, bottom),
        )

    @cached_property
    def liver_box(self) -> tuple[slice, slice, slice] | None:
        """Slices, rows and columns that hold every labeled voxel, with a margin."""
        found = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            used = np.flatnonzero(self.labels.any(axis=others))
            if not used.size:
                return None
            more = round(MARGIN_MM / self.spacing_mm[axis])
            found.append(slice(max(0, int(used[0]) - more), int(used[-1]) + 1 + more))
        return found[0], found[1], found[2]

    def projected(self, axis: int) -> tuple[Plane, tuple[slice, slice, slice]]:
        """The liver's brightest voxels along rows (1: from the front) or slices (0: from below).

        Tumors and vessels show through: the label of a pixel is tumor where any voxel behind it is,
        else vessel, else liver. Outside the liver all is black.

        Returns:
            The picture and the part of the scan it shows.

        Raises:
            ValueError: Without a liver.
        """
        box = self.liver_box
        if box is None:
            raise ValueError("no liver to project")
        labels = self.labels[box]
        hu = np.where(labels > 0, self.hu[box], np.array(-1024, dtype=self.hu.dtype)).max(axis=axis)
        shown = np.zeros(hu.shape, dtype=np.uint8)
        for label in (1, 3, 2):
            shown[(labels == label).any(axis=axis)] = label
        lesions = np.where(shown == 2, self.lesions[box].max(axis=axis), 0).astype(np.uint16)
        planes: list[NDArray[Any]] = [hu, shown, lesions]
        if axis == 1:
            planes = [np.ascontiguousarray(part[::-1]) for part in planes]
        rows = 0 if axis == 1 else 1
        marks = ("R", "L", "S", "I") if axis == 1 else ("R", "L", "A", "P")
        step_mm = (self.spacing_mm[rows], self.spacing_mm[2])
        return Plane(planes[0], planes[1], planes[2], step_mm, marks), box
