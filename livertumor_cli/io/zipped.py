"""A zip as users get it: a DICOM study, or one volume file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from livertumor_cli.io.archive import extracted
from livertumor_cli.io.dicom_file import is_dicom
from livertumor_cli.io.dicom_scan import find_files
from livertumor_cli.io.dicom_series import read_dicom_files
from livertumor_cli.io.formats import is_volume_file, read_volume_file
from livertumor_cli.volume import Source, Volume


def read_zip(path: Path, *, series: str = "", resample_irregular: bool = False) -> Volume:
    """Read the DICOM series in a zip, or its one NIfTI, MetaImage or NRRD file.

    Args:
        path: The zip file.
        series: UID or number of the DICOM series to take.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
        ConfigError: If a series is asked for and there is no DICOM.
    """
    with extracted(path) as folder:
        files = find_files(folder)
        volumes = [file for file in files if is_volume_file(file)]
        others = [file for file in files if file not in volumes]
        if len(volumes) == 1 and not any(is_dicom(file) for file in others):
            volume = read_volume_file(volumes[0], series=series)
            return replace(volume, source=Source(path, "zip", notes=volume.source.notes))
        return read_dicom_files(
            files,
            source=Source(path, "zip"),
            series=series,
            resample_irregular=resample_irregular,
        )
