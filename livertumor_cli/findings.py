"""What was found in one scan: the numbers that reports write, in the units users read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

Point = tuple[float, float, float]
"""A position in LPS mm."""

MOST_TARGETS = 2
"""RECIST 1.1 follows at most two lesions of one organ."""


class LesionFlag(StrEnum):
    """What a reader must know about a lesion before using its numbers."""

    BELOW_MEASURABLE = "below_measurable"
    TOUCHES_BORDER = "touches_border"
    BORDERLINE = "borderline"


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
class Density:
    """Spread of the HU of a lesion's voxels; the mean is the lesion's own.

    Attributes:
        sd_hu: Standard deviation over the voxels (divided by their number).
        min_hu: Lowest.
        max_hu: Highest.
        median_hu: Median.
    """

    sd_hu: float = math.nan
    min_hu: float = math.nan
    max_hu: float = math.nan
    median_hu: float = math.nan


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a lesion lies in the liver.

    Attributes:
        capsule_distance_mm: From its surface to the liver's, 0 where it reaches it; None where the
            scan shows no surface of the liver.
        vessel_distance_mm: From its surface to the nearest labeled vessel; None without vessels.
        vessel_contact_mm2: Area of the voxel faces that it shares with vessels; None where vessels
            were not labeled.
        couinaud_shares: Segment (1 to 8) and the share of the lesion in it, largest first; None
            where no map of the segments exists.
    """

    capsule_distance_mm: float | None = None
    vessel_distance_mm: float | None = None
    vessel_contact_mm2: float | None = 0.0
    couinaud_shares: tuple[tuple[int, float], ...] | None = None


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
        volume_range_ml: Volume with its surface half a voxel further in and out; None where it was
            not measured.
        scale_range_ml: Smallest and largest volume that one network at one scale draws; None with
            one of both.
        density: Spread of its HU.
        surroundings: Capsule, vessels, segments.
        mean_probability: Mean tumor probability over its voxels; None where no network drew it.
        flags: In the order of LesionFlag.
    """

    id: int
    volume_ml: float
    longest_axis: Axis
    perpendicular_axis: Axis
    slice_index: int
    max_3d_diameter_mm: float
    centroid_lps_mm: Point
    mean_hu: float
    volume_range_ml: tuple[float, float] | None = None
    scale_range_ml: tuple[float, float] | None = None
    density: Density = field(default_factory=Density)
    surroundings: Surroundings = field(default_factory=Surroundings)
    mean_probability: float | None = None
    flags: tuple[LesionFlag, ...] = ()

    @property
    def equivalent_sphere_diameter_mm(self) -> float:
        """Diameter of the sphere of the same volume."""
        return float((6000.0 * self.volume_ml / math.pi) ** (1 / 3))

    @property
    def is_measurable(self) -> bool:
        """Whether it is long enough for RECIST 1.1 on these slices."""
        return LesionFlag.BELOW_MEASURABLE not in self.flags


@dataclass(frozen=True, slots=True)
class SegmentFinding:
    """One Couinaud segment; approximate, as a network's borders between segments are.

    Attributes:
        number: 1 to 8.
        volume_ml: With the tumors and vessels in it.
        tumor_ml: Tumors in it.
    """

    number: int
    volume_ml: float
    tumor_ml: float


@dataclass(frozen=True, slots=True)
class ReferenceTissue:
    """Densities that tell the contrast phase.

    Attributes:
        aorta_hu: Median inside the aorta at the levels of the liver; None where it was not found.
        spleen_hu: Median inside the spleen; None where it was not found.
    """

    aorta_hu: float | None = None
    spleen_hu: float | None = None


@dataclass(frozen=True, slots=True)
class CaseFindings:
    """The whole liver.

    Attributes:
        liver_volume_ml: Liver with tumors and vessels inside it (labels 1, 2 and 3 together).
        tumor_volume_ml: Sum over lesions.
        vessel_volume_ml: Intrahepatic vessels; None where they were not labeled, which is not 0.
        liver_mean_hu: Mean over liver voxels that are neither tumor nor vessel; NaN without any.
        lesions: Largest first.
        axial_axis: Array axis (0 z, 1 y, 2 x) along which `Lesion.slice_index` counts; 0 in scans
            stored as axial slices.
        vessel_mean_hu: Mean over vessel voxels; NaN without any.
        segments: All eight Couinaud segments in their order; None where no map of them exists.
        reference: Densities of aorta and spleen.
    """

    liver_volume_ml: float
    tumor_volume_ml: float
    vessel_volume_ml: float | None
    liver_mean_hu: float
    lesions: tuple[Lesion, ...]
    axial_axis: int = 0
    vessel_mean_hu: float = math.nan
    segments: tuple[SegmentFinding, ...] | None = None
    reference: ReferenceTissue = field(default_factory=ReferenceTissue)

    @property
    def tumor_burden_percent(self) -> float:
        """Tumor volume in percent of the liver including tumors; 0 without a liver."""
        if self.liver_volume_ml == 0:
            return 0.0
        return 100.0 * self.tumor_volume_ml / self.liver_volume_ml

    @property
    def liver_without_tumor_ml(self) -> float:
        """Liver and vessels without the lesions."""
        return self.liver_volume_ml - self.tumor_volume_ml

    @property
    def candidate_targets(self) -> tuple[Lesion, ...]:
        """The at most two longest measurable lesions, longest first; the choice is the reader's."""
        measurable = [lesion for lesion in self.lesions if lesion.is_measurable]
        measurable.sort(key=lambda lesion: (-lesion.longest_axis.length_mm, lesion.id))
        return tuple(measurable[:MOST_TARGETS])

    @property
    def largest_diameter_mm(self) -> float:
        """Longest axial diameter of all lesions; 0 without one."""
        return max((lesion.longest_axis.length_mm for lesion in self.lesions), default=0.0)

    def count_longer_than(self, length_mm: float) -> int:
        """Lesions whose longest axial diameter exceeds a length.

        Args:
            length_mm: Such as 20, 30 or 50.
        """
        return sum(lesion.longest_axis.length_mm > length_mm for lesion in self.lesions)

    def contrast_hu(self, lesion: Lesion) -> float:
        """Mean HU of a lesion minus that of the liver; NaN where either does not exist.

        Args:
            lesion: One of this case.
        """
        return lesion.mean_hu - self.liver_mean_hu
