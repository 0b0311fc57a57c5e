"""A tiny segmented DICOM series for the tests of SEG, SR and RTSTRUCT, and readers of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from scans import body_hu, datasets
from toy_recipe import centered_grid, rotation_matrix

from livertumor_cli.findings import CaseFindings
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.dicom_results import DicomObject, plan_dicom, write_dicom
from livertumor_cli.io.formats import read_volume
from livertumor_cli.measure.case import measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.volume import LabelMap, Volume

SHAPE = (9, 22, 26)
SPACING_MM = (2.5, 0.7, 0.8)
ALL = tuple(DicomObject)

ROTATIONS = {
    "axial": np.eye(3),
    "oblique": rotation_matrix((17, -11, 8)),
    "feet_first": np.diag([-1.0, 1.0, -1.0]),
    "prone": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
"""Columns are the unit vectors of x, y, z; the normal of the slices is the last one."""


@dataclass(frozen=True)
class Case:
    """What was written, and what it was made of."""

    folder: Path
    slices: list[Dataset]
    volume: Volume
    labels: np.ndarray
    lesions: np.ndarray
    findings: CaseFindings

    def read(self, kind: str) -> Dataset:
        names = {"seg": "segmentation", "sr": "measurements", "rtstruct": "structures"}
        return dcmread(self.folder / f"{names[kind]}.dcm")


def some_labels() -> np.ndarray:
    """A liver with a hole, a large lesion, one of a single voxel at a corner of it, a vessel."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1:8, 3:19, 4:23] = 1
    labels[3:6, 14:17, 6:9] = 0
    labels[4, 15, 7] = 1
    labels[3:6, 5:9, 6:12] = 2
    labels[2, 5, 7] = 2
    labels[6, 16, 20] = 2
    labels[2:7, 10:12, 14:16] = 3
    return labels


def grid(rotation: str = "axial", shape: tuple[int, int, int] = SHAPE) -> Geometry:
    return centered_grid(shape, spacing_mm=SPACING_MM, rotation=ROTATIONS[rotation])


def make_case(
    folder: Path,
    rotation: str = "axial",
    *,
    labels: np.ndarray | None = None,
    objects: tuple[DicomObject, ...] | None = ALL,
    seg_type: str = "binary",
    change: Callable[[list[Dataset]], None] | None = None,
    resample: Callable[[Geometry], Geometry] | None = None,
    mean_probability: float | None = 0.81249,
    **attributes: Any,
) -> Case:
    """Write a series, read it, and write the DICOM results of made-up labels.

    `attributes` are set in every slice, `change` may do more to them, and `resample` replaces the
    grid that was read as a resampling reader does.
    """
    labels = some_labels() if labels is None else labels
    depth, rows, columns = labels.shape
    hu = body_hu((depth, rows, columns))
    slices = datasets(Volume(hu, grid(rotation, hu.shape)), **attributes)
    if change is not None:
        change(slices)
    write_datasets(folder / "series", slices)
    volume = read_volume(folder / "series")
    if resample is not None:
        volume = replace(volume, geometry=resample(volume.geometry))
    return write_case(
        folder,
        slices,
        volume,
        labels,
        objects=objects,
        seg_type=seg_type,
        mean_probability=mean_probability,
    )


def write_case(
    folder: Path,
    slices: list[Dataset],
    volume: Volume,
    labels: np.ndarray,
    *,
    objects: tuple[DicomObject, ...] | None,
    seg_type: str,
    mean_probability: float | None = None,
) -> Case:
    """Write the DICOM results of labels on a volume; the probability is that of every lesion."""
    lesions = number_lesions(labels == 2)
    found = measure_case(volume.hu, labels, lesions, geometry=volume.geometry)
    likely = tuple(replace(one, mean_probability=mean_probability) for one in found.lesions)
    findings = replace(found, lesions=likely)
    write_dicom(
        folder,
        plan_dicom(volume, objects=objects, seg_type=seg_type),
        masks=(LabelMap(labels, volume.geometry), LabelMap(lesions, volume.geometry)),
        findings=findings,
        recipe="toy 1.0",
    )
    return Case(folder, slices, volume, labels, lesions, findings)


def pixel_places(dataset: Dataset) -> np.ndarray:
    """LPS mm of every pixel center of a plane as the standard says, shape (rows, columns, 3)."""
    position, cosines, spacing = (
        np.array([float(value) for value in dataset[name].value])
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    rows, columns = np.indices((dataset.Rows, dataset.Columns))
    return (
        position
        + columns[..., None] * spacing[1] * cosines[:3]
        + rows[..., None] * spacing[0] * cosines[3:]
    )


def seg_planes(seg: Dataset) -> list[tuple[int, Dataset, np.ndarray, Dataset]]:
    """Segment number (0: pixels are numbers), geometry, pixels and source image of each frame."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    if seg.BitsAllocated == 1:
        count = seg.NumberOfFrames * seg.Rows * seg.Columns
        bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
        frames = bits[:count].reshape(seg.NumberOfFrames, seg.Rows, seg.Columns)
    else:
        frames = seg.pixel_array
    planes = []
    for own, pixels in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        place = Dataset()
        place.Rows, place.Columns = seg.Rows, seg.Columns
        place.ImagePositionPatient = own.PlanePositionSequence[0].ImagePositionPatient
        orientation = shared.PlaneOrientationSequence[0]
        place.ImageOrientationPatient = orientation.ImageOrientationPatient
        place.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
        number = 0
        if seg.SegmentationType == "BINARY":
            # In the shared groups if there is one segment only.
            holder = own if "SegmentIdentificationSequence" in own else shared
            number = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        [source] = own.DerivationImageSequence[0].SourceImageSequence
        planes.append((number, place, pixels, source))
    return planes


def seg_in_patient(seg: Dataset, geometry: Geometry) -> np.ndarray:
    """Segment numbers on a grid, put there voxel by voxel through patient coordinates."""
    found = np.zeros(geometry.shape, dtype=int)
    for number, place, pixels, _ in seg_planes(seg):
        index = geometry.lps_to_index(pixel_places(place)[pixels > 0])
        nearest = np.rint(index).astype(int)
        assert np.abs(index - nearest).max(initial=0) < 1e-3
        assert not found[tuple(nearest.T)].any(), "segments overlap"
        found[tuple(nearest.T)] = number or pixels[pixels > 0]
    return found


def items(parent: Dataset, *, meaning: str = "", kind: str = "") -> list[Dataset]:
    """Content items right below another, by the meaning of their name or their value type."""
    return [
        item
        for item in parent.get("ContentSequence", [])
        if (not meaning or item.ConceptNameCodeSequence[0].CodeMeaning == meaning)
        and (not kind or item.ValueType == kind)
    ]


def code(item: Dataset) -> tuple[str, str]:
    return item.CodeValue, item.CodingSchemeDesignator
