"""MetaImage (.mha, .mhd) and NRRD by SimpleITK.

ITK fills what a header leaves out (spacing 1, axes along the patient), so the text header is looked
at first: what is not stated is refused, not invented.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from livertumor_cli.arrays import DoubleArray
from livertumor_cli.errors import (
    GeometryError,
    InputError,
    Reason,
    UnsupportedFormatError,
)
from livertumor_cli.io.atomic import has_utf8_name
from livertumor_cli.io.checks import (
    require_hounsfield,
    require_size,
    require_slices,
    scan_geometry,
)
from livertumor_cli.io.hounsfield import rescaled
from livertumor_cli.io.itk_voxels import (
    MAX_HEADER_BYTES,
    damaged_voxels,
    read_text_header,
    require_whole_voxels,
    unreadable_header,
)
from livertumor_cli.process_memory import is_out_of_memory
from livertumor_cli.volume import Source, Volume

_DATA_FILE = re.compile(
    r"^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*(\S[^\r\n]*)", re.IGNORECASE | re.MULTILINE
)

_ORIENTATION_FIELDS = {
    "mha": {"transformmatrix", "rotation", "orientation"},
    "nrrd": {"space", "space dimension"},
}
_SPACING_FIELDS = {
    "mha": {"elementspacing", "elementsize"},
    "nrrd": {"space directions", "spacings"},
}


def read_itk(path: Path) -> Volume:
    """Read a CT from a MetaImage or NRRD file on its own grid.

    Args:
        path: .mha, .mhd, .nrrd or .nhdr file.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
    """
    require_text_path(path)
    kind = _require_stated_grid(path)
    read_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("MetaImageIO" if kind == "mha" else "NrrdImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable_header(path) from error
    shape = _volume_shape(reader)
    require_size(shape)
    geometry = scan_geometry(shape, _affine_lps(reader))
    require_whole_voxels(path, reader)
    image = _read_pixels(reader, path=path)
    hu = rescaled(sitk.GetArrayViewFromImage(image).reshape(shape))
    require_hounsfield(hu)
    require_slices(shape)
    return Volume(hu, geometry, Source(path, kind))


def require_text_path(path: Path) -> None:
    """Refuse a path that ITK would end the process at.

    Raises:
        InputError: If it has bytes that are no UTF-8.
    """
    if not has_utf8_name(path):
        raise InputError(
            f"{path} cannot be read: its name has bytes that are no UTF-8.",
            reason=Reason.UNREADABLE,
            hint="Rename the file or its folder.",
        )


def detached_voxels(path: Path) -> Path | None:
    """The file beside a header (.mhd, .nhdr) that holds its voxels; None if there is none.

    Args:
        path: The header.
    """
    with path.open("rb") as stream:
        named = _DATA_FILE.search(stream.read(MAX_HEADER_BYTES).decode("latin-1"))
    beside = path.with_name(Path(named[1].strip()).name) if named else path
    return beside if beside != path and beside.is_file() else None


def _require_stated_grid(path: Path) -> str:
    """The kind of file, refused if its header leaves the grid to the reader's imagination."""
    with path.open("rb") as stream:
        text = stream.read(MAX_HEADER_BYTES).decode("latin-1")
    if text.startswith("NRRD0"):
        kind, separator, lines = "nrrd", ":", text.partition("\n\n")[0].splitlines()
    elif "NDims" in text:
        kind, separator, lines = "mha", "=", text.partition("ElementDataFile")[0].splitlines()
    else:
        raise UnsupportedFormatError(
            f"{path.name} is neither a MetaImage nor an NRRD file.",
            reason=Reason.NOT_AN_IMAGE,
            hint="Give a .nii, .nii.gz, .mha or .nrrd file, a DICOM folder or a zip of one.",
        )
    _require_own_voxels(text if kind == "mha" else "\n".join(lines), path=path)
    fields = {line.partition(separator)[0].strip().lower() for line in lines}
    if not fields & _ORIENTATION_FIELDS[kind]:
        raise GeometryError(
            f"The header of {path.name} does not say how the axes lie in the patient.",
            reason=Reason.NO_ORIENTATION,
            hint="Export the scan again with its orientation.",
        )
    if not fields & _SPACING_FIELDS[kind]:
        raise GeometryError(
            f"The header of {path.name} gives no voxel size.",
            reason=Reason.NO_SPACING,
            hint="Export the scan again with its voxel size in millimeters.",
        )
    return kind


def _require_own_voxels(header: str, *, path: Path) -> None:
    """Refuse headers whose voxels lie anywhere but in this file or beside it."""
    named = _DATA_FILE.search(header)
    name = named[1].strip() if named else "LOCAL"
    if re.search(r"[/\\:%]", name) or name.split()[0].upper() == "LIST":
        raise InputError(
            f"The header of {path.name} takes its voxels from elsewhere ({name[:60]!r}).",
            reason=Reason.UNSAFE_ARCHIVE,
            hint="Save the scan as one file (.mha or .nrrd).",
        )


def _volume_shape(reader: sitk.ImageFileReader) -> tuple[int, int, int]:
    """Sizes along z, y, x; a fourth axis of one is dropped."""
    sizes = [int(size) for size in reader.GetSize()]
    channels = reader.GetNumberOfComponents()
    eight_bit = reader.GetPixelID() in (sitk.sitkUInt8, sitk.sitkVectorUInt8)
    if channels in (3, 4) and eight_bit:
        raise UnsupportedFormatError(
            "The image is in color, not a CT.",
            reason=Reason.COLOUR,
            hint="Export the original CT series.",
        )
    if channels > 1 or any(size > 1 for size in sizes[3:]):
        raise UnsupportedFormatError(
            "The image has several values per voxel or more than three axes.",
            reason=Reason.FOUR_DIMENSIONAL,
            hint="Export one phase of the scan.",
        )
    x, y, z = [*sizes, 1, 1][:3]
    return z, y, x


def _affine_lps(reader: sitk.ImageFileReader) -> DoubleArray:
    """4x4 from spacing, direction and origin; axes that a 2D image lacks are unit axes."""
    count = reader.GetDimension()
    direction = np.reshape(reader.GetDirection(), (count, count))
    used = min(count, 3)
    affine = np.eye(4)
    affine[:used, :used] = (direction * reader.GetSpacing())[:used, :used]
    affine[:used, 3] = reader.GetOrigin()[:used]
    return affine


def _read_pixels(reader: sitk.ImageFileReader, *, path: Path) -> sitk.Image:
    try:
        return reader.Execute()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise InputError(
                f"{path.name} does not fit into memory.", reason=Reason.TOO_LARGE
            ) from error
        raise damaged_voxels(path) from error
