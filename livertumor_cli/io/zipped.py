"""A zip as users get it: a DICOM study, or one volume file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from livertumor_cli.io.archive import extracted, opened
from livertumor_cli.io.dicom_file import is_dicom
from livertumor_cli.io.dicom_scan import find_files
from livertumor_cli.io.dicom_series import read_dicom_files
from livertumor_cli.io.formats import is_volume_file, read_volume_file
from livertumor_cli.volume import Source, Volume


def read_zip(
    path: Path,
    *,
    only: Collection[str] = (),
    series: str = "",
    resample_irregular: bool = False,
) -> Volume:
    """Read the DICOM series in a zip, or its one NIfTI, MetaImage or NRRD file.

    Args:
        path: The zip file.
        only: Names of the members to look into, as `archive.Archive` calls them; all if empty.
        series: UID or number of the DICOM series to take.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.

    Raises:
        InputError: With the reason; see `livertumor_cli.errors.Reason`.
        ConfigError: If a series is asked for and there is no DICOM.
    """
    with extracted(path, only=only) as folder:
        files = find_files(folder)
        volumes = [file for file in files if is_volume_file(file)]
        others = [file for file in files if file not in volumes]
        if len(volumes) == 1 and not any(is_dicom(file) for file in others):
            volume = read_volume_file(volumes[0], series=series)
            return replace(volume, source=Source(path, "zip", notes=volume.source.notes))
        return read_dicom_files(
            files,
            source=Source(path, "zip", members=tuple(only)),
            series=series,
            resample_irregular=resample_irregular,
        )


def members_sha256(path: Path, names: Collection[str]) -> list[str]:
    """SHA-256 over the content of some members of a zip, as 64 hexadecimal digits each.

    Raises:
        InputError: As `archive.opened` and `archive.Archive.unpack`.
        OSError: If the zip cannot be read.
    """
    with opened(path) as archive:
        return archive.sha256_of(names)
