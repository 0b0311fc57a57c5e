"""A DICOM Segmentation as labels of liver, tumor and vessel, on the grid of its frames."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray
from livertumor_cli.errors import InputError, Reason, UnsupportedFormatError
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_file import MALFORMED, read_dataset
from livertumor_cli.io.segment_names import PAINTED, segment_label
from livertumor_cli.volume import LabelMap

_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage, younger than pydicom's list."""


def read_segmentation(path: Path) -> LabelMap:
    """Read a SEG; only the part of the scan that its frames cover.

    Args:
        path: A DICOM file.

    Raises:
        InputError: If it is no segmentation, holds another structure, or cannot be read.
    """
    try:
        dataset = read_dataset(path)
        if dataset.get("SOPClassUID") not in (SegmentationStorage, _LABEL_MAP_STORAGE):
            raise UnsupportedFormatError(
                f"{path.name} is no DICOM Segmentation.", reason=Reason.UNSUPPORTED_FORMAT
            )
        with warnings.catch_warnings():
            # Remarks on values that break the standard, which do not concern the frames.
            warnings.simplefilter("ignore")
            return _label_map(Segmentation.from_dataset(dataset, copy=False), path)
    except MALFORMED as error:
        raise InputError(
            f"{path.name} is a DICOM Segmentation that cannot be read.", reason=Reason.UNREADABLE
        ) from error


def _label_map(segmentation: Any, path: Path) -> LabelMap:
    numbers: dict[Label, list[int]] = {label: [] for label in PAINTED}
    for item in segmentation.SegmentSequence:
        # In label maps the background may be listed.
        if int(item.SegmentNumber) > 0:
            numbers[_label_of(item, path)].append(int(item.SegmentNumber))
    grid = segmentation.get_volume_geometry(allow_missing_positions=True)
    affine = np.asarray(grid.affine, dtype=np.float64)
    depth, height, width = grid.spatial_shape
    labels = np.zeros((depth, height, width), dtype=np.uint8)
    for label in PAINTED:
        if numbers[label]:
            labels[_mask(segmentation, numbers[label])] = label
    # highdicom counts slices, rows, columns; the columns of its affine stand in that order.
    return LabelMap(labels, Geometry((depth, height, width), affine[:, [2, 1, 0, 3]]))


def _mask(segmentation: Any, numbers: list[int]) -> BoolArray:
    volume = segmentation.get_volume(
        segment_numbers=numbers, combine_segments=True, skip_overlap_checks=True
    )
    return np.asarray(volume.array > 0)


def _label_of(item: Dataset, path: Path) -> Label:
    """What a segment shows, by its code, else by its name."""
    types = item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
    return segment_label(
        str(types[0].get("CodeValue", "")),
        (str(item.get("SegmentLabel", "")), str(types[0].get("CodeMeaning", ""))),
        number=int(item.SegmentNumber),
        file_name=path.name,
    )
