"""A liver that a label map draws, on a grid of a few millimeters as the segments stage wants it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from livertumor_cli.arrays import LabelArray
from livertumor_cli.geometry import Geometry, box_holding, box_of
from livertumor_cli.inference.liver_box import KnownLiver, share_of
from livertumor_cli.inference.resample import NEIGHBORS, patient_grid, to_patient_axes

DRAWN_SPACING_MM = (2.0, 1.5, 1.5)
"""The grid on which the default recipe draws a liver: so its mask gets the segments that it had."""


def drawn_liver(labels: LabelArray, scan: Geometry) -> KnownLiver:
    """The liver of a label map along the patient's axes, its holes filled.

    A person may leave vessels out of a liver. The network that tells the segments was shown livers
    with what is in them, so such holes count as liver here.

    Args:
        labels: `anatomy.Label` values on the scan's grid; all that is not background is liver.
            There must be a voxel of it.
        scan: The grid.

    Returns:
        Empty where the label is nowhere as thick as a voxel of DRAWN_SPACING_MM.
    """
    mask = np.asarray(labels > 0)
    box = box_of(mask)
    part, geometry = to_patient_axes(mask[box], scan.cropped(box))
    whole = patient_grid(scan, DRAWN_SPACING_MM)
    grid = whole.cropped(box_holding(whole, geometry.grown(NEIGHBORS).corners_lps()))
    drawn = share_of(KnownLiver(part, geometry), grid) >= 0.5
    return KnownLiver(np.asarray(ndimage.binary_fill_holes(drawn)), grid)
