"""How large each lesion is at every scale alone: the spread says how sure the networks are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from livertumor_cli.arrays import BoolArray, DoubleArray, InstanceArray
from livertumor_cli.geometry import Geometry, bounding_box

_CORNERS = np.ones((3, 3, 3), dtype=np.bool_)


def scale_volumes_ml(
    masks: Iterable[BoolArray], *, geometry: Geometry, lesions: InstanceArray, scan: Geometry
) -> DoubleArray:
    """Volume of every lesion in each mask.

    A 26-connected piece of a mask belongs to the lesion that it overlaps. One that overlaps several
    is divided, each voxel to the lesion nearest within the piece; one that overlaps none counts for
    nothing.

    Args:
        masks: Tumor at each scale, on one grid.
        geometry: That grid.
        lesions: Lesion numbers on the scan's grid.
        scan: The scan's grid.

    Returns:
        Shape (masks, lesions), ml; 0 where a scale does not see a lesion.
    """
    count = int(lesions.max(initial=0))
    rows = []
    for mask in masks:
        voxels, piece = _pieces(mask)
        owner = _lesion_at(geometry.index_to_lps(voxels.astype(np.float64)), lesions, scan)
        _spread_owners(owner, piece, voxels * np.array(geometry.spacing_mm))
        rows.append(np.bincount(owner, minlength=count + 1)[1:])
    return np.array(rows, dtype=np.float64).reshape(len(rows), count) * geometry.voxel_ml


def _pieces(mask: BoolArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of every voxel of a mask, and the piece it belongs to."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64)
    pieces, _ = ndimage.label(mask[box], structure=_CORNERS)
    voxels = np.argwhere(mask[box])
    start = np.array([part.start for part in box])
    return voxels + start, pieces[mask[box]].astype(np.int64)


def _spread_owners(
    owner: NDArray[np.int64], piece: NDArray[np.int64], points_mm: DoubleArray
) -> None:
    """Give voxels outside all lesions to a lesion that their piece overlaps; changes `owner`."""
    owned = np.unique(np.stack([piece[owner > 0], owner[owner > 0]], axis=1), axis=0)
    names, lesions_in = np.unique(owned[:, 0], return_counts=True)
    is_single = np.isin(owned[:, 0], names[lesions_in == 1])
    only = np.zeros(int(piece.max(initial=0)) + 1, dtype=np.int64)
    only[owned[is_single, 0]] = owned[is_single, 1]
    np.copyto(owner, only[piece], where=owner == 0)
    for name in names[lesions_in > 1]:
        inside = piece == name
        known, unknown = inside & (owner > 0), inside & (owner == 0)
        _, nearest = KDTree(points_mm[known]).query(points_mm[unknown])
        owner[unknown] = owner[known][nearest]


def _lesion_at(
    points_lps: DoubleArray, lesions: InstanceArray, scan: Geometry
) -> NDArray[np.int64]:
    """Number of the lesion whose voxel holds each point; 0 outside."""
    index = np.rint(scan.lps_to_index(points_lps)).astype(np.int64)
    inside = ((index >= 0) & (index < scan.shape)).all(axis=1)
    owner = np.zeros(len(index), dtype=np.int64)
    owner[inside] = lesions[tuple(index[inside].T)]
    return owner
