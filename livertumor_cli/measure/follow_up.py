"""Two scans of one patient: the livers laid on each other, and which lesion is which.

The livers are aligned rigidly (rotation and shift): points on the surface of one are moved until
their distances from the surface of the other are least. Large distances count less than their
square, as a liver may have lost or grown a part. A coarse field of distances finds the motion from
afar; the surfaces themselves then settle it, so that a liver laid on itself has not moved. A liver
also deforms with breath; what rigid motion leaves is reported, and is the reason for the tolerance
of the matching.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import least_squares, linear_sum_assignment
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from livertumor_cli.arrays import BoolArray, DoubleArray, InstanceArray
from livertumor_cli.geometry import Geometry, bounding_box
from livertumor_cli.measure.nearest_surface import NearestSurface
from livertumor_cli.measure.surface import surface_corners_lps

MATCH_MM = 10.0
"""Largest gap between the surfaces of one lesion in two aligned scans."""

_POINTS = 3000
_FIELD_STEP_MM = 2.5
_FIELD_MARGIN_MM = 40.0
_OUTLIER_MM = 3.0
_USUAL_STEPS = (0.02, 0.02, 0.02, 2.0, 2.0, 2.0)
"""Rotation in radians and shift in mm that change the fit about alike."""

_MOST_STEPS = 40
_SETTLED_MM = 1e-3
"""Mean motion of the points in a step below which the surfaces have settled."""

_ALONE = 1.0
"""What a lesion without partner costs. A pair costs less, so that two lonely lesions find each
other; but several pairs of neighbors are not given for a lesion that lies on itself."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """The motion that lays the baseline's liver on the follow-up's.

    Attributes:
        matrix: 4x4, baseline LPS mm to follow-up LPS mm.
        residual_mm: Median distance of the moved surface from the other.
    """

    matrix: DoubleArray
    residual_mm: float

    def move(self, points_lps: DoubleArray) -> DoubleArray:
        """Baseline positions in the follow-up scan; shape (n, 3) in and out."""
        return _moved(self.matrix, points_lps)

    @property
    def rotation_degrees(self) -> float:
        """Angle of the rotation."""
        cosine = (np.trace(self.matrix[:3, :3]) - 1) / 2
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def align_livers(
    baseline: BoolArray, follow_up: BoolArray, *, geometries: tuple[Geometry, Geometry]
) -> Alignment:
    """Align two livers rigidly.

    Args:
        baseline: The liver with everything in it, at least one voxel.
        follow_up: The same later.
        geometries: Grids of both.
    """
    points = _surface(baseline, geometries[0])
    surface = NearestSurface(follow_up, geometry=geometries[1])
    matrix = _settled(_found_from_afar(points, follow_up, geometries[1]), points, surface)
    moved = _moved(matrix, points)
    return Alignment(matrix, float(np.median(np.linalg.norm(surface.of(moved) - moved, axis=1))))


def _found_from_afar(points: DoubleArray, follow_up: BoolArray, geometry: Geometry) -> DoubleArray:
    """The 4x4 motion of points onto a liver to about half a millimeter."""
    field, grid = _distance_field(follow_up, geometry)
    middle = points.mean(axis=0)
    start = np.zeros(6)
    start[3:] = _surface(follow_up, geometry).mean(axis=0) - middle

    def distances_mm(motion: DoubleArray) -> DoubleArray:
        turned = Rotation.from_rotvec(motion[:3]).apply(points - middle)
        index = grid.lps_to_index(turned + middle + motion[3:])
        found = ndimage.map_coordinates(field, index.T, order=1, mode="nearest")
        return np.asarray(found)

    fit = least_squares(
        distances_mm, start, loss="soft_l1", f_scale=_OUTLIER_MM, x_scale=_USUAL_STEPS
    )
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(fit.x[:3]).as_matrix()
    matrix[:3, 3] = middle + fit.x[3:] - matrix[:3, :3] @ middle
    return matrix


def _settled(matrix: DoubleArray, points: DoubleArray, surface: NearestSurface) -> DoubleArray:
    """The motion brought to rest: points are laid on their nearest ones of the surface, and again.

    This is the iterated closest point method of Besl and McKay (1992), here with the weights of the
    first fit: distances beyond that of outliers count less.
    """
    moved = _moved(matrix, points)
    for _ in range(_MOST_STEPS):
        nearest = surface.of(moved)
        distances_mm = np.linalg.norm(nearest - moved, axis=1)
        weights = 1 / np.sqrt(1 + (distances_mm / _OUTLIER_MM) ** 2)
        matrix = _rigid_motion(points, nearest, weights)
        before, moved = moved, _moved(matrix, points)
        if np.linalg.norm(moved - before, axis=1).mean() < _SETTLED_MM:
            break
    return matrix


def _rigid_motion(points: DoubleArray, targets: DoubleArray, weights: DoubleArray) -> DoubleArray:
    """The 4x4 motion that lays points best on their targets by weighted least squares."""
    share = weights / weights.sum()
    middle, target = share @ points, share @ targets
    rotation, _ = Rotation.align_vectors(targets - target, points - middle, weights=weights)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = target - matrix[:3, :3] @ middle
    return matrix


def _moved(matrix: DoubleArray, points: DoubleArray) -> DoubleArray:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def _surface(mask: BoolArray, geometry: Geometry) -> DoubleArray:
    """Some corners of the surface, spread over all of it."""
    box = bounding_box(mask)
    if box is None:
        raise ValueError("an empty liver cannot be aligned")
    corners = surface_corners_lps(mask[box], geometry=geometry.cropped(box), is_open=False)
    return corners[:: max(1, len(corners) // _POINTS)]


def _distance_field(mask: BoolArray, geometry: Geometry) -> tuple[DoubleArray, Geometry]:
    """Distance from the surface in mm, negative inside, on a coarse grid round the mask."""
    box = bounding_box(mask)
    if box is None:
        raise ValueError("an empty liver cannot be aligned")
    steps = [max(1, int(_FIELD_STEP_MM / size)) for size in geometry.spacing_mm]
    thin = mask[box][:: steps[0], :: steps[1], :: steps[2]]
    affine = geometry.cropped(box).affine_lps.copy()
    affine[:3, :3] *= steps[::-1]
    grid = Geometry((thin.shape[0], thin.shape[1], thin.shape[2]), affine)
    z, y, x = (int(np.ceil(_FIELD_MARGIN_MM / size)) for size in grid.spacing_mm)
    padded = np.pad(thin, ((z, z), (y, y), (x, x)))
    outside = ndimage.distance_transform_edt(~padded, sampling=grid.spacing_mm)
    inside = ndimage.distance_transform_edt(padded, sampling=grid.spacing_mm)
    # Both count to voxel centers; the surface lies between them.
    half = 0.5 * float(np.mean(grid.spacing_mm))
    field = np.where(padded, half - inside, outside - half)
    return np.asarray(field, dtype=np.float64), grid.grown((z, y, x))


def match_lesions(
    baseline: InstanceArray,
    follow_up: InstanceArray,
    *,
    geometries: tuple[Geometry, Geometry],
    alignment: Alignment,
) -> tuple[tuple[int, int], ...]:
    """Which lesion of the baseline is which of the follow-up.

    Lesions whose surfaces come within MATCH_MM of each other may be the same. Of all such pairs
    those are chosen, one to one, whose centers together lie closest. Distances of centers count as
    shares of the largest at which lesions of their sizes may be the same, and a lesion without
    partner counts as that far away: one that vanished beside a new one does not make its neighbors
    change partners.

    Args:
        baseline: Lesion numbers.
        follow_up: Lesion numbers.
        geometries: Grids of both.
        alignment: Of the livers.

    Returns:
        Pairs of numbers, by the baseline's.
    """
    before = [alignment.move(points) for points in _lesion_points(baseline, geometries[0])]
    after = _lesion_points(follow_up, geometries[1])
    if not before or not after:
        return ()
    costs = np.full((len(before), len(after)), _ALONE)
    balls = [_ball(points) for points in before]
    for column, points in enumerate(after):
        tree = KDTree(points)
        center, radius = _ball(points)
        for row, (moved_center, moved_radius) in enumerate(balls):
            apart = float(np.linalg.norm(moved_center - center))
            farthest = radius + moved_radius + MATCH_MM
            if apart > farthest:
                continue
            gap, _ = tree.query(before[row], distance_upper_bound=MATCH_MM)
            # The gap is one of surfaces: a small lesion deep inside a large one has a wide one.
            if np.isfinite(gap).any() or apart <= radius:
                costs[row, column] = apart / farthest
    rows, columns = linear_sum_assignment(costs)
    return tuple(
        (int(row) + 1, int(column) + 1)
        for row, column in zip(rows, columns, strict=True)
        if costs[row, column] < _ALONE
    )


def _ball(points: DoubleArray) -> tuple[DoubleArray, float]:
    """Middle of points and the radius that holds them."""
    middle = points.mean(axis=0)
    return middle, float(np.linalg.norm(points - middle, axis=1).max())


def _lesion_points(lesions: InstanceArray, geometry: Geometry) -> list[DoubleArray]:
    """Surface corners of each lesion in LPS mm."""
    points = []
    for index, box in enumerate(ndimage.find_objects(lesions)):
        part = (box[0], box[1], box[2])
        mask = np.asarray(lesions[part] == index + 1)
        grid = geometry.cropped(part)
        points.append(surface_corners_lps(mask, geometry=grid, is_open=False))
    return points
