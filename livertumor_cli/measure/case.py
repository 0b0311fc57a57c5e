"""All measurements of one segmented scan."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import HuArray, InstanceArray, LabelArray
from livertumor_cli.findings import CaseFindings, Lesion
from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.axial import axial_axis
from livertumor_cli.measure.components import bounding_box
from livertumor_cli.measure.diameters import axial_diameters, max_3d_diameter_mm
from livertumor_cli.measure.volumetry import centroid_lps_mm, mean_hu, volume_ml


def measure_case(
    hu: HuArray, labels: LabelArray, lesions: InstanceArray, *, geometry: Geometry
) -> CaseFindings:
    """Measure liver, vessels and every lesion on the scan's own grid.

    The liver volume counts liver, tumor and vessel voxels together, as the organ a surgeon sees.

    Args:
        hu: The scan, shape (z, y, x).
        labels: Values of `anatomy.Label`, same shape.
        lesions: `number_lesions(labels == Label.TUMOR)`: every tumor voxel has the number of its
            lesion, all others 0.
        geometry: The grid of all three.

    Returns:
        The findings; without tumor they have no lesions, without liver a mean density of NaN.

    Raises:
        ValueError: If the shapes differ, or the lesions are not exactly the tumor voxels.
    """
    if not hu.shape == labels.shape == lesions.shape == geometry.shape:
        raise ValueError(
            f"shapes differ: scan {hu.shape}, labels {labels.shape}, lesions {lesions.shape}, "
            f"grid {geometry.shape}"
        )
    liver_ml, tumor_ml, vessel_ml, liver_hu = _measure_labels(hu, labels, lesions, geometry)
    return CaseFindings(
        liver_volume_ml=liver_ml + tumor_ml + vessel_ml,
        tumor_volume_ml=tumor_ml,
        vessel_volume_ml=vessel_ml,
        liver_mean_hu=liver_hu,
        lesions=tuple(_measure_lesions(hu, lesions, geometry)),
        axial_axis=axial_axis(geometry),
    )


def _measure_labels(
    hu: HuArray, labels: LabelArray, lesions: InstanceArray, geometry: Geometry
) -> tuple[float, float, float, float]:
    """Volume of each label in ml, and the mean density of the first."""
    box = bounding_box(np.asarray((labels > 0) | (lesions > 0)))
    if box is None:
        return 0.0, 0.0, 0.0, math.nan
    labels = labels[box]
    if not np.array_equal(lesions[box] > 0, labels == Label.TUMOR):
        raise ValueError("the numbered lesions are not exactly the tumor voxels")
    liver, tumor, vessel = (
        volume_ml(labels == label, geometry=geometry)
        for label in (Label.LIVER, Label.TUMOR, Label.VESSEL)
    )
    return liver, tumor, vessel, mean_hu(hu[box], labels == Label.LIVER)


def _measure_lesions(hu: HuArray, lesions: InstanceArray, geometry: Geometry) -> Iterator[Lesion]:
    axis = axial_axis(geometry)
    for index, box in enumerate(ndimage.find_objects(lesions)):
        if box is None:
            raise ValueError(f"lesion {index + 1} has no voxel: the numbers must have no gap")
        mask = lesions[box] == index + 1
        grid = geometry.cropped((box[0], box[1], box[2]))
        diameters = axial_diameters(mask, geometry=grid)
        yield Lesion(
            id=index + 1,
            volume_ml=volume_ml(mask, geometry=grid),
            longest_axis=diameters.longest,
            perpendicular_axis=diameters.perpendicular,
            slice_index=diameters.slice_index + box[axis].start,
            max_3d_diameter_mm=max_3d_diameter_mm(mask, geometry=grid),
            centroid_lps_mm=centroid_lps_mm(mask, geometry=grid),
            mean_hu=mean_hu(hu[box], mask),
        )
