"""What derived DICOM objects take from the series they are made of: identity and references.

The headers are read again when they are needed; so volumes carry no identity and no pydicom.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from livertumor_cli.arrays import DoubleArray
from livertumor_cli.errors import ConfigError, InputError, Reason
from livertumor_cli.geometry import POSITION_TOLERANCE_MM, Geometry
from livertumor_cli.io.archive import extracted, is_zip
from livertumor_cli.io.dicom_file import read_dataset
from livertumor_cli.io.dicom_header import Plane
from livertumor_cli.io.dicom_identity import NAMES, identity_of, loss_of, require_identifiers
from livertumor_cli.io.dicom_scan import called, find_files, scan
from livertumor_cli.volume import Source

SAME_PLACE_MM = 0.25
"""Readers even out positions that were rounded to a tenth of a millimeter. Where every slice of the
mask is this near to a source plane, they are these planes."""

_SAME_COSINE = 1e-3


@dataclass(frozen=True, slots=True)
class SourcePlane:
    """The source image that a slice of the mask belongs to.

    Attributes:
        sop_instance_uid: Its file.
        frame_number: From 1 in a multi-frame file, else None.
        position_mm: LPS of the first pixel's center of the mask's slice.
        is_same: Whether the slice has the image's pixels; a resampled slice has others.
    """

    sop_instance_uid: str
    frame_number: int | None
    position_mm: tuple[float, ...]
    is_same: bool


@dataclass(frozen=True, slots=True)
class SourceSeries:
    """A CT series as derived objects refer to it.

    Attributes:
        header: Patient and study attributes, and the UIDs of study, series and frame of reference.
        sop_class_uid: Of all its instances.
        sop_instance_uids: Every instance once, in z order.
        planes: One per z index of the mask.
        lossy: How the images lost information; empty if they did not.
    """

    header: Dataset
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]
    planes: tuple[SourcePlane, ...]
    lossy: Dataset = field(default_factory=Dataset)

    @property
    def is_same_grid(self) -> bool:
        """Whether every slice of the mask has the pixels of a source image."""
        return all(plane.is_same for plane in self.planes)


def read_source(source: Source, geometry: Geometry) -> SourceSeries:
    """Read the headers of the series that a volume came from.

    Args:
        source: Of the volume.
        geometry: Its grid, and so the mask's.

    Raises:
        ConfigError: If it is no DICOM, or lacks an identifier that derived objects must name.
        InputError: If the files cannot be read any more.
    """
    if not source.sop_instance_uids:
        raise ConfigError(
            f"DICOM results need a DICOM scan, and {source.path.name} is none: they name the "
            "patient, study and images of their source.",
            hint="Leave out --dicom, or give the DICOM series of this scan.",
        )
    try:
        planes, first = _read_headers(source)
    except OSError as error:
        raise InputError(
            f"{source.path.name} cannot be read any more: {error.strerror or error}.",
            reason=Reason.UNREADABLE,
        ) from error
    require_identifiers(first)
    is_multi_frame = bool(first.get("NumberOfFrames"))
    sop_class_uid = str(first.get("SOPClassUID") or CTImageStorage)
    matched = _matched(planes, geometry, is_multi_frame=is_multi_frame)
    along = [np.dot(_normal(geometry), plane.position_mm or (0.0, 0.0, 0.0)) for plane in planes]
    in_order = [planes[index].sop_instance_uid for index in np.argsort(along, kind="stable")]
    uids = tuple(dict.fromkeys(in_order))
    lossy = loss_of(first) if any(plane.is_lossy for plane in planes) else Dataset()
    return SourceSeries(identity_of(first), sop_class_uid, uids, matched, lossy)


def _read_headers(source: Source) -> tuple[list[Plane], Dataset]:
    """The planes of the series, and what its first file says of patient and study."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        zipped = source.path.is_file() and is_zip(source.path)
        place = source.path
        if zipped:
            place = stack.enter_context(extracted(source.path, only=source.members))
        planes = _planes_of(source, place)
        return planes, read_dataset(planes[0].path, tags=NAMES)


def _planes_of(source: Source, place: Path) -> list[Plane]:
    """The CT planes of the series; only of the instances that were read, where these are named."""
    wanted = set(source.sop_instance_uids)
    found = [
        plane
        for plane in scan(source.files or find_files(place), name=called(source.path))
        if plane.fault is None
        and plane.series_uid == source.series_uid
        and plane.sop_instance_uid in wanted
        and plane.position_mm is not None
    ]
    if not found or {plane.sop_instance_uid for plane in found} != wanted:
        raise ConfigError(
            "The images of the series do not state who they are, or have changed since they were "
            "read.",
            hint="Leave out --dicom, or export the series again.",
        )
    return found


def _normal(geometry: Geometry) -> DoubleArray:
    return np.cross(geometry.direction[:, 0], geometry.direction[:, 1])


def _matched(
    planes: Sequence[Plane], geometry: Geometry, *, is_multi_frame: bool
) -> tuple[SourcePlane, ...]:
    """For each slice of the grid the source plane it lies on, or else the nearest one."""
    depth = geometry.shape[0]
    firsts = geometry.index_to_lps(np.array([[index, 0.0, 0.0] for index in range(depth)]))
    positions = np.array([plane.position_mm for plane in planes], dtype=np.float64)
    apart = np.linalg.norm(firsts[:, None] - positions, axis=2)
    nearest, apart_mm = apart.argmin(axis=1), apart.min(axis=1)
    has_pixels = np.array([_has_pixels_of(plane, geometry) for plane in planes])[nearest]
    is_same = has_pixels & (apart_mm <= SAME_PLACE_MM)
    if not is_same.all():
        # A resampled grid: its slices stay where they are, and few are a source plane to the point.
        is_same &= apart_mm <= POSITION_TOLERANCE_MM
    along = np.abs((firsts[:, None] - positions) @ _normal(geometry)).argmin(axis=1)
    matched = []
    for index in range(depth):
        chosen = int(nearest[index] if is_same[index] else along[index])
        place = positions[chosen] if is_same[index] else firsts[index]
        frame_number = planes[chosen].frame + 1 if is_multi_frame else None
        uid = planes[chosen].sop_instance_uid
        matched.append(SourcePlane(uid, frame_number, tuple(place.tolist()), bool(is_same[index])))
    return tuple(matched)


def _has_pixels_of(plane: Plane, geometry: Geometry) -> bool:
    """Whether rows, columns, orientation and pixel spacing are those of the grid."""
    if plane.size != geometry.shape[1:] or plane.orientation is None or plane.spacing_mm is None:
        return False
    axes = geometry.direction[:, :2].T.ravel()
    return bool(
        np.abs(np.array(plane.orientation) - axes).max() <= _SAME_COSINE
        and np.allclose(plane.spacing_mm, geometry.spacing_mm[1:], rtol=_SAME_COSINE)
    )
