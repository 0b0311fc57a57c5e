"""All measurements of one segmented scan."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from livertumor_cli.anatomy import SEGMENT_CLASSES, Label
from livertumor_cli.arrays import DoubleArray, FloatArray, HuArray, InstanceArray, LabelArray
from livertumor_cli.axial import axial_axis
from livertumor_cli.findings import CaseFindings, Lesion, SegmentFinding, Surroundings
from livertumor_cli.geometry import Box, Geometry, bounding_box
from livertumor_cli.measure.diameters import axial_diameters, max_3d_diameter_mm
from livertumor_cli.measure.lesion_flags import lesion_flags
from livertumor_cli.measure.reference_tissue import reference_tissue
from livertumor_cli.measure.surface import (
    SurfaceDistance,
    contact_area_mm2,
    grown_box,
    shell_range_ml,
    surface_corners_lps,
)
from livertumor_cli.measure.volumetry import centroid_lps_mm, density, mean_hu, volume_ml


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What may be known about a scan beside its labels.

    Attributes:
        probabilities: Tumor probability of every tumor voxel, in the order of `labels == TUMOR`.
        scale_volumes_ml: Volume of each lesion at each scale, shape (scales, lesions).
        segments: Couinaud segment (1 to 8, 0 unknown) of every voxel, shape of the scan.
        tells_vessels: Whether vessels would be labeled if there were any.
    """

    probabilities: FloatArray | None = None
    scale_volumes_ml: DoubleArray | None = None
    segments: LabelArray | None = None
    tells_vessels: bool = True


