"""Label maps that a person drew or corrected, on the grid of their scan; nothing is resampled.

3D Slicer saves a label map cropped to what is labeled, other programs turn or mirror the axes. Such
a mask still has the scan's voxels, so each voxel is put where it belongs. A mask whose voxels lie
between those of the scan is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from livertumor_cli.anatomy import SEGMENT_CLASSES, Label
from livertumor_cli.arrays import LabelArray
from livertumor_cli.errors import (
    EmptyMaskError,
    GeometryError,
    InputError,
    Reason,
    UnsupportedFormatError,
)
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_file import is_dicom
from livertumor_cli.io.itk import require_text_path
from livertumor_cli.io.itk_voxels import read_text_header, require_whole_voxels
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.io.place import require_there
from livertumor_cli.io.slicer_seg import has_segments, segment_labels
from livertumor_cli.volume import LabelMap, text_name

TOLERANCE_VOXELS = 0.1
"""How far voxel centers of mask and scan may lie apart: programs round positions and angles."""

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
_PART = (
    "{name} covers {percent:.1f} % of the scan's voxels: the rest counts as background. Check that "
    "the mask is whole and lies where it was drawn."
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a file of labels is meant to show.

    Attributes:
        name: For messages.
        values: What its values mean, for hints.
        highest: The largest of them.
        has_names: Whether files whose segments have names are read by these.
    """

    name: str
    values: str
    highest: int
    has_names: bool

    @property
    def hint(self) -> str:
        return f"Save it as label map (.nii.gz, .nrrd): {self.values}."

    def refused(
        self, path: Path, why: str, *, reason: Reason = Reason.UNSUPPORTED_FORMAT
    ) -> UnsupportedFormatError:
        return UnsupportedFormatError(
            f"{path.name} is no {self.name}: {why}.", reason=reason, hint=self.hint
        )


_MASK = _Kind(
    "mask of liver and tumors",
    "0 background, 1 liver, 2 tumor, 3 vessel",
    highest=max(Label),
    has_names=True,
)
_SEGMENTS = _Kind(
    "map of Couinaud segments",
    "0 none, 1 to 8 the segments I to VIII",
    highest=len(SEGMENT_CLASSES),
    has_names=False,
)


@dataclass(frozen=True, slots=True)
class PlacedMask:
    """Labels from a file on the grid of its scan.

    Attributes:
        label_map: The labels, 0 where the file has no voxel.
        note: What a reader must know about it, as a sentence; empty without anything.
    """

    label_map: LabelMap
    note: str = ""


def read_mask(path: Path, *, scan: Geometry) -> PlacedMask:
    """Read labels onto the grid of a scan.

    Args:
        path: .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd with the values of `anatomy.Label`, or a
            segmentation of 3D Slicer (.seg.nrrd) or DICOM with named segments.
        scan: The grid of the scan that it was drawn on.

    Raises:
        InputError: If the file is no such mask, has other values, no voxel, or another grid.
    """
    return _read_placed(path, _MASK, scan=scan)


def read_segments(path: Path, *, scan: Geometry) -> PlacedMask:
    """Read a map of the Couinaud segments onto the grid of a scan.

    Args:
        path: .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd with the values 1 to 8; what segments are
            called is not read.
        scan: The grid of the scan that it was drawn on.

    Raises:
        InputError: If the file is no such map, has other values, no voxel, or another grid.
    """
    return _read_placed(path, _SEGMENTS, scan=scan)


def _read_placed(path: Path, kind: _Kind, *, scan: Geometry) -> PlacedMask:
    name = path.name.lower()
    omits_slices = False
    require_there(path)
    if path.is_dir():
        raise kind.refused(path, "it is a folder")
    if name.endswith(_NIFTI):
        mask = read_label_map(path)
    elif name.endswith(_ITK):
        mask = _read_itk(path, kind)
    elif kind.has_names and is_dicom(path):
        # highdicom takes its time to import.
        from livertumor_cli.io.dicom_seg_in import read_segmentation

        mask = read_segmentation(path)
        omits_slices = True
    else:
        raise kind.refused(path, "its format is not read")
    _require_labels(np.asarray(mask.labels), path, kind)
    labels, shares = _placed(mask, scan, path=path)
    # In a DICOM Segmentation a slice without a frame is one where nothing was found.
    covered = float(np.prod(shares[1:] if omits_slices else shares))
    note = "" if covered == 1 else _PART.format(name=text_name(path), percent=100 * covered)
    return PlacedMask(LabelMap(labels, scan), note)


