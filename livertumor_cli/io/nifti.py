"""NIfTI-1 and NIfTI-2: nibabel reads and writes the header, the voxels are read here.

The header decides everything that can go wrong (where left is, shear, size), so it is judged
before a voxel is read; SimpleITK would set NaN to 0 and straighten a shear without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from livertumor_cli.arrays import DoubleArray, HuArray, InstanceArray, LabelArray
from livertumor_cli.errors import (
    GeometryError,
    InputError,
    PixelError,
    Reason,
    UnsupportedFormatError,
)
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.atomic import written_atomically
from livertumor_cli.io.checks import (
    require_hounsfield,
    require_size,
    require_slices,
    scan_geometry,
)
from livertumor_cli.io.gzip_stream import (
    MAGIC,
    MAX_DEFLATE_RATIO,
    deflating,
    inflating,
    is_gzip_name,
    read_to_the_end,
)
from livertumor_cli.io.hounsfield import StoredArray, rescaled, slabs
from livertumor_cli.volume import Source, Volume

RAS_TO_LPS: DoubleArray = np.diag([-1.0, -1.0, 1.0, 1.0])

_HEADER_BYTES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAX_OFFSET_BYTES = 2**26
_PIECE_BYTES = 2**22

_VOXELS_FROM = 352
"""Where the voxels begin in what is written here: after the header and four empty bytes."""

Header: TypeAlias = Any  # nibabel has no complete types


def read_nifti(path: Path) -> Volume:
    """Read a CT from .nii or .nii.gz on its own grid.

    Args:
        path: The file; whether it is compressed is seen from its content.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
    """
    with path.open("rb") as raw:
        compressed = raw.read(2) == MAGIC
        raw.seek(0)
        if not compressed:
            return _read_stream(raw, path=path, limit_bytes=path.stat().st_size)
        limit = path.stat().st_size * MAX_DEFLATE_RATIO
        with inflating(raw, name=path.name) as stream:
            return _read_stream(stream, path=path, limit_bytes=limit)


def _read_stream(stream: BinaryIO, *, path: Path, limit_bytes: int) -> Volume:
    header = _read_header(stream, name=path.name)
    shape = _spatial_shape(header)
    dtype = _real_dtype(header)
    require_size(shape)
    geometry = _geometry(header, shape=shape)
    needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if needed > limit_bytes:
        raise _truncated(path)
    slope, intercept = _scaling(header)
    _skip_to_voxels(stream, header, path=path)
    stored = _read_voxels(stream, path=path, shape=shape, dtype=dtype)
    hu = rescaled(stored, slope=slope, intercept=intercept)
    require_hounsfield(hu)
    require_slices(shape)
    return Volume(hu, geometry, Source(path, "nifti"))


def _truncated(path: Path) -> PixelError:
    return PixelError(
        f"{path.name} is cut off: it holds fewer voxels than its header states.",
        reason=Reason.TRUNCATED,
        hint="Copy or export the file again.",
    )


def _read_header(stream: BinaryIO, *, name: str) -> Header:
    start = stream.read(4)
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")} & set(_HEADER_BYTES)
    size = sizes.pop() if sizes else 0
    if not size:
        raise UnsupportedFormatError(
            f"{name} is no NIfTI file.",
            reason=Reason.NOT_AN_IMAGE,
            hint="Give a .nii, .nii.gz, .mha or .nrrd file, a DICOM folder or a zip of one.",
        )
    block = start + stream.read(size - 4)
    if len(block) < size:
        raise PixelError(f"{name} ends within its header.", reason=Reason.TRUNCATED)
    header = _HEADER_BYTES[size](block, check=False)
    if header["magic"].item().rstrip(b"\x00")[:3] not in (b"n+1", b"n+2"):
        raise UnsupportedFormatError(
            f"{name} holds only the header of an image.",
            reason=Reason.NO_PIXELS,
            hint="Convert the .hdr/.img pair to one .nii.gz file.",
        )
    return header


def _spatial_shape(header: Header) -> tuple[int, int, int]:
    """Sizes along z, y, x; a fourth axis of one is dropped."""
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise InputError("The header states no valid number of axes.", reason=Reason.UNREADABLE)
    sizes = [int(size) for size in header["dim"][1 : count + 1]]
    if any(size > 1 for size in sizes[3:]):
        raise UnsupportedFormatError(
            f"The image has more than three axes ({' x '.join(map(str, sizes))}).",
            reason=Reason.FOUR_DIMENSIONAL,
            hint="Export one phase of the scan.",
        )
    x, y, z = [*sizes, 1, 1][:3]
    return z, y, x


def _real_dtype(header: Header) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise UnsupportedFormatError(
            "The voxels are of an unknown type.", reason=Reason.UNSUPPORTED_FORMAT
        ) from error
    if dtype.fields is not None:
        raise UnsupportedFormatError(
            "The image is in color, not a CT.",
            reason=Reason.COLOUR,
            hint="Export the original CT series.",
        )
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnsupportedFormatError(
            f"Voxels of type {dtype} are no CT values.", reason=Reason.UNSUPPORTED_FORMAT
        )
    return dtype


def _form(header: Header, name: str) -> DoubleArray | None:
    """The qform or sform as RAS affine; None if its code is 0 or it cannot be computed."""
    try:
        affine, _code = getattr(header, f"get_{name}")(coded=True)
    except (HeaderDataError, np.linalg.LinAlgError, ValueError):
        return None
    return None if affine is None else np.asarray(affine, dtype=np.float64)


def _geometry(header: Header, *, shape: tuple[int, int, int]) -> Geometry:
    """The one grid the header states; a header that states two is refused."""
    sform, qform = _form(header, "sform"), _form(header, "qform")
    affine = sform if sform is not None else qform
    if affine is None:
        raise GeometryError(
            "The header does not say where left and right are (qform and sform codes are 0).",
            reason=Reason.NO_ORIENTATION,
            hint="Convert the scan again from DICOM.",
        )
    geometry = scan_geometry(shape, RAS_TO_LPS @ affine)
    if sform is not None and qform is not None:
        other = scan_geometry(shape, RAS_TO_LPS @ qform)
        # Quaternions near half a turn lose float32 digits: a quarter of a millimeter at 500 mm.
        if not geometry.is_same_grid(other, tolerance_mm=min(geometry.spacing_mm) / 2):
            apart = float(np.abs(geometry.corners_lps() - other.corners_lps()).max())
            raise _conflict(f"The qform and sform of the header are {apart:.1f} mm apart.")
    stated = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))[::-1]
    if not np.allclose(stated, geometry.spacing_mm, rtol=0.01, atol=0.0):
        sizes = " x ".join(f"{size:.4g}" for size in geometry.spacing_mm)
        raise _conflict(
            f"The header gives two voxel sizes: {' x '.join(f'{s:.4g}' for s in stated)} mm (z, y, "
            f"x) in pixdim, {sizes} mm in its affine."
        )
    return geometry


def _conflict(message: str) -> GeometryError:
    return GeometryError(
        message,
        reason=Reason.ORIENTATION_CONFLICT,
        hint="Convert the scan again from DICOM; programs would place this one differently.",
    )


def _scaling(header: Header) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN means that the header states none."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise InputError(
            "The header states a scaling that is no number.", reason=Reason.UNREADABLE
        ) from error
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def _skip_to_voxels(stream: BinaryIO, header: Header, *, path: Path) -> None:
    stated, used = float(header["vox_offset"]), int(header["sizeof_hdr"])
    # Old writers leave 0 where 352 is meant; NaN fails both comparisons.
    offset = used + 4 if 0 <= stated <= used else stated
    if not used <= offset <= _MAX_OFFSET_BYTES:
        raise InputError(
            f"{path.name} states that its voxels begin at byte {stated:g}.",
            reason=Reason.UNREADABLE,
        )
    if len(stream.read(int(offset) - used)) < int(offset) - used:
        raise _truncated(path)


def _read_voxels(
    stream: BinaryIO, *, path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> StoredArray:
    stored = np.empty(shape, dtype=dtype)
    rest = stored.reshape(-1).view(np.uint8).data
    while rest:
        # In pieces: gzip makes what is asked for once more before it hands it over.
        count = stream.readinto(rest[:_PIECE_BYTES])  # type: ignore[attr-defined]
        if not count:
            raise _truncated(path)
        rest = rest[count:]
    read_to_the_end(stream)
    return stored


def write_nifti(
    path: Path, array: HuArray | LabelArray | InstanceArray, geometry: Geometry
) -> None:
    """Write an array as NIfTI-1, whole or not at all; sform and qform both say "scanner".

    Args:
        path: Ends in .nii or .nii.gz.
        array: Shape (z, y, x).
        geometry: Its grid.

    Raises:
        OutputError: If the file cannot be written.
    """
    with written_atomically(path) as raw:
        if not is_gzip_name(path):
            _write_stream(raw, array, geometry)
            return
        with deflating(raw) as stream:
            _write_stream(stream, array, geometry)


def leading_bytes(dtype: np.dtype[Any], geometry: Geometry) -> bytes:
    """What stands before the voxels in a file that `write_nifti` writes.

    Args:
        dtype: Of the voxels.
        geometry: Their grid.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(geometry.shape[::-1])
    affine_ras = RAS_TO_LPS @ geometry.affine_lps
    header.set_qform(affine_ras, code=1)
    header.set_sform(affine_ras, code=1)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1.0, 0.0)
    header["magic"] = b"n+1"
    header["vox_offset"] = _VOXELS_FROM
    block: bytes = header.binaryblock
    return block.ljust(_VOXELS_FROM, b"\0")  # no header extensions follow


def _write_stream(stream: BinaryIO, array: StoredArray, geometry: Geometry) -> None:
    stream.write(leading_bytes(array.dtype, geometry))
    for part in slabs(array):
        stream.write(np.ascontiguousarray(array[part]).data)
