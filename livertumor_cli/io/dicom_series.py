"""A CT series from DICOM files to a volume: choose, check the grid, then read the pixels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import HuArray
from livertumor_cli.errors import GeometryError, PixelError, Reason
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.checks import require_hounsfield, require_size, require_slices
from livertumor_cli.io.dicom_choice import choose_series
from livertumor_cli.io.dicom_geometry import ordered_stack, sorted_stack
from livertumor_cli.io.dicom_header import Plane
from livertumor_cli.io.dicom_irregular import MENDED, nearest_planes, regular_grid, resampled
from livertumor_cli.io.dicom_phase import Phase
from livertumor_cli.io.dicom_pixels import PixelReader
from livertumor_cli.io.dicom_rule import Series
from livertumor_cli.io.dicom_scan import called, find_files, scan, without_copies
from livertumor_cli.io.hounsfield import is_whole, rescaled
from livertumor_cli.volume import AIR_HU, Source, Volume

_HIGHEST_TISSUE_HU = 3071
"""12 bits end here: a padding value above it is an unsigned reading of a negative number."""


def read_dicom(path: Path, *, series: str = "", resample_irregular: bool = False) -> Volume:
    """Read the CT series of a folder, file or DICOMDIR on its own grid.

    Args:
        path: What the user gave.
        series: UID or number of the series to take; by default the best for a liver, as
            `livertumor_cli.io.dicom_rule` defines it.
        resample_irregular: Whether a series that forms no regular grid is resampled to one.

    Returns:
        The volume, its z axis along the slice normal (rows x columns), whatever the file order.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
    """
    return read_dicom_files(
        find_files(path),
        source=Source(path, "dicom"),
        series=series,
        resample_irregular=resample_irregular,
    )


def read_dicom_files(
    files: Sequence[Path], *, source: Source, series: str = "", resample_irregular: bool = False
) -> Volume:
    """Read the CT series among some files; see `read_dicom`.

    Args:
        files: Any files.
        source: What the user gave; series, instances and notes are added to it.
        series: UID or number of the series to take.
        resample_irregular: Whether a series that forms no regular grid is resampled to one.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
    """
    with warnings.catch_warnings():
        # pydicom warns of every value that breaks the standard; what matters is checked here.
        warnings.simplefilter("ignore")
        name = called(source.path)
        chosen = choose_series(scan(files, name=name), name=name, wanted=series)
        planes = without_copies(chosen.planes)
        require_size((len(planes), *planes[0].size))
        ordered, hu, geometry, note = _read(planes, resample_irregular=resample_irregular)
    require_hounsfield(hu)
    require_slices(hu.shape)
    source = replace(
        source,
        series_uid=chosen.uid,
        sop_instance_uids=tuple(plane.sop_instance_uid for plane in ordered),
        notes=(*([note] if note else []), *_notes(chosen, ordered)),
    )
    return Volume(hu, geometry, source)


def _read(
    planes: Sequence[Plane], *, resample_irregular: bool
) -> tuple[list[Plane], HuArray, Geometry, str]:
    """The plane of each z index, HU and grid, and the note of a resampling (else empty)."""
    try:
        ordered, geometry = ordered_stack(planes)
    except GeometryError as error:
        if not resample_irregular or error.reason not in MENDED:
            raise
        stack = sorted_stack(planes)
        grid = regular_grid(stack)
        hu = resampled(read_hu(stack.planes), stack, grid=grid)
        note = (
            f"Slices were resampled to a regular grid in steps of {grid.spacing_mm[0]:.2f} mm, "
            f"and values between them interpolated. {error.message}"
        )
        return nearest_planes(stack, grid), hu, grid, note
    return ordered, read_hu(ordered), geometry, ""


def read_hu(planes: Sequence[Plane]) -> HuArray:
    """Stack the pixels of planes of one size, each with its own slope and intercept.

    Args:
        planes: In the order of the first axis.

    Returns:
        Shape (len(planes), rows, columns); int16 if every slice is exact in it, else float32.

    Raises:
        PixelError: no_pixels, truncated, unreadable, unsupported_syntax or not_hu.
    """
    if len({plane.is_rescaled for plane in planes}) > 1:
        raise PixelError(
            "Some slices state how their values become Hounsfield units, and others do not.",
            reason=Reason.NOT_HU,
            hint="Export the series again with its rescale slope and intercept.",
        )
    exact = is_whole(*(number for plane in planes for number in (plane.slope, plane.intercept)))
    hu: NDArray[Any] = np.empty(
        (len(planes), *planes[0].size), dtype=np.int16 if exact else np.float32
    )
    reader = PixelReader()
    for index, plane in enumerate(planes):
        values = _plane_hu(reader, plane)
        if values.dtype != hu.dtype and hu.dtype == np.int16:
            hu = hu.astype(np.float32)  # a value beyond int16: metal in an extended scale
        hu[index] = values
    return hu


def _plane_hu(reader: PixelReader, plane: Plane) -> HuArray:
    stored, padding = reader.read(plane)
    padded = None
    # Padding below air is clipped with the rest. A padding value within tissue is a false tag.
    if padding and min(padding) * plane.slope + plane.intercept > _HIGHEST_TISSUE_HU:
        padded = (stored >= min(padding)) & (stored <= max(padding))
    volume = rescaled(stored[None], slope=plane.slope, intercept=plane.intercept)
    hu: HuArray = volume.reshape(plane.size)
    if padded is not None:
        hu[padded] = AIR_HU
    return hu


def _notes(series: Series, planes: Sequence[Plane]) -> list[str]:
    notes = []
    if any(plane.is_lossy for plane in planes):
        notes.append("The pixels were compressed with loss; small differences in HU are possible.")
    if series.phase in (Phase.ARTERIAL, Phase.DELAYED, Phase.NATIVE):
        notes.append(
            f"The series states the {series.phase} phase; the program is made for the "
            "portal-venous phase."
        )
    if series.left_out:
        faults = sorted({str(plane.fault) for plane in series.left_out})
        count = len(series.left_out)
        notes.append(
            f"{count} {'image' if count == 1 else 'images'} of the series left out "
            f"({', '.join(faults)})."
        )
    return notes
