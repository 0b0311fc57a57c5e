"""The pictures of a case: where the lesions lie, and for each the slice it was measured in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.findings import CaseFindings, Lesion
from livertumor_cli.report.drawing import (
    LIVER,
    LONGEST,
    PERPENDICULAR,
    TUMOR,
    VESSEL,
    Picture,
    png_bytes,
    side_by_side,
    whole,
)
from livertumor_cli.report.planes import Hanging, Plane
from livertumor_cli.volume import LabelMap, Volume

OVERVIEWS = ("axial", "coronal", "sagittal")
PROJECTIONS = ("front", "below")

MOST_PICTURED = 50
"""Lesions that get a picture, the largest first: nobody looks at hundreds, and each takes its time
and stands in two files. The table has all lesions; the pages say that some have no picture."""

_AT_ONCE = 2
"""Pictures drawn side by side: Pillow leaves the interpreter to others for half of its time."""

_LESION_PX = 330
_OVERVIEW_PX = 300
_SMALLEST_VIEW_MM = 60.0
_VIEW_PER_LENGTH = 1.9
_PROJECTION_HU = (0.0, 220.0)
_NUMBERED = 15
"""Lesions whose number is written into a projection; more would hide each other."""


Drawing: TypeAlias = Callable[[], bytes]
"""Draws one picture."""


def lesion_file(number: int) -> str:
    """Name of a lesion's picture."""
    return f"lesion_{number:02d}.png"


def case_figures(
    volume: Volume, *, mask: LabelMap, lesions: LabelMap, findings: CaseFindings
) -> dict[str, bytes]:
    """PNG files by name: overviews, projections, then one for each of the largest lesions.

    Args:
        volume: The scan.
        mask: `anatomy.Label` values on its grid.
        lesions: Lesion numbers on its grid.
        findings: Their measurements.
    """
    hanging = Hanging(volume, mask, lesions)
    drawings: dict[str, Drawing] = {
        **_overviews(hanging, findings),
        **_projections(hanging, findings),
        **{
            lesion_file(lesion.id): partial(_key_slice, hanging, lesion)
            for lesion in findings.lesions[:MOST_PICTURED]
        },
    }
    with ThreadPoolExecutor(_AT_ONCE, "pictures") as drawers:
        pictures = drawers.map(_drawn, drawings.values())
        return dict(zip(drawings, pictures, strict=True))


def _drawn(drawing: Drawing) -> bytes:
    return drawing()


def _overviews(hanging: Hanging, findings: CaseFindings) -> dict[str, Drawing]:
    """Three sections through the largest lesion, or through the middle of the liver."""
    box = hanging.liver_box
    if findings.lesions:
        z, y, x = hanging.nearest(findings.lesions[0].centroid_lps_mm)
    elif box is not None:
        z, y, x = ((part.start + part.stop) // 2 for part in box)
        z, y, x = (
            min(index, size - 1) for index, size in zip((z, y, x), hanging.hu.shape, strict=True)
        )
    else:
        z, y, x = (size // 2 for size in hanging.hu.shape)
    planes = (hanging.axial(z), hanging.coronal(y), hanging.sagittal(x))
    return {
        f"overview_{name}.png": partial(_overview, plane)
        for name, plane in zip(OVERVIEWS, planes, strict=True)
    }


def _overview(plane: Plane) -> bytes:
    picture = whole(plane, height_px=_OVERVIEW_PX)
    picture.fill(plane.labels == Label.VESSEL, VESSEL, share=0.7)
    picture.outline(plane.labels > 0, LIVER, width_px=1.0)
    picture.outline(plane.labels == Label.TUMOR, TUMOR)
    picture.frame()
    return png_bytes(picture.finished())


def _projections(hanging: Hanging, findings: CaseFindings) -> dict[str, Drawing]:
    """The liver's brightest voxels from the front and from below; none without a liver."""
    if hanging.liver_box is None:
        return {}
    return {
        f"projection_{name}.png": partial(_projection, hanging, findings, axis)
        for name, axis in zip(PROJECTIONS, (1, 0), strict=True)
    }


def _projection(hanging: Hanging, findings: CaseFindings, axis: int) -> bytes:
    """One of them, with numbered tumors."""
    plane, box = hanging.projected(axis)
    picture = whole(plane, height_px=_OVERVIEW_PX, window_hu=_PROJECTION_HU)
    picture.fill(plane.labels == Label.VESSEL, VESSEL, share=0.65)
    picture.fill(plane.labels == Label.TUMOR, TUMOR, share=0.6)
    picture.outline(plane.labels > 0, LIVER, width_px=1.0)
    picture.outline(plane.labels == Label.TUMOR, TUMOR, width_px=1.0)
    for lesion in findings.lesions[:_NUMBERED]:
        index = hanging.index_of(np.array(lesion.centroid_lps_mm))
        index = index - [part.start for part in box]
        row = plane.hu.shape[0] - 1 - index[0] if axis == 1 else index[1]
        picture.text(picture.place((row, index[2])), str(lesion.id))
    picture.frame()
    return png_bytes(picture.finished())


def _key_slice(hanging: Hanging, lesion: Lesion) -> bytes:
    """The slice of the diameters: as it is, and beside it with outline and lines."""
    plane = hanging.axial(hanging.view.shown_slice(lesion.slice_index))
    axes = (lesion.longest_axis, lesion.perpendicular_axis)
    lines = [hanging.index_of(np.array(axis.ends_lps_mm))[:, 1:] for axis in axes]
    rows, columns = np.concatenate(lines).T
    middle = ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
    side_mm = max(_SMALLEST_VIEW_MM, _VIEW_PER_LENGTH * lesion.longest_axis.length_mm)
    plain, drawn = (
        Picture(plane, middle=middle, size_mm=(side_mm, side_mm), height_px=_LESION_PX)
        for _ in range(2)
    )
    drawn.outline(plane.labels > 0, LIVER, width_px=0.75)
    others = (plane.lesions > 0) & (plane.lesions != lesion.id)
    drawn.outline(others, TUMOR, width_px=0.75)
    drawn.outline(plane.lesions == lesion.id, TUMOR)
    for ends, color in zip(lines, (LONGEST, PERPENDICULAR), strict=True):
        drawn.line(ends.tolist(), color)
    plain.text((16, 16), f"Lesion {lesion.id}", anchor="lt")
    lengths = " x ".join(f"{axis.length_mm:.1f}" for axis in axes)
    drawn.text((16, 16), f"{lengths} mm", anchor="lt")
    for picture in (plain, drawn):
        picture.frame()
    return png_bytes(side_by_side([plain.finished(), drawn.finished()]))
