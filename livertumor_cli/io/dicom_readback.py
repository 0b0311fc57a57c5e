"""Read a written DICOM SEG again, without the library that wrote it, and compare every voxel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from livertumor_cli.arrays import BoolArray, InstanceArray
from livertumor_cli.errors import OutputError
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_file import MALFORMED
from livertumor_cli.io.dicom_source import SAME_PLACE_MM


def verify_segmentation(path: Path, numbers: InstanceArray, geometry: Geometry) -> None:
    """Compare a DICOM SEG on disk with the segment numbers it must hold.

    Args:
        path: The file just written.
        numbers: Segment number of every voxel, 0 outside.
        geometry: Their grid.

    Raises:
        OutputError: If anything differs; the file is removed then.
    """
    try:
        fault = _difference(dcmread(path), numbers, geometry)
    except MALFORMED:
        fault = "it cannot be read"
    if fault:
        path.unlink(missing_ok=True)
        raise OutputError(
            f"{path} did not read back as written ({fault}) and was removed.",
            hint="Check the disk and write to another folder.",
        )


def _difference(dataset: Dataset, numbers: InstanceArray, geometry: Geometry) -> str:
    """What differs; empty if nothing does."""
    found = 0
    orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    axes = np.array(orientation.ImageOrientationPatient, dtype=np.float64)
    if np.abs(axes - geometry.direction[:, :2].T.ravel()).max() > 1e-3:
        return "the orientation differs"
    for number, position, pixels in _frames(dataset):
        index = int(np.rint(geometry.lps_to_index(np.array(position, dtype=np.float64))[0]))
        first = geometry.index_to_lps(np.array([index, 0.0, 0.0]))
        if np.linalg.norm(first - position) > SAME_PLACE_MM or not 0 <= index < len(numbers):
            return "a frame lies elsewhere"
        if not np.array_equal(pixels, numbers[index] == number):
            return "voxels differ"
        found += int(np.count_nonzero(pixels))
    # Frames that agree do not tell of frames that are not there.
    return "" if found == np.count_nonzero(numbers) else "frames are missing"


def _frames(dataset: Dataset) -> Iterator[tuple[int, list[float], BoolArray]]:
    """Segment number, position and pixels of each segment in each frame."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    is_binary = dataset.SegmentationType == "BINARY"
    stored = None if is_binary else dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for frame, own in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        position = [float(value) for value in own.PlanePositionSequence[0].ImagePositionPatient]
        if stored is None:
            holder = own if "SegmentIdentificationSequence" in own else shared
            number = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            yield number, position, _bits(dataset, frame)
        else:
            for number in np.unique(stored[frame]).tolist():
                if number:
                    yield number, position, stored[frame] == number


def _bits(dataset: Dataset, frame: int) -> BoolArray:
    """One frame of the pixels of one bit, which run on from frame to frame without padding."""
    size = dataset.Rows * dataset.Columns
    start = frame * size
    content = np.frombuffer(dataset.PixelData, np.uint8)[start // 8 : (start + size + 7) // 8]
    bits = np.unpackbits(content, bitorder="little")[start % 8 : start % 8 + size]
    return np.asarray(bits.reshape(dataset.Rows, dataset.Columns) > 0)
