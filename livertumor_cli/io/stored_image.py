"""An image on disk as ITK reads it, in parts: read whole, it is in memory twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import DoubleArray
from livertumor_cli.geometry import Box

if TYPE_CHECKING:
    import SimpleITK as sitk


class StoredImage:
    """A file of one three-dimensional image; only its header is read at first.

    Args:
        path: The file.

    Raises:
        RuntimeError: Here or when a part is read, if ITK cannot read it.
    """

    def __init__(self, path: Path) -> None:
        # Here: it takes 100 MB, which are better had when the networks are done.
        import SimpleITK as sitk

        self._reader = sitk.ImageFileReader()
        self._reader.SetFileName(str(path))
        self._reader.ReadImageInformation()
        self._grid = sitk.Image([1] * self._reader.GetDimension(), sitk.sitkUInt8)
        self._grid.SetOrigin(self._reader.GetOrigin())
        self._grid.SetSpacing(self._reader.GetSpacing())
        self._grid.SetDirection(self._reader.GetDirection())

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the axes, z first."""
        return tuple(reversed(self._reader.GetSize()))

    def corners_lps(self) -> DoubleArray:
        """LPS mm of the corner voxels, in the order of `Geometry.corners_lps`."""
        x, y, z = (size - 1 for size in self._reader.GetSize())
        indices = [(i, j, k) for k in (0, z) for j in (0, y) for i in (0, x)]
        return np.array([self._grid.TransformIndexToPhysicalPoint(index) for index in indices])

    def part(self, box: Box) -> sitk.Image:
        """The image inside a box, at its place in the patient."""
        self._reader.SetExtractIndex([side.start for side in reversed(box)])
        self._reader.SetExtractSize([side.stop - side.start for side in reversed(box)])
        return self._reader.Execute()

    def holds(self, array: NDArray[Any], box: Box) -> bool:
        """Whether the voxels in a box are those of an array.

        Args:
            array: Shape of the box.
            box: Where.
        """
        import SimpleITK as sitk

        part = self.part(box)
        pairs = zip(sitk.GetArrayViewFromImage(part), array, strict=True)
        return all(np.array_equal(found, expected) for found, expected in pairs)
