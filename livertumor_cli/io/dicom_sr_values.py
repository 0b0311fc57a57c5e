"""Single numbers of the structured report: value, unit, code and how they were derived.

Only what standard codes can say goes into the report. Volume of single runs, diameter of the sphere
of the same volume, area of contact with vessels and shares of segments have none; `report.json` has
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

from highdicom.sr import FindingSite, Measurement, MeasurementProperties
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from livertumor_cli.anatomy import Label
from livertumor_cli.findings import CaseFindings, Lesion
from livertumor_cli.io.dicom_derived import CODES

SCHEME = "99LIVERTUMOR"
TUMOR_BURDEN = Code("TUMOR_BURDEN", SCHEME, "Tumor volume in percent of liver volume")
LESION_COUNT = Code("LESION_COUNT", SCHEME, "Number of lesions")
TO_LIVER_SURFACE = Code("TO_LIVER_SURFACE", SCHEME, "Shortest, lesion to liver surface")
TO_VESSEL = Code("TO_VESSEL", SCHEME, "Shortest, lesion to labeled vessel surface")
"""The standard has the concept Distance, but no code for what it was measured to."""

MM = codes.UCUM.Millimeter
_CM3, _HU = codes.UCUM.CubicCentimeter, codes.UCUM.HounsfieldUnit

Number: TypeAlias = Any
"""A measurement of highdicom, whose types are not checked."""


def whole_liver_numbers(findings: CaseFindings) -> list[Number]:
    """Of the liver with its lesions and vessels."""
    return [
        volume(findings.liver_volume_ml),
        Measurement(TUMOR_BURDEN, round(findings.tumor_burden_percent, 2), codes.UCUM.Percent),
        Measurement(LESION_COUNT, len(findings.lesions), codes.UCUM.NoUnits),
    ]


def lesion_numbers(lesion: Lesion) -> list[Number]:
    """What concerns a lesion as a body; values that do not exist are left out."""
    surroundings = lesion.surroundings
    return [
        volume(lesion.volume_ml, within_ml=lesion.volume_range_ml),
        Measurement(codes.IBSI.Maximum3DDiameterOfAMesh, round(lesion.max_3d_diameter_mm, 2), MM),
        *density(lesion.mean_hu, codes.SCT.Mean),
        *density(lesion.density.sd_hu, codes.SCT.StandardDeviation),
        *density(lesion.density.min_hu, codes.SCT.Minimum),
        *density(lesion.density.max_hu, codes.SCT.Maximum),
        *density(lesion.density.median_hu, codes.SCT.Median),
        *_distance(surroundings.capsule_distance_mm, Label.LIVER, TO_LIVER_SURFACE),
        *_distance(surroundings.vessel_distance_mm, Label.VESSEL, TO_VESSEL),
        *_probability(lesion.mean_probability),
    ]


def volume(volume_ml: float, *, within_ml: tuple[float, float] | None = None) -> Number:
    """A volume, perhaps with how far it may lie below and above.

    Args:
        volume_ml: In ml, written as cm3.
        within_ml: Its range; None where there is none.
    """
    properties = None
    if within_ml is not None:
        properties = MeasurementProperties(
            lower_measurement_uncertainty=round(volume_ml - within_ml[0], 3),
            upper_measurement_uncertainty=round(within_ml[1] - volume_ml, 3),
        )
    return Measurement(codes.SCT.Volume, round(volume_ml, 3), _CM3, properties=properties)


def density(value_hu: float, derivation: Code) -> Iterator[Number]:
    """An attenuation, if it exists.

    Args:
        value_hu: In HU; NaN where it does not exist.
        derivation: Mean, standard deviation and the like.
    """
    if math.isfinite(value_hu):
        name = codes.DCM.AttenuationCoefficient
        yield Measurement(name, round(value_hu, 1), _HU, derivation=derivation)


def _distance(distance_mm: float | None, site: Label, method: Code) -> Iterator[Number]:
    if distance_mm is not None and math.isfinite(distance_mm):
        yield Measurement(
            codes.DCM.Distance,
            round(distance_mm, 2),
            MM,
            method=method,
            finding_sites=[FindingSite(CODES[site])],
        )


def _probability(mean: float | None) -> Iterator[Number]:
    if mean is not None and math.isfinite(mean):
        name, unit = codes.DCM.Probability, codes.UCUM.NoUnits
        yield Measurement(name, round(mean, 3), unit, derivation=codes.SCT.Mean)
