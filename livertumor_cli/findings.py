"""What was found in one scan: the numbers that reports write, in the units users read."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float, float]
"""A position in LPS mm."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight line across a lesion, between two pixel corners of one axial slice.

    Attributes:
        length_mm: Distance of the end points.
        ends_lps_mm: Both end points in LPS mm.
    """

    length_mm: float
    ends_lps_mm: tuple[Point, Point]


@dataclass(frozen=True, slots=True)
class Lesion:
    """One 26-connected component of the tumor mask on the scan's own grid.

    Attributes:
        id: 1, 2, ... in order of falling volume; the value in `lesions.nii.gz`.
        volume_ml: Voxels times voxel volume.
        longest_axis: Longest diameter in one axial slice.
        perpendicular_axis: Longest line at right angles to it inside the outline, same slice.
        slice_index: Index of that slice along the scan's axial axis, in the stored order from 0.
        max_3d_diameter_mm: Largest distance of two voxel corners.
        centroid_lps_mm: Mean voxel center.
        mean_hu: Mean over the lesion's voxels.
    """

    id: int
    volume_ml: float
    longest_axis: Axis
    perpendicular_axis: Axis
    slice_index: int
    max_3d_diameter_mm: float
    centroid_lps_mm: Point
    mean_hu: float


@dataclass(frozen=True, slots=True)
class CaseFindings:
    """The whole liver.

    Attributes:
        liver_volume_ml: Liver with tumors and vessels inside it (labels 1, 2 and 3 together).
        tumor_volume_ml: Sum over lesions.
        vessel_volume_ml: Intrahepatic vessels.
        liver_mean_hu: Mean over liver voxels that are neither tumor nor vessel; NaN without any.
        lesions: Largest first.
        axial_axis: Array axis (0 z, 1 y, 2 x) along which `Lesion.slice_index` counts; 0 in scans
            stored as axial slices.
    """

    liver_volume_ml: float
    tumor_volume_ml: float
    vessel_volume_ml: float
    liver_mean_hu: float
    lesions: tuple[Lesion, ...]
    axial_axis: int = 0

    @property
    def tumor_burden_percent(self) -> float:
        """Tumor volume in percent of the liver including tumors; 0 without a liver."""
        if self.liver_volume_ml == 0:
            return 0.0
        return 100.0 * self.tumor_volume_ml / self.liver_volume_ml
