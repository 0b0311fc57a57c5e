"""Which CT series of a study to segment, and why not the others.

The rule, in this order; each step keeps the best and leaves the rest out:

1. Axial before coronal, sagittal and oblique.
2. Long enough to show a liver: 200 mm, or 70 % of the longest. Bolus monitoring drops out here.
3. Phase: portal-venous, contrast of no stated phase, nothing stated, delayed, arterial, native.
4. Covers most: within 90 % of the longest that is left.
5. Reconstructed from the raw data before derived from another series.
6. Soft kernel before unknown before sharp (lung, bone).
7. Thin: the smallest distance of slices, within 0.1 mm.

What is left after the last step is equally good. If that is more than one series, nobody but the
user can choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from livertumor_cli.arrays import DoubleArray
from livertumor_cli.io.dicom_header import Plane
from livertumor_cli.io.dicom_phase import About, Phase, kernel_of, phase_of

LIVER_LENGTH_MM = 200.0
"""A series of this length can hold a whole liver, however long the others are."""

LENGTH_SHARE = 0.7
COVERAGE_SHARE = 0.9
STEP_MARGIN_MM = 0.1

_AXIAL_COSINE = 0.9
"""A normal within 26 degrees of the patient's axis still cuts the liver as radiologists know it."""


@dataclass(frozen=True, slots=True)
class Series:
    """The planes of one series, in no order.

    Attributes:
        uid: SeriesInstanceUID; empty if the files have none.
        planes: Its planes of CT; localizers and captures are left out.
        left_out: Its other images.
    """

    uid: str
    planes: tuple[Plane, ...]
    left_out: tuple[Plane, ...] = ()

    @property
    def all_planes(self) -> tuple[Plane, ...]:
        """Every image of the series."""
        return self.planes + self.left_out

    @property
    def measured_planes(self) -> tuple[Plane, ...]:
        """Those whose places count: its slices, or the other images where it has no slice.

        A localizer that a scanner put into the series says nothing about the plane and length of
        its slices.
        """
        return self.planes or self.left_out

    @property
    def about(self) -> About:
        """What its first file says in words."""
        return self.all_planes[0].about

    @property
    def phase(self) -> Phase:
        """The contrast phase it states."""
        return phase_of(self.about)

    @property
    def coverage_mm(self) -> float:
        """How far the slices reach along their normal; 0 where the header does not say."""
        along = self._along()
        return float(np.ptp(along)) + self.all_planes[0].thickness_mm if along.size else 0.0

    @property
    def step_mm(self) -> float:
        """Median distance of neighboring slices; 0 where there is none."""
        steps = np.diff(np.sort(self._along()))
        steps = steps[steps > 0.01]
        return float(np.median(steps)) if steps.size else 0.0

    @property
    def orientation(self) -> str:
        """axial, coronal, sagittal, oblique or mixed; empty where the header does not say."""
        stated = [p.orientation for p in self.measured_planes if p.orientation]
        if not stated:
            return ""
        if np.ptp(np.array(stated), axis=0).max() > 0.1:
            return "mixed"
        normal = np.abs(_normal(stated[0]))
        axis = int(normal.argmax())
        return ("sagittal", "coronal", "axial")[axis] if normal[axis] > _AXIAL_COSINE else "oblique"

    def _along(self) -> DoubleArray:
        placed = [p for p in self.measured_planes if p.position_mm and p.orientation]
        if not placed or placed[0].orientation is None:
            return np.zeros(0)
        positions = np.array([p.position_mm for p in placed], dtype=np.float64)
        return np.asarray(positions @ _normal(placed[0].orientation))


def _normal(orientation: tuple[float, ...]) -> DoubleArray:
    cosines = np.array(orientation, dtype=np.float64)
    return np.asarray(np.cross(cosines[:3], cosines[3:]))


Ranks = Callable[[Sequence[Series]], list[float]]


@dataclass(frozen=True, slots=True)
class _Step:
    ranks: Ranks
    why: Callable[[Series, Series], str]


def _length_ranks(series: Sequence[Series]) -> list[float]:
    enough = min(LIVER_LENGTH_MM, LENGTH_SHARE * max(one.coverage_mm for one in series))
    return [float(one.coverage_mm < enough) for one in series]


def _coverage_ranks(series: Sequence[Series]) -> list[float]:
    enough = COVERAGE_SHARE * max(one.coverage_mm for one in series)
    return [float(one.coverage_mm < enough) for one in series]


def _step_ranks(series: Sequence[Series]) -> list[float]:
    thinnest = min(one.step_mm for one in series)
    return [float(one.step_mm > thinnest + STEP_MARGIN_MM) for one in series]


def _covers(one: Series, best: Series) -> str:
    return f"it covers {one.coverage_mm:.0f} mm, another series {best.coverage_mm:.0f} mm"


def _phase_name(phase: Phase) -> str:
    return {Phase.UNSTATED: "not stated", Phase.CONTRAST: "contrast, not stated which"}.get(
        phase, str(phase)
    )


_RULE = (
    _Step(
        lambda series: [float(one.orientation != "axial") for one in series],
        lambda one, _: f"its slices are {one.orientation or 'of no stated orientation'}, not axial",
    ),
    _Step(_length_ranks, _covers),
    _Step(
        lambda series: [float(one.phase.rank) for one in series],
        lambda one, best: (
            f"its phase is {_phase_name(one.phase)}, that of another series "
            f"{_phase_name(best.phase)}"
        ),
    ),
    _Step(_coverage_ranks, _covers),
    _Step(
        lambda series: [float("DERIVED" in one.about.image_type) for one in series],
        lambda _one, _best: "it was derived from another series",
    ),
    _Step(
        lambda series: [float(kernel_of(one.about).rank) for one in series],
        lambda one, best: (
            f"its kernel {one.about.kernel or 'is not stated'} shows soft tissue less well than "
            f"{best.about.kernel or 'that of another series'}"
        ),
    ),
    _Step(
        _step_ranks,
        lambda one, best: (
            f"its slices lie {one.step_mm:.2f} mm apart, those of another series "
            f"{best.step_mm:.2f} mm"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The outcome of the rule.

    Attributes:
        best: One series, or several that are equally good.
        why_not: For each other series, by its place in the list, why it was left out.
    """

    best: list[Series]
    why_not: dict[int, str] = field(default_factory=dict)


def rank(series: Sequence[Series]) -> Ranking:
    """Apply the rule that this file begins with.

    Args:
        series: CT series with usable planes, at least one.
    """
    left = list(range(len(series)))
    why_not: dict[int, str] = {}
    for step in _RULE:
        ranks = step.ranks([series[index] for index in left])
        best = left[ranks.index(min(ranks))]
        for index, value in zip(left, ranks, strict=True):
            if value > min(ranks):
                why_not[index] = step.why(series[index], series[best])
        left = [index for index in left if index not in why_not]
    return Ranking([series[index] for index in left], why_not)
