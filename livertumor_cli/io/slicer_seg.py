"""Segmentations as 3D Slicer saves them (.seg.nrrd): segments with names, in one or more layers.

A layer is a label map, but its values only count the segments in the order in which they were
made: what a value means stands in the header. Segments that overlap lie in different layers, which
SimpleITK reads as components of each voxel. Older files tell no values: each segment is a layer of
its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import LabelArray
from livertumor_cli.errors import Reason, UnsupportedFormatError
from livertumor_cli.io.segment_names import PAINTED, segment_label

_NAME_KEY = re.compile(r"Segment(\d+)_Name")
_TERMS = "TerminologyEntry:"
_TYPE_FIELD = 2
"""Of the fields of a term: context, category, type, and more that says where."""


@dataclass(frozen=True, slots=True)
class _Segment:
    label: Label
    layer: int
    value: int


def has_segments(image: sitk.Image) -> bool:
    """Whether the header of an image names segments."""
    return any(_NAME_KEY.fullmatch(key) for key in image.GetMetaDataKeys())


def segment_labels(image: sitk.Image, *, file_name: str) -> LabelArray:
    """Values of `anatomy.Label` by what the segments are called, shape (z, y, x).

    Args:
        image: Three-dimensional, with named segments.
        file_name: For messages.

    Raises:
        UnsupportedFormatError: If a segment shows something else, or its layer is not there.
    """
    stored: NDArray[Any] = sitk.GetArrayFromImage(image)
    layers = stored if stored.ndim == 4 else stored[..., None]
    segments = _segments(image, file_name)
    if any(segment.layer >= layers.shape[-1] for segment in segments):
        raise UnsupportedFormatError(
            f"{file_name} names segments in layers that it does not hold.",
            reason=Reason.UNSUPPORTED_FORMAT,
            hint="Save the segmentation again.",
        )
    labels = np.zeros(layers.shape[:3], dtype=np.uint8)
    for segment in sorted(segments, key=lambda one: PAINTED.index(one.label)):
        labels[layers[..., segment.layer] == segment.value] = segment.label
    return labels


def _segments(image: sitk.Image, file_name: str) -> list[_Segment]:
    found = []
    for key in image.GetMetaDataKeys():
        match = _NAME_KEY.fullmatch(key)
        if match is None:
            continue
        number = int(match[1])
        layer = _whole(image, f"Segment{number}_Layer", default=number)
        value = _whole(image, f"Segment{number}_LabelValue", default=1)
        code, meaning = _type(image, f"Segment{number}_Tags")
        names = (image.GetMetaData(key), meaning)
        label = segment_label(code, names, number=number, file_name=file_name)
        found.append(_Segment(label, layer, value))
    return found


def _whole(image: sitk.Image, key: str, *, default: int) -> int:
    text = image.GetMetaData(key).strip() if image.HasMetaDataKey(key) else ""
    return int(text) if text.isdecimal() else default


def _type(image: sitk.Image, key: str) -> tuple[str, str]:
    """Code and meaning of a segment's type from its tags; empty where they do not say."""
    tags = image.GetMetaData(key) if image.HasMetaDataKey(key) else ""
    for tag in tags.split("|"):
        fields = tag.strip().removeprefix(_TERMS).split("~")
        if tag.strip().startswith(_TERMS) and len(fields) > _TYPE_FIELD:
            parts = fields[_TYPE_FIELD].split("^")
            if len(parts) > _TYPE_FIELD:
                return parts[1], parts[2]
    return "", ""
