"""A CT series from DICOM files to a volume: choose, check the grid, then read the pixels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livertumor_cli.arrays import HuArray
from livertumor_cli.io.archive import extracted, is_zip
from livertumor_cli.io.checks import require_hounsfield, require_size, require_slices
from livertumor_cli.io.dicom_geometry import ordered_stack
from livertumor_cli.io.dicom_header import Plane
from livertumor_cli.io.dicom_pixels import PixelReader
from livertumor_cli.io.dicom_scan import choose_series, find_files, scan
from livertumor_cli.io.hounsfield import is_whole, rescaled
from livertumor_cli.volume import AIR_HU, Source, Volume

_HIGHEST_TISSUE_HU = 3071
"""12 bits end here: a padding value above it is an unsigned reading of a negative number."""


def read_dicom(path: Path, *, series_uid: str = "") -> Volume:
    """Read the CT series of a folder, file, DICOMDIR or zip on its own grid.

    Args:
        path: What the user gave.
        series_uid: The series to take; by default the CT series that covers most.

    Returns:
        The volume, its z axis along the slice normal (rows x columns), whatever the file order.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
    """
    with ExitStack() as stack:
        # pydicom warns of every value that breaks the standard; what matters is checked here.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        zipped = path.is_file() and is_zip(path)
        place = stack.enter_context(extracted(path)) if zipped else path
        planes = scan(find_files(place), name=path.name)
        series = choose_series(planes, name=path.name, series_uid=series_uid)
        require_size((len(series.planes), *series.planes[0].size))
        ordered, geometry = ordered_stack(series.planes)
        hu = read_hu(ordered)
    require_hounsfield(hu)
    require_slices(hu.shape)
    source = Source(
        path,
        "zip" if zipped else "dicom",
        series_uid=series.uid,
        sop_instance_uids=tuple(plane.sop_instance_uid for plane in ordered),
        notes=_notes(ordered),
    )
    return Volume(hu, geometry, source)


def read_hu(planes: Sequence[Plane]) -> HuArray:
    """Stack the pixels of planes of one size, each with its own slope and intercept.

    Args:
        planes: In the order of the first axis.

    Returns:
        Shape (len(planes), rows, columns); int16 if every slice is exact in it, else float32.

    Raises:
        PixelError: no_pixels, truncated, unreadable, unsupported_syntax or not_hu.
    """
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
    if padding is not None and padding * plane.slope + plane.intercept > _HIGHEST_TISSUE_HU:
        padded = stored == padding
    volume = rescaled(stored[None], slope=plane.slope, intercept=plane.intercept)
    hu: HuArray = volume.reshape(plane.size)
    if padded is not None:
        hu[padded] = AIR_HU
    return hu


def _notes(planes: Sequence[Plane]) -> tuple[str, ...]:
    if any(plane.is_lossy for plane in planes):
        return ("The pixels were compressed with loss; small differences in HU are possible.",)
    return ()