def measure_case(
    hu: HuArray,
    labels: LabelArray,
    lesions: InstanceArray,
    *,
    geometry: Geometry,
    extras: Extras | None = None,
) -> CaseFindings:
    """Measure liver, vessels and every lesion on the scan's own grid.

    The liver volume counts liver, tumor and vessel voxels together, as the organ a surgeon sees.

    Args:
        hu: The scan, shape (z, y, x).
        labels: Values of `anatomy.Label`, same shape.
        lesions: `number_tumors(labels)`: every tumor voxel has the number of its
            lesion, all others 0.
        geometry: The grid of all three.
        extras: What else is known.

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
    extras = extras or Extras()
    box = bounding_box(labels)
    inside = 0 if box is None else np.count_nonzero(lesions[box])
    if np.count_nonzero(lesions) != inside:
        raise ValueError("lesions lie outside all labels")
    if box is None:
        vessel_ml = 0.0 if extras.tells_vessels else None
        return CaseFindings(0.0, 0.0, vessel_ml, math.nan, (), axial_axis(geometry))
    case = _Case(hu, labels, lesions, geometry, extras, box)
    return case.findings()


@dataclass(frozen=True, slots=True)
class _Case:
    """One scan while it is measured; `box` holds every labeled voxel."""

    hu: HuArray
    labels: LabelArray
    lesions: InstanceArray
    geometry: Geometry
    extras: Extras
    box: Box

    def findings(self) -> CaseFindings:
        labels, hu = self.labels[self.box], self.hu[self.box]
        if not np.array_equal(self.lesions[self.box] > 0, labels == Label.TUMOR):
            raise ValueError("the numbered lesions are not exactly the tumor voxels")
        liver_ml, tumor_ml, vessel_ml = (
            volume_ml(labels == label, geometry=self.geometry)
            for label in (Label.LIVER, Label.TUMOR, Label.VESSEL)
        )
        with ThreadPoolExecutor(1, "reference tissue") as looker:
            reference = looker.submit(
                reference_tissue, self.hu, self.labels, geometry=self.geometry, liver=self.box
            )
            lesions = tuple(self._measured()) if tumor_ml else ()
        return CaseFindings(
            liver_volume_ml=liver_ml + tumor_ml + vessel_ml,
            tumor_volume_ml=tumor_ml,
            vessel_volume_ml=vessel_ml if self.extras.tells_vessels else None,
            liver_mean_hu=mean_hu(hu, labels == Label.LIVER),
            lesions=lesions,
            axial_axis=axial_axis(self.geometry),
            vessel_mean_hu=mean_hu(hu, labels == Label.VESSEL),
            segments=self._segment_findings(labels),
            reference=reference.result(),
        )

    def _segment_findings(self, labels: LabelArray) -> tuple[SegmentFinding, ...] | None:
        if self.extras.segments is None:
            return None
        segments = self.extras.segments[self.box]
        voxels, tumor = (
            np.bincount(segments[part], minlength=1 + len(SEGMENT_CLASSES))
            for part in (labels > 0, labels == Label.TUMOR)
        )
        volumes_ml, tumors_ml = voxels * self.geometry.voxel_ml, tumor * self.geometry.voxel_ml
        return tuple(
            SegmentFinding(number, float(volumes_ml[number]), float(tumors_ml[number]))
            for number in range(1, 1 + len(SEGMENT_CLASSES))
        )

    def _measured(self) -> Iterator[Lesion]:
        wide = grown_box(self.box, self.labels.shape)
        labels, grid = self.labels[wide], self.geometry.cropped(wide)
        liver = SurfaceDistance(np.asarray(labels > 0), geometry=grid)
        vessels = SurfaceDistance(np.asarray(labels == Label.VESSEL), geometry=grid)
        probabilities = self._mean_probabilities()
        # All lesions lie in the box: looking for them in it spares most of the scan.
        for index, found in enumerate(ndimage.find_objects(self.lesions[self.box])):
            if found is None:
                raise ValueError(f"lesion {index + 1} has no voxel: the numbers must have no gap")
            part = _moved(found, self.box)
            surroundings = self._surroundings(index + 1, part, liver=liver, vessels=vessels)
            yield self._lesion(index + 1, part, surroundings, probabilities)

    def _lesion(
        self,
        number: int,
        box: Box,
        surroundings: Surroundings,
        probabilities: DoubleArray | None,
    ) -> Lesion:
        mask = self.lesions[box] == number
        grid = self.geometry.cropped(box)
        diameters = axial_diameters(mask, geometry=grid)
        axis = axial_axis(self.geometry)
        length_mm = diameters.longest.length_mm
        return Lesion(
            id=number,
            volume_ml=volume_ml(mask, geometry=grid),
            longest_axis=diameters.longest,
            perpendicular_axis=diameters.perpendicular,
            slice_index=diameters.slice_index + box[axis].start,
            max_3d_diameter_mm=max_3d_diameter_mm(mask, geometry=grid),
            centroid_lps_mm=centroid_lps_mm(mask, geometry=grid),
            mean_hu=mean_hu(self.hu[box], mask),
            volume_range_ml=shell_range_ml(mask, geometry=grid),
            scale_range_ml=self._scale_range(number),
            density=density(self.hu[box], mask),
            surroundings=surroundings,
            mean_probability=None if probabilities is None else float(probabilities[number]),
            flags=lesion_flags(box, geometry=self.geometry, longest_mm=length_mm),
        )

    def _surroundings(
        self, number: int, box: Box, *, liver: SurfaceDistance, vessels: SurfaceDistance
    ) -> Surroundings:
        wide = grown_box(box, self.labels.shape)
        mask = np.asarray(self.lesions[wide] == number)
        grid = self.geometry.cropped(wide)
        corners = surface_corners_lps(mask, geometry=grid, is_open=False)
        contact_mm2 = None
        if self.extras.tells_vessels:
            beside = np.asarray(self.labels[wide] == Label.VESSEL)
            contact_mm2 = contact_area_mm2(mask, beside, geometry=grid)
        return Surroundings(
            capsule_distance_mm=liver.to(corners),
            vessel_distance_mm=vessels.to(corners),
            vessel_contact_mm2=contact_mm2,
            couinaud_shares=self._segment_shares(number, box),
        )

    def _segment_shares(self, number: int, box: Box) -> tuple[tuple[int, float], ...] | None:
        if self.extras.segments is None:
            return None
        values = self.extras.segments[box][self.lesions[box] == number]
        counts = np.bincount(values, minlength=1)
        shares = [(int(key), float(counts[key]) / values.size) for key in np.flatnonzero(counts)]
        known = [(key, share) for key, share in shares if key > 0]
        return tuple(sorted(known, key=lambda pair: -pair[1]))

    def _mean_probabilities(self) -> DoubleArray | None:
        """Mean tumor probability by lesion number."""
        if self.extras.probabilities is None:
            return None
        lesions = self.lesions[self.box]
        numbers = lesions[lesions > 0]
        sums = np.bincount(numbers, weights=self.extras.probabilities)
        return np.asarray(sums / np.maximum(np.bincount(numbers), 1))

    def _scale_range(self, number: int) -> tuple[float, float] | None:
        if self.extras.scale_volumes_ml is None:
            return None
        volumes = self.extras.scale_volumes_ml[:, number - 1]
        return float(volumes.min()), float(volumes.max())


def _moved(inner: tuple[slice, ...], outer: Box) -> Box:
    """A box inside a box, in the indices of the whole array."""
    z, y, x = (
        slice(part.start + start.start, part.stop + start.start)
        for part, start in zip(inner, outer, strict=True)
    )
    return z, y, x
