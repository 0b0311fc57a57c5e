"""A grid seen the way a reader sees it, whatever order and direction its axes are stored in.

Diameters are measured in axial slices, and of several equally long ones the choice must not depend
on how the file is stored. So every measurement first turns the array to the same patient axes:
slices towards the head, rows towards the back, columns towards the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.geometry import Geometry

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class AxialView:
    """How to turn an array on a grid to slices, rows, columns along superior, posterior, left.

    Attributes:
        axes: Stored array axis of the slices, rows and columns.
        is_reversed: Whether slices, rows, columns run against the stored order.
        geometry: Grid of the turned array.
    """

    axes: tuple[int, int, int]
    is_reversed: tuple[bool, bool, bool]
    geometry: Geometry

    @classmethod
    def of(cls, geometry: Geometry) -> AxialView:
        """The view of a grid.

        Args:
            geometry: The stored grid.
        """
        axes = _axes(geometry)
        columns = geometry.affine_lps[:3, [2 - axis for axis in axes]]  # slices, rows, columns
        patient = (columns[2, 0], columns[1, 1], columns[0, 2])
        is_reversed = tuple(bool(component < 0) for component in patient)
        start = np.zeros(3)
        for axis, flip in zip(axes, is_reversed, strict=True):
            start[axis] = geometry.shape[axis] - 1 if flip else 0
        signs = np.where(is_reversed, -1.0, 1.0)
        affine = np.eye(4)
        affine[:3, :3] = (columns * signs)[:, ::-1]
        affine[:3, 3] = geometry.index_to_lps(start)
        shape = tuple(geometry.shape[axis] for axis in axes)
        turned = Geometry((shape[0], shape[1], shape[2]), affine)
        return cls(axes, (is_reversed[0], is_reversed[1], is_reversed[2]), turned)

    def turn(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """The array with axes slices, rows, columns; a contiguous copy.

        Args:
            array: Shape of the stored grid (z, y, x).
        """
        return np.ascontiguousarray(self.show(array))

    def show(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """The same without a copy: for the few slices that a picture needs.

        Args:
            array: Shape of the stored grid (z, y, x).
        """
        steps = tuple(slice(None, None, -1 if flip else None) for flip in self.is_reversed)
        return array.transpose(self.axes)[steps]

    def stored_slice(self, slice_index: int) -> int:
        """Index along the stored axial axis of a slice of the turned array.

        Args:
            slice_index: Slice of the turned array.
        """
        if self.is_reversed[0]:
            return self.geometry.shape[0] - 1 - slice_index
        return slice_index

    def shown_slice(self, slice_index: int) -> int:
        """Slice of the turned array from an index along the stored axial axis.

        Args:
            slice_index: As `stored_slice` gives it.
        """
        return self.stored_slice(slice_index)  # a mirror is its own inverse


def axial_axis(geometry: Geometry) -> int:
    """The stored array axis (0 z, 1 y, 2 x) that runs closest to the patient's head-foot direction.

    Args:
        geometry: The stored grid.
    """
    return _axes(geometry)[0]


def _axes(geometry: Geometry) -> tuple[int, int, int]:
    """Stored axes closest to superior, then posterior, then what is left."""
    towards = np.abs(geometry.direction[:, ::-1])  # rows L, P, S; columns z, y, x
    slices = int(towards[2].argmax())
    rest = [axis for axis in range(3) if axis != slices]
    rows = max(rest, key=lambda axis: towards[1, axis])
    columns = rest[0] if rows == rest[1] else rest[1]
    return slices, rows, columns
