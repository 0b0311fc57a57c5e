"""One way in and one way out for every format: what a path holds decides who reads it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from livertumor_cli.errors import ConfigError, OutputError, Reason, UnsupportedFormatError
from livertumor_cli.io.archive import is_zip
from livertumor_cli.io.atomic import output_error, write_bytes, write_text
from livertumor_cli.io.gzip_stream import is_gzip_name
from livertumor_cli.io.place import refusals_as_input_errors
from livertumor_cli.io.readback import verify_volume, verify_written
from livertumor_cli.volume import LabelMap, Source, Volume

__all__ = [
    "FORMATS_HINT",
    "is_volume_file",
    "read_members",
    "read_study",
    "read_volume",
    "read_volume_file",
    "verify_written",
    "write_bytes",
    "write_label_map",
    "write_proved_volume",
    "write_text",
    "write_volume",
]

FORMATS_HINT = "Give a .nii, .nii.gz, .mha or .nrrd file, a DICOM folder or a zip of one."

_NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz")
_ITK = (".mha", ".mhd", ".nrrd", ".nhdr")
_OTHER_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".pdf", ".mnc", ".mgz")


def read_volume(path: Path, *, series: str = "", resample_irregular: bool = False) -> Volume:
    """Read a CT in HU on its own grid, or refuse it with a reason.

    Args:
        path: NIfTI, MetaImage or NRRD file; DICOM folder, file, DICOMDIR or zip.
        series: UID or number of the DICOM series to take; by default the best for a liver.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
        ConfigError: If a series is asked for in a format that has none.
    """
    with refusals_as_input_errors(path):
        return _read(path, series=series, resample_irregular=resample_irregular)


def read_study(files: Sequence[Path], *, folder: Path, resample_irregular: bool = False) -> Volume:
    """Read the CT of a DICOM study whose files are known, as one among several in a folder.

    Args:
        files: Of the study, in any order.
        folder: That holds them all.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
    """
    from livertumor_cli.io.dicom_series import read_dicom_files

    source = Source(folder, "dicom", files=tuple(files))
    with refusals_as_input_errors(folder):
        return read_dicom_files(files, source=source, resample_irregular=resample_irregular)


def read_members(path: Path, members: Collection[str], *, resample_irregular: bool) -> Volume:
    """Read a DICOM study or a volume file that lies in a zip, as one among several.

    Args:
        path: The zip file.
        members: Names of the members that belong to it.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
    """
    from livertumor_cli.io.zipped import read_zip

    with refusals_as_input_errors(path):
        return read_zip(path, only=members, resample_irregular=resample_irregular)


def _read(path: Path, *, series: str, resample_irregular: bool) -> Volume:
    path.stat()
    if not path.is_dir():
        if not path.is_file():
            raise UnsupportedFormatError(
                f"{path} is neither a file nor a folder.", reason=Reason.NOT_AN_IMAGE
            )
        if is_volume_file(path):
            return read_volume_file(path, series=series)
        if path.name.lower().endswith(_OTHER_IMAGES):
            raise UnsupportedFormatError(
                f"{path.name} is no CT volume.", reason=Reason.UNSUPPORTED_FORMAT, hint=FORMATS_HINT
            )
    if path.is_file() and is_zip(path):
        from livertumor_cli.io.zipped import read_zip

        return read_zip(path, series=series, resample_irregular=resample_irregular)
    from livertumor_cli.io.dicom_series import read_dicom

    return read_dicom(path, series=series, resample_irregular=resample_irregular)


def is_volume_file(path: Path) -> bool:
    """Whether a name is that of a NIfTI, MetaImage or NRRD file."""
    return path.name.lower().endswith(_NIFTI) or is_itk_file(path)


def is_itk_file(path: Path) -> bool:
    """Whether a name is that of a MetaImage or NRRD file."""
    return path.name.lower().endswith(_ITK)


def read_volume_file(path: Path, *, series: str = "") -> Volume:
    """Read a NIfTI, MetaImage or NRRD file.

    Args:
        path: Its name says which.
        series: Must be empty.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
        ConfigError: If a series is asked for.
    """
    if series:
        raise ConfigError(f"{path.name} is no DICOM, so no series can be chosen in it.")
    if path.name.lower().endswith(_NIFTI):
        from livertumor_cli.io.nifti import read_nifti

        return read_nifti(path)
    from livertumor_cli.io.itk import read_itk

    return read_itk(path)


def write_label_map(path: Path, label_map: LabelMap) -> None:
    """Write a label map as NIfTI on its own grid, whole or not at all.

    Args:
        path: Ends in .nii or .nii.gz.
        label_map: uint8 or uint16 labels.

    Raises:
        OutputError: If the file cannot be written.
        ValueError: If the labels are of another type.
    """
    from livertumor_cli.io.nifti import write_nifti

    if label_map.labels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"labels must be uint8 or uint16, not {label_map.labels.dtype}")
    write_nifti(path, label_map.labels, label_map.geometry)


def write_volume(path: Path, volume: Volume) -> None:
    """Write a CT as NIfTI on its own grid, whole or not at all.

    Args:
        path: Ends in .nii or .nii.gz.
        volume: int16 or float32 HU.

    Raises:
        OutputError: If the file cannot be written.
    """
    from livertumor_cli.io.nifti import write_nifti

    write_nifti(path, volume.hu, volume.geometry)


def write_proved_volume(path: Path, volume: Volume) -> None:
    """Write a CT, read it back, and only then give the file its name.

    It is read back in a folder of its own: of `scan.nii.gz` beside a `scan.nii` ITK reads the
    header, and the voxels of the other.

    Args:
        path: Ends in .nii or .nii.gz, in letters of any case.
        volume: int16 or float32 HU.

    Raises:
        OutputError: If the file cannot be written or does not read back as written.
    """
    suffix = ".nii.gz" if is_gzip_name(path) else ".nii"
    try:
        with TemporaryDirectory(prefix=".livertumor-", dir=path.parent) as folder:
            trial = Path(folder, f"scan{suffix}")
            try:
                write_volume(trial, volume)
                verify_volume(trial, volume)
            except OutputError as error:
                # The user knows the target; the temporary folder is gone by then.
                error.message = error.message.replace(str(trial), str(path))
                raise
            trial.replace(path)
    except OSError as error:
        raise output_error(error, path=path) from error
