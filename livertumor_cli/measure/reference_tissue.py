"""Densities of aorta and spleen, by which a reader tells the contrast phase of a scan.

No network: bone tells where the spine is, the aorta is the round column in front of it, the spleen
the large even organ under the left ribs. What is not found with certainty is None: for the phase a
wrong number is worse than none.
"""

from __future__ import annotations

from livertumor_cli.arrays import HuArray, LabelArray
from livertumor_cli.findings import ReferenceTissue
from livertumor_cli.geometry import Box, Geometry
from livertumor_cli.measure.aorta import aorta_course
from livertumor_cli.measure.coarse_scan import CoarseScan, coarse_scan
from livertumor_cli.measure.spine import spine_course
from livertumor_cli.measure.spleen import spleen_core


def reference_tissue(
    hu: HuArray, labels: LabelArray, *, geometry: Geometry, liver: Box
) -> ReferenceTissue:
    """Median HU inside aorta and spleen at the levels of the liver.

    Args:
        hu: The scan, shape (z, y, x), in any axis order.
        labels: Values of `anatomy.Label`, same shape.
        geometry: Grid of both.
        liver: Box that holds every labeled voxel.

    Returns:
        Both densities; None for what was not found, as in a scan cropped to the liver.
    """
    return tissue_in(coarse_scan(hu, labels, geometry=geometry, liver=liver))


def tissue_in(scan: CoarseScan) -> ReferenceTissue:
    """The same of a scan that is coarse already.

    Args:
        scan: The levels of the liver.
    """
    spine = spine_course(scan)
    if spine is None:
        return ReferenceTissue()
    aorta_hu = aorta_course(scan, spine).median_hu(scan.spacing_mm[0])
    spleen = spleen_core(scan, spine, aorta_hu=aorta_hu)
    return ReferenceTissue(aorta_hu, None if spleen is None else spleen[1])
