"""Read a written image again with another library and compare it with what should stand there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import BoolArray, DoubleArray
from livertumor_cli.errors import OutputError, PixelError
from livertumor_cli.geometry import Box, Geometry, bounding_box
from livertumor_cli.io.gzip_stream import inflating, is_gzip_name
from livertumor_cli.io.hounsfield import slabs
from livertumor_cli.io.stored_image import StoredImage
from livertumor_cli.process_memory import is_out_of_memory
from livertumor_cli.volume import LabelMap, Volume

PLACE_TOLERANCE_MM = 0.05
"""float32 affines and quaternions cost some hundredths of a millimeter at the far corner."""

MOST_LABEL = 2**16 - 1
"""Label maps hold 8 or 16 bits."""

_UNREADABLE = "it cannot be read"
_TOO_LITTLE_MEMORY = "memory does not suffice to read it"


def verify_written(path: Path, label_map: LabelMap) -> None:
    """Compare a label map on disk with the one in memory: grid, voxels, centroid, volume and box.

    ITK reads the labeled part of the file, which nibabel's header code wrote: an error of either
    would have to be made by both to pass. That nothing stands elsewhere is seen in the bytes: read
    whole by ITK, a long scan's mask would be in memory twice more.

    Args:
        path: The file just written.
        label_map: What it must hold.

    Raises:
        OutputError: If anything differs; the file is removed then.
    """
    labels, geometry = label_map.labels, label_map.geometry
    box = bounding_box(labels)

    def fault() -> str:
        differs = _difference(path, labels, geometry, box=box)
        return differs or ("" if box is None else _misplaced(path, label_map, box))

    _require_none(fault, path)


def verify_volume(path: Path, volume: Volume) -> None:
    """Compare a CT on disk with the one in memory: grid and voxels.

    Args:
        path: The file just written.
        volume: What it must hold.

    Raises:
        OutputError: If anything differs; the file is removed then.
    """
    z, y, x = (slice(0, size) for size in volume.hu.shape)
    _require_none(lambda: _difference(path, volume.hu, volume.geometry, box=(z, y, x)), path)


def _require_none(fault: Callable[[], str], path: Path) -> None:
    """Remove a file of which something is to be said, and raise what that is.

    Args:
        fault: Looks at the file; empty if nothing is.
        path: The file.

    Raises:
        OutputError: With the fault.
    """
    try:
        found = fault()
    except MemoryError:
        found = _TOO_LITTLE_MEMORY
    except RuntimeError as error:  # of ITK
        found = _TOO_LITTLE_MEMORY if is_out_of_memory(error) else _UNREADABLE
    except (OSError, PixelError):
        found = _UNREADABLE
    if found:
        with suppress(OSError):  # there is more to say than that it is still there
            path.unlink(missing_ok=True)
        raise OutputError(
            f"{path} did not read back as written ({found}) and was removed.",
            hint="Check the disk and write to another folder.",
        )


def _difference(path: Path, array: NDArray[Any], geometry: Geometry, *, box: Box | None) -> str:
    """How size, grid or voxels of the image on disk differ; empty if they do not.

    Args:
        path: The file.
        array: What it must hold, shape (z, y, x).
        geometry: And where.
        box: What ITK reads.
    """
    stored = StoredImage(path)
    if stored.shape != array.shape:
        return "the size differs"
    if _off(stored.corners_lps(), geometry.corners_lps()):
        return "the grid differs"
    if box is not None and not stored.holds(array[box], box):
        return "voxels differ"
    with _unpacked(path) as stream:
        return _bytes_differ(stream, array, geometry)


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as raw:
        if not is_gzip_name(path):
            yield raw
            return
        with inflating(raw, name=path.name) as stream:
            yield stream


def _bytes_differ(stream: BinaryIO, array: NDArray[Any], geometry: Geometry) -> str:
    """The same of all bytes, to the end: for ITK what is missing there is 0."""
    # Here: nibabel takes its time, and DICOM is read without it.
    from livertumor_cli.io.nifti import leading_bytes

    leading = leading_bytes(array.dtype, geometry)
    if stream.read(len(leading)) != leading:
        return "the header differs"
    for part in slabs(array):
        expected = array[part].tobytes()
        found = stream.read(len(expected))
        if found != expected:
            return "its end is missing" if expected.startswith(found) else "voxels differ"
    return "something follows its voxels" if stream.read(1) else ""


def _off(one: DoubleArray, other: DoubleArray) -> bool:
    return bool(np.abs(one - other).max() > PLACE_TOLERANCE_MM)


def _misplaced(path: Path, label_map: LabelMap, box: Box) -> str:
    """What differs of the labeled part's centroid, box and volume; empty if nothing does."""
    import SimpleITK as sitk

    mask, geometry = label_map.labels[box] > 0, label_map.geometry.cropped(box)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()  # not asked for, and takes five times as long as all else
    part = StoredImage(path).part(box)
    statistics.Execute(sitk.BinaryThreshold(part, lowerThreshold=1, upperThreshold=MOST_LABEL))
    centroid, low, high = _placement(mask, geometry)
    ends = np.array(statistics.GetBoundingBox(1), dtype=np.int64)
    corners = [ends[:3].tolist(), (ends[:3] + ends[3:] - 1).tolist()]
    if _off(np.array(statistics.GetCentroid(1)), centroid):
        return "the centroid differs"
    if _off(
        np.array([part.TransformIndexToPhysicalPoint(corner) for corner in corners]),
        np.array([low, high]),
    ):
        return "the bounding box differs"
    if not np.isclose(statistics.GetPhysicalSize(1) / 1000, mask.sum() * geometry.voxel_ml):
        return "the volume differs"
    return ""


def _placement(mask: BoolArray, geometry: Geometry) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """LPS mm of the mask's centroid and of the first and last corner voxel of its box."""
    centroid, low, high = [], [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        profile = mask.sum(axis=others, dtype=np.int64)
        used = np.flatnonzero(profile)
        centroid.append(float((profile * np.arange(profile.size)).sum() / profile.sum()))
        low.append(float(used[0]))
        high.append(float(used[-1]))
    corners = geometry.index_to_lps(np.array([centroid, low, high]))
    return corners[0], corners[1], corners[2]
