"""Numbers that describe a scan at a glance, computed slab by slab to stay small in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livertumor_cli.io.checks import BODY_HU
from livertumor_cli.io.hounsfield import slabs
from livertumor_cli.volume import Volume


@dataclass(frozen=True, slots=True)
class Summary:
    """Range and mean of a scan in HU, and where its body lies.

    Attributes:
        minimum: Lowest HU.
        maximum: Highest HU.
        mean: Mean HU of all voxels.
        body_centroid_lps_mm: Mean LPS position of the voxels above BODY_HU.
    """

    minimum: float
    maximum: float
    mean: float
    body_centroid_lps_mm: tuple[float, float, float]


def summarize(volume: Volume) -> Summary:
    """Summary of a volume that the readers accepted, so that some voxel is above BODY_HU.

    Args:
        volume: A CT in HU.
    """
    hu = volume.hu
    profiles = [np.zeros(size, dtype=np.int64) for size in hu.shape]
    total, low, high = 0.0, np.inf, -np.inf
    for part in slabs(hu):
        slab = hu[part]
        low, high = min(low, float(slab.min())), max(high, float(slab.max()))
        total += float(slab.sum(dtype=np.float64))
        body = slab > BODY_HU
        rows = body.sum(axis=2, dtype=np.int64)
        profiles[0][part] = rows.sum(axis=1)
        profiles[1] += rows.sum(axis=0)
        profiles[2] += body.sum(axis=(0, 1), dtype=np.int64)
    center = [float(counts @ np.arange(counts.size)) / counts.sum() for counts in profiles]
    x, y, z = volume.geometry.index_to_lps(np.array(center))
    return Summary(low, high, total / hu.size, (float(x), float(y), float(z)))
