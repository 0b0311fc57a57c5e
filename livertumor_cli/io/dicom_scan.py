"""From a folder, file or DICOMDIR to the one CT series to read, or the reason why there is none."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread

from livertumor_cli.errors import (
    InputError,
    PixelError,
    Reason,
    SeriesSelectionError,
    UnsupportedFormatError,
)
from livertumor_cli.io.dicom_header import MALFORMED, Plane, read_planes

MAX_FILES = 50_000
"""More files than the largest study has: somebody gave the root of a disk."""

COVERAGE_MARGIN = 0.9
"""Two series are rivals when the smaller covers more than this part of the larger one."""

_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")

_FAULT_SENTENCES = {
    Reason.NOT_HU: "its values are a derived map, not Hounsfield units",
    Reason.LOCALIZER: "it holds only localizers (scouts)",
    Reason.SECONDARY_CAPTURE: "its images are secondary captures, such as screen shots",
    Reason.COLOUR: "its images are in color",
    Reason.NO_PIXELS: "its CT objects have no pixels",
    Reason.NOT_CT: "it holds no CT image",
}
"""In the order of how close each comes to a CT; the closest is named."""


@dataclass(frozen=True, slots=True)
class Series:
    """The planes of one series, in no order.

    Attributes:
        uid: SeriesInstanceUID; empty if the files have none.
        description: Series description.
        planes: CT planes; localizers and captures are left out.
    """

    uid: str
    description: str
    planes: tuple[Plane, ...]

    @property
    def coverage_mm(self) -> float:
        """How far the slices reach along their normal; 0 where the header does not say."""
        placed = [p for p in self.planes if p.position_mm and p.orientation]
        if not placed:
            return 0.0
        cosines = np.array(placed[0].orientation)
        normal = np.cross(cosines[:3], cosines[3:])
        along = np.array([p.position_mm for p in placed]) @ normal
        return float(np.ptp(along)) + placed[0].thickness_mm


def find_files(path: Path) -> list[Path]:
    """The files to look into: a folder's, those a DICOMDIR lists, or the file itself.

    Raises:
        InputError: too_large for a folder of too many files; missing_slices for a DICOMDIR that
            lists files that are not there.
    """
    if path.is_dir():
        return _folder_files(path)
    if path.name.upper() == "DICOMDIR":
        return _listed_files(path)
    return [path]


def _folder_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        files += [Path(root, name) for name in sorted(names)]
        if len(files) > MAX_FILES:
            raise InputError(
                f"{folder} holds more than {MAX_FILES} files.",
                reason=Reason.TOO_LARGE,
                hint="Give the folder of one study.",
            )
    return [file for file in files if file.is_file()]


def _listed_files(path: Path) -> list[Path]:
    try:
        records = dcmread(path).DirectoryRecordSequence
        names = [record.get("ReferencedFileID") for record in records]
    except MALFORMED as error:
        raise PixelError(
            f"{path.name} cannot be read.",
            reason=Reason.UNREADABLE,
            hint="Give the folder of the images instead.",
        ) from error
    parts = [[name] if isinstance(name, str) else list(name) for name in names if name]
    files = [path.parent.joinpath(*(str(part) for part in file)) for file in parts]
    absent = sum(not file.is_file() for file in files)
    if absent:
        raise InputError(
            f"{path.name} lists {len(files)} files, and {absent} of them are not there.",
            reason=Reason.MISSING_SLICES,
            hint="Copy the whole medium, or give the folder of the images.",
        )
    return files


def scan(files: Iterable[Path], *, name: str) -> list[Plane]:
    """The planes of all DICOM images among some files.

    Args:
        files: Any files; those that are no DICOM are passed over.
        name: What the user gave, for sentences.

    Raises:
        UnsupportedFormatError: not_an_image, if there is no DICOM image.
        PixelError: unreadable, if a DICOM file has a broken header.
    """
    files = list(files)
    planes = [plane for file in files for plane in read_planes(file)]
    if planes:
        return planes
    others = [file.name for file in files if file.name.lower().endswith(_VOLUME_SUFFIXES)]
    raise UnsupportedFormatError(
        f"{name} holds no DICOM image.",
        reason=Reason.NOT_AN_IMAGE,
        hint=f"Give one file, such as {others[0]}."
        if others
        else "Give a .nii, .nii.gz, .mha or .nrrd file, a DICOM folder or a zip of one.",
    )


def choose_series(planes: list[Plane], *, name: str, series_uid: str = "") -> Series:
    """The CT series to read: the one asked for, else the one that covers most.

    Args:
        planes: What `scan` found.
        name: What the user gave, for sentences.
        series_uid: The series to take; empty for the choice of the program.

    Raises:
        InputError: The reason why no plane is a CT slice; several_patients.
        SeriesSelectionError: several_series, if the choice is not safe or the series is not there.
    """
    wanted = [p for p in planes if not series_uid or p.series_uid == series_uid]
    if not wanted:
        raise SeriesSelectionError(
            f"{name} has no series {series_uid}.",
            reason=Reason.SEVERAL_SERIES,
            hint=_listed(_grouped([p for p in planes if p.fault is None])),
        )
    usable = [plane for plane in wanted if plane.fault is None]
    if not usable:
        raise _no_ct(wanted, name=name)
    patients = {plane.patient for plane in usable}
    if len(patients) > 1:
        raise InputError(
            f"{name} holds CT of {len(patients)} patients.",
            reason=Reason.SEVERAL_PATIENTS,
            hint="Give the folder of one patient.",
        )
    series = _grouped(usable)
    best = series[0]
    rivals = [one for one in series if one.coverage_mm > COVERAGE_MARGIN * best.coverage_mm]
    if len(rivals) > 1 or (len(series) > 1 and best.coverage_mm == 0):
        raise SeriesSelectionError(
            f"{name} holds {len(series)} CT series, and {max(2, len(rivals))} of them cover "
            "the same.",
            reason=Reason.SEVERAL_SERIES,
            hint=_listed(series),
        )
    return best


def _grouped(planes: list[Plane]) -> list[Series]:
    """Series, the one that covers most first."""
    groups: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        groups[plane.series_uid].append(plane)
    series = [
        Series(uid, group[0].series_description, tuple(group)) for uid, group in groups.items()
    ]
    return sorted(series, key=lambda one: one.coverage_mm, reverse=True)


def _listed(series: list[Series]) -> str:
    lines = [
        f"{one.uid} ({one.description or 'no description'}, {len(one.planes)} slices, "
        f"{one.coverage_mm:.0f} mm)"
        for one in series
    ]
    return "Give one of these series: " + "; ".join(lines)


def _no_ct(planes: list[Plane], *, name: str) -> UnsupportedFormatError:
    faults = {plane.fault for plane in planes}
    reason = next(reason for reason in _FAULT_SENTENCES if reason in faults)
    sentence = _FAULT_SENTENCES[reason]
    if reason is Reason.NOT_CT:
        kinds = {plane.modality or "objects of no stated kind" for plane in planes}
        sentence += f" (but {', '.join(sorted(kinds))})"
    return UnsupportedFormatError(
        f"{name} cannot be used: {sentence}.",
        reason=reason,
        hint="Export the original axial CT series.",
    )
