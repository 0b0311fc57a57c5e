"""Every series in a place, and whether `segment` would take it: the chooser, explained."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from livertumor_cli.errors import InputError, Reason, UnsupportedFormatError
from livertumor_cli.io.archive import extracted, is_zip
from livertumor_cli.io.checks import require_size, require_slices
from livertumor_cli.io.dicom_choice import choose_series, grouped, why_no_ct
from livertumor_cli.io.dicom_geometry import ordered_stack
from livertumor_cli.io.dicom_header import Vector
from livertumor_cli.io.dicom_phase import Phase
from livertumor_cli.io.dicom_rule import Series, rank
from livertumor_cli.io.dicom_scan import (
    Survey,
    called,
    find_files,
    require_images,
    survey,
    without_copies,
)
from livertumor_cli.io.formats import is_volume_file
from livertumor_cli.io.place import refusals_as_input_errors


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series as a person or a program chooses by it.

    Attributes:
        series: Its images and what they say.
        taken: Whether `segment` takes it.
        reason: The name of what is wrong with it; None for a series that could be read.
        why: Part of a sentence: why it is taken or left out.
    """

    series: Series
    taken: bool
    reason: Reason | None
    why: str

    @property
    def images(self) -> int:
        """Number of slices, or of images if none is a slice."""
        return len(self.series.planes or self.series.left_out)

    @property
    def pixel_spacing_mm(self) -> Vector | None:
        """Distance of rows and of columns, of the first image."""
        return self.series.all_planes[0].spacing_mm

    @property
    def thickness_mm(self) -> float:
        """Slice thickness of the first image; 0 if not stated."""
        return self.series.all_planes[0].thickness_mm

    @property
    def modality(self) -> str:
        """As stated."""
        return self.series.all_planes[0].modality

    @property
    def phase(self) -> Phase:
        """The contrast phase it states; none for what is no CT slice."""
        return self.series.phase if self.series.planes else Phase.UNSTATED


@dataclass(frozen=True, slots=True)
class SeriesList:
    """What a place holds.

    Attributes:
        rows: One per series, in the order of their numbers.
        not_dicom: How many files are no DICOM images.
        damaged: Sentences about files that cannot be read, and stop `segment`.
    """

    rows: tuple[SeriesRow, ...]
    not_dicom: int
    damaged: tuple[str, ...]


def list_series(path: Path) -> SeriesList:
    """Look at every DICOM image in a folder, zip, DICOMDIR or file, without reading pixels.

    Args:
        path: What the user gave.

    Raises:
        InputError: If there is no DICOM image, or nothing at that path.
    """
    with refusals_as_input_errors(path):
        if path.is_file() and is_volume_file(path):
            raise UnsupportedFormatError(
                f"{path.name} is one volume, not a DICOM study.",
                reason=Reason.NOT_AN_IMAGE,
                hint="'livertumor inspect' shows what is read from it.",
            )
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            zipped = path.is_file() and is_zip(path)
            place = stack.enter_context(extracted(path)) if zipped else path
            place.stat()
            found = survey(find_files(place))
            require_images(found, name=called(path), damaged_too=True)
            rows = _rows(found, name=called(path))
    return SeriesList(
        tuple(rows), len(found.others), tuple(error.message for error in found.damaged)
    )


def _rows(found: Survey, *, name: str) -> list[SeriesRow]:
    every = grouped(found.planes)
    usable = [one for one in every if one.planes]
    if not usable:
        return [_no_ct_row(one) for one in every]
    ranking = rank(usable)
    why_not = {id(usable[index]): why for index, why in ranking.why_not.items()}
    refusal = _refusal(found, ranking.best[0], name=name)
    rows = []
    for one in every:
        if not one.planes:
            rows.append(_no_ct_row(one))
        elif id(one) in why_not:
            fault = _grid_fault(one)
            rows.append(SeriesRow(one, False, fault.reason if fault else None, why_not[id(one)]))
        elif refusal is not None:
            why = f"it is the best here, but refused: {refusal.message}"
            if refusal.reason is Reason.SEVERAL_SERIES:
                why = f"it is as good as {_names(ranking.best, but=one)}: choose with --series"
            rows.append(SeriesRow(one, False, refusal.reason, why))
        else:
            why = "it is the best here by plane, length, phase, kernel and thickness"
            only = "it is the only CT series"
            rows.append(SeriesRow(one, True, None, only if len(usable) == 1 else why))
    return rows


def _refusal(found: Survey, best: Series, *, name: str) -> InputError | None:
    """Why `segment` would refuse the place, as far as headers show."""
    try:
        choose_series(found.planes, name=name)
    except InputError as error:
        return error
    return found.damaged[0] if found.damaged else _grid_fault(best)


def _grid_fault(series: Series) -> InputError | None:
    try:
        planes = without_copies(series.planes)
        shape = (len(planes), *planes[0].size)
        require_size(shape)
        ordered_stack(planes)
        require_slices(shape)
    except InputError as error:
        return error
    return None


def _names(series: Sequence[Series], *, but: Series) -> str:
    others = [one for one in series if one is not but]
    names = [one.uid if one.about.number is None else str(one.about.number) for one in others]
    return f"series {', '.join(names)}"


def _no_ct_row(series: Series) -> SeriesRow:
    reason, why = why_no_ct(series.left_out)
    return SeriesRow(series, False, reason, why)