def _read_itk(path: Path, kind: _Kind) -> LabelMap:
    require_text_path(path)
    read_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        require_whole_voxels(path, reader)
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"{path.name} cannot be read.", reason=Reason.UNREADABLE, hint=kind.hint
        ) from error
    if image.GetDimension() != 3:
        raise kind.refused(path, "it has not three axes", reason=Reason.FOUR_DIMENSIONAL)
    labels = _itk_labels(image, path, kind)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    depth, height, width = labels.shape
    return LabelMap(labels, Geometry((depth, height, width), affine))


def _itk_labels(image: sitk.Image, path: Path, kind: _Kind) -> LabelArray:
    """By what its segments are called, or the voxels of an image that is a label map by itself."""
    if has_segments(image):
        if not kind.has_names:
            raise kind.refused(path, "its values count its segments, whatever they are called")
        return segment_labels(image, file_name=path.name)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise kind.refused(path, "it holds several layers", reason=Reason.FOUR_DIMENSIONAL)
    stored: NDArray[Any] = sitk.GetArrayFromImage(image)
    labels = stored.astype(np.uint8)
    if not np.array_equal(labels, stored):
        raise kind.refused(path, "its values are not whole numbers from 0 to 255")
    return labels


def _require_labels(labels: NDArray[Any], path: Path, kind: _Kind) -> None:
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=1)).tolist()
    foreign = [str(value) for value in values if value > kind.highest]
    if foreign:
        raise kind.refused(path, f"it has the values {', '.join(foreign[:5])}")
    if values in ([], [0]):
        raise EmptyMaskError(f"{path.name} has no labeled voxel.", hint=kind.hint)


def _placed(
    mask: LabelMap, scan: Geometry, *, path: Path
) -> tuple[LabelArray, NDArray[np.float64]]:
    """The labels on the scan's grid, and how much of the scan the mask's axes z, y, x span.

    Raises:
        GeometryError: If voxels lie between those of the scan, or labeled ones outside it.
    """
    affine = np.linalg.inv(scan.affine_lps) @ mask.geometry.affine_lps
    steps, start = np.rint(affine[:3, :3]), np.rint(affine[:3, 3])
    is_turn = (
        np.array_equal(np.abs(steps).sum(axis=0), [1, 1, 1]) and abs(np.linalg.det(steps)) == 1
    )
    apart = affine[:3, :3] - steps
    # The error grows linearly: it is largest at a corner.
    corners = np.array(mask.geometry.shape[::-1]) - 1
    worst = np.abs(affine[:3, 3] - start) + np.abs(apart) @ corners
    if not is_turn or worst.max() > TOLERANCE_VOXELS:
        raise _other_grid(mask.geometry, scan, path=path)
    axes = np.abs(steps).argmax(axis=1)  # the mask's axis along each of the scan's, x y z
    turned = np.asarray(mask.labels).transpose().transpose(axes)
    for axis in range(3):
        if steps[axis, axes[axis]] < 0:
            turned = np.flip(turned, axis)
            start[axis] -= turned.shape[axis] - 1
    labels = np.zeros(scan.shape[::-1], dtype=np.uint8)
    into, part = [], []
    for first, size, whole in zip(start.astype(int), turned.shape, labels.shape, strict=True):
        low, high = max(0, first), min(whole, first + size)
        into.append(slice(low, max(low, high)))
        part.append(slice(low - first, max(low, high) - first))
    labels[tuple(into)] = turned[tuple(part)]
    if np.count_nonzero(labels) != np.count_nonzero(turned):
        raise _other_grid(mask.geometry, scan, path=path)
    spans = np.array(turned[tuple(part)].shape) / labels.shape
    shares = np.empty(3)
    shares[axes] = spans
    return np.ascontiguousarray(labels.transpose()), shares[::-1]


def _other_grid(mask: Geometry, scan: Geometry, *, path: Path) -> GeometryError:
    sizes = " and ".join(
        f"{grid.shape} at {tuple(round(size, 3) for size in grid.spacing_mm)} mm"
        for grid in (mask, scan)
    )
    starts = " and ".join(
        str(tuple(round(float(part), 2) + 0.0 for part in grid.affine_lps[:3, 3]))
        for grid in (mask, scan)
    )
    return GeometryError(
        f"{path.name} and the scan lie on different grids: {sizes} (z, y, x), "
        f"first voxels at {starts} mm (LPS).",
        reason=Reason.GRIDS_DIFFER,
        hint="Draw and save it on this scan as reference; nothing is resampled here.",
    )
