"""Label maps that people hand in: NIfTI files of whole numbers from 0 to 255."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from livertumor_cli.arrays import LabelArray
from livertumor_cli.errors import GeometryError, PixelError, Reason, UnsupportedFormatError
from livertumor_cli.geometry import Geometry
from livertumor_cli.volume import LabelMap

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_label_map(path: Path) -> LabelMap:
    """Read a label map from .nii or .nii.gz on its own grid; nothing is resampled.

    Args:
        path: The file.

    Raises:
        InputError: If the file is not a three-dimensional NIfTI image, its grid is not regular, or
            it holds other values than whole numbers from 0 to 255.
    """
    try:
        image: Any = nib.load(path)
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        raise _not_a_label_map(path, "it is not a readable NIfTI file") from error
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise _not_a_label_map(path, f"it has {len(shape)} axes", reason=Reason.FOUR_DIMENSIONAL)
    x, y, z = shape
    try:
        geometry = Geometry((z, y, x), _RAS_TO_LPS @ image.affine)
    except (TypeError, ValueError) as error:
        raise GeometryError(
            f"{path} does not say where its voxels lie: {error}.",
            reason=Reason.NO_POSITIONS,
            hint="Save the label map again with the geometry of its scan.",
        ) from error
    return LabelMap(_labels(image, path).reshape(shape).transpose(), geometry)


def _labels(image: Any, path: Path) -> LabelArray:
    """The voxels as uint8, axes x, y, z."""
    try:
        stored: NDArray[Any] = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise PixelError(
            f"{path} is cut off or damaged: its voxels cannot be read.",
            reason=Reason.TRUNCATED,
            hint="Copy the file again from where it came.",
        ) from error
    if stored.dtype.kind not in "biuf":
        raise _not_a_label_map(path, f"its voxels are of type {stored.dtype}")
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise _not_a_label_map(path, "it holds values that are not finite")
    if stored.min() < 0 or stored.max() > 255:
        raise _not_a_label_map(path, f"its values run from {stored.min():g} to {stored.max():g}")
    labels = stored.astype(np.uint8)
    if stored.dtype.kind == "f" and not np.array_equal(labels, stored):
        raise _not_a_label_map(path, "it holds values that are not whole numbers")
    return labels


def _not_a_label_map(
    path: Path, why: str, *, reason: Reason = Reason.UNSUPPORTED_FORMAT
) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        f"{path} is no label map: {why}.",
        reason=reason,
        hint="Save it as .nii or .nii.gz with a whole number from 0 to 255 in each voxel.",
    )
