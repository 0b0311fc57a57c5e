"""From the planes of a study to the one CT series to read, or the reason why there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from livertumor_cli.errors import (
    InputError,
    PixelError,
    Reason,
    SeriesSelectionError,
    UnsupportedFormatError,
)
from livertumor_cli.io.dicom_fault import FAULT_SENTENCES
from livertumor_cli.io.dicom_header import Plane
from livertumor_cli.io.dicom_rule import Series, rank

_MOST_LISTED = 10


def grouped(planes: Iterable[Plane]) -> list[Series]:
    """Series in the order of their numbers; images that are no CT slices are set aside.

    Args:
        planes: What `scan` found.
    """
    groups: dict[tuple[str, ...], list[Plane]] = defaultdict(list)
    for plane in planes:
        # Without a UID, study and number are all that tells series apart.
        key = (plane.series_uid,) if plane.series_uid else ("", plane.study_uid, _number(plane))
        groups[key].append(plane)
    series = [
        Series(
            group[0].series_uid,
            tuple(plane for plane in group if plane.fault is None),
            tuple(plane for plane in group if plane.fault is not None),
        )
        for group in groups.values()
    ]
    return sorted(series, key=lambda one: (one.about.number is None, one.about.number or 0))


def _number(plane: Plane) -> str:
    return "" if plane.about.number is None else str(plane.about.number)


def choose_series(planes: Sequence[Plane], *, name: str, wanted: str = "") -> Series:
    """The CT series to read: the one asked for, else the best by the rule of `dicom_rule`.

    Args:
        planes: What `scan` found.
        name: What the user gave, for sentences.
        wanted: SeriesInstanceUID or SeriesNumber; empty for the choice of the program.

    Raises:
        InputError: The reason why no plane is a CT slice; several_patients; no_pixels for a slice
            whose header is cut off.
        SeriesSelectionError: several_series, if the choice is not safe or the series is not there.
    """
    every = grouped(planes)
    asked = [one for one in every if not wanted or wanted in (one.uid, _number(one.all_planes[0]))]
    if not asked:
        raise SeriesSelectionError(
            f"{name} has no series {wanted}.",
            reason=Reason.SEVERAL_SERIES,
            hint=_listed([one for one in every if one.planes]),
        )
    usable = [one for one in asked if one.planes]
    if not usable:
        raise _no_ct([plane for one in asked for plane in one.all_planes], name=name)
    _refuse_several_patients(usable, name=name)
    best = rank(usable).best
    if len(best) > 1:
        raise SeriesSelectionError(
            f"{name} holds {len(best)} CT series that are equally good to segment.",
            reason=Reason.SEVERAL_SERIES,
            hint=_listed(best),
        )
    _refuse_cut_headers(best[0], every if not wanted else asked)
    return best[0]


def _refuse_several_patients(series: Sequence[Series], *, name: str) -> None:
    patients = {plane.patient for one in series for plane in one.planes}
    if len(patients) > 1:
        raise InputError(
            f"{name} holds CT of {len(patients)} patients.",
            reason=Reason.SEVERAL_PATIENTS,
            hint="Give the folder of one patient.",
        )


def _refuse_cut_headers(chosen: Series, others: Sequence[Series]) -> None:
    """Refuse CT objects without rows: a file cut off in its header may be the last slice."""
    planes = [plane for one in (chosen, *others) for plane in one.left_out]
    for plane in planes:
        if plane.fault is Reason.NO_PIXELS:
            raise PixelError(
                f"{plane.path.name} is a CT object without an image: cut off, or only a header.",
                reason=Reason.NO_PIXELS,
                hint="Copy or export the series again, or choose another one with --series.",
            )


def _listed(series: Sequence[Series]) -> str:
    lines = [
        f"{'' if one.about.number is None else f'number {one.about.number}, '}{one.uid or 'no UID'}"
        f" ({one.about.description or 'no description'}, {len(one.planes)} slices, "
        f"{one.coverage_mm:.0f} mm)"
        for one in series[:_MOST_LISTED]
    ]
    more = f"; and {len(series) - _MOST_LISTED} more" if len(series) > _MOST_LISTED else ""
    return (
        "Choose one with --series ('livertumor series' explains them): " + "; ".join(lines) + more
    )


def _no_ct(planes: Sequence[Plane], *, name: str) -> UnsupportedFormatError:
    reason, sentence = why_no_ct(planes)
    return UnsupportedFormatError(
        f"{name} cannot be used: {sentence}.",
        reason=reason,
        hint="Export the original axial CT series.",
    )


def why_no_ct(planes: Sequence[Plane]) -> tuple[Reason, str]:
    """Why none of some images is a CT slice, as name and as part of a sentence.

    Args:
        planes: Images with a fault.
    """
    faults = {plane.fault for plane in planes}
    reason = next(reason for reason in FAULT_SENTENCES if reason in faults)
    sentence = FAULT_SENTENCES[reason]
    if reason is Reason.NOT_CT:
        kinds = {_kind(plane) for plane in planes}
        sentence += f" (but {', '.join(sorted(kinds))})"
    return reason, sentence


def _kind(plane: Plane) -> str:
    if plane.modality.strip().upper() == "CT":
        return "objects of another class that call themselves CT"
    return plane.modality or "objects of no stated kind"
