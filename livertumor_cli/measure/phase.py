"""Whether a scan looks like the portal-venous phase, from the densities of blood and organs.

The thresholds lie between what is published for the phases. Without contrast agent: liver 50 to 65,
spleen 40 to 55, blood 30 to 60 HU (the liver 1 to 18 HU brighter than the spleen: Park et al.,
Radiology 2011). Late arterial: aorta 290 to 360 HU, the liver only 20 to 30 HU above its native
density (Radiopaedia, "Late arterial phase"). Portal-venous, 60 to 80 s: aorta 120 to 190, spleen
100 to 140, liver 90 to 130 HU. Later the aorta falls toward the liver. In the portal phase a liver
below 80 HU is fatty with a sensitivity of 86 and a specificity of 90 % (Moeller et al., ARRS 2024).
All depend on dose, tube voltage and patient: the sentences say "probably".
"""

from __future__ import annotations

import math

from livertumor_cli.findings import CaseFindings, ReferenceTissue

PORTAL_LIVER_HU = (75.0, 170.0)
"""Mean of a liver in the portal phase: without contrast it has 50 to 65, in the arterial phase
little more; a fatty liver is darker in all. Above, the values are no usual CT of a liver."""

PORTAL_VESSEL_CONTRAST_HU = 15.0
"""By so much vessels are brighter than the liver at least, when the portal vein fills both."""

NATIVE_AORTA_HU = 75.0
"""Blood below has no contrast agent in it, or hardly any."""

NATIVE_SPLEEN_HU = 65.0
"""The same of the spleen, where the aorta was not found."""

ARTERIAL_AORTA_HU = 180.0
"""Brighter blood is arterial if the organs are still dark beside it, ..."""

ARTERIAL_TO_SPLEEN = 1.8
"""... which is this often the spleen's density (in the portal phase 1.0 to 1.5 times), ..."""

ARTERIAL_TO_LIVER = 2.4
"""... or this often the liver's where the spleen was not found, ..."""

SURE_ARTERIAL_AORTA_HU = 260.0
"""... or if it is as bright as this, whatever they have."""

DELAYED_AORTA_HU = 120.0
DELAYED_CONTRAST_HU = 12.0
"""Blood below the first value and less than the second brighter than the liver: minutes later."""


def phase_sentence(findings: CaseFindings) -> str | None:
    """What the densities say against the portal-venous phase, or for a fatty liver in it.

    Args:
        findings: Mean of the liver (NaN says nothing) and its vessels, aorta and spleen.

    Returns:
        One sentence with the numbers it rests on; None where nothing is unusual.
    """
    liver_hu = findings.liver_mean_hu
    if math.isnan(liver_hu):
        return None
    if liver_hu > PORTAL_LIVER_HU[1]:
        return (
            f"The liver's mean density of {liver_hu:.0f} HU is above {PORTAL_LIVER_HU[1]:.0f} HU: "
            "check that the values are Hounsfield units."
        )
    judgment = (
        _of_reference(liver_hu, findings.reference)
        or _of_liver(liver_hu, findings.reference)
        or _of_vessels(findings.vessel_mean_hu - liver_hu)
    )
    if judgment is None:
        return None
    return f"{_densities(liver_hu, findings.reference)}: {judgment}."


def _densities(liver_hu: float, reference: ReferenceTissue) -> str:
    named = (("aorta", reference.aorta_hu), ("spleen", reference.spleen_hu))
    found = [f"{name} {density:.0f} HU" for name, density in named if density is not None]
    return ", ".join([f"Liver {liver_hu:.0f} HU", *found])


def _of_reference(liver_hu: float, reference: ReferenceTissue) -> str | None:
    """What aorta or spleen tell by themselves."""
    blood_hu, spleen_hu = reference.aorta_hu, reference.spleen_hu
    if blood_hu is None:
        is_native = spleen_hu is not None and spleen_hu < NATIVE_SPLEEN_HU
    else:
        is_native = blood_hu < NATIVE_AORTA_HU
    if is_native:
        return "probably not the portal-venous phase (no contrast agent seen)"
    if blood_hu is None:
        return None
    if _is_arterial(blood_hu, liver_hu=liver_hu, spleen_hu=spleen_hu):
        return "probably the arterial and not the portal-venous phase"
    if blood_hu < DELAYED_AORTA_HU and blood_hu - liver_hu < DELAYED_CONTRAST_HU:
        return "probably a delayed and not the portal-venous phase (blood as bright as the liver)"
    return None


def _is_arterial(aorta_hu: float, *, liver_hu: float, spleen_hu: float | None) -> bool:
    if aorta_hu < ARTERIAL_AORTA_HU:
        return False
    if aorta_hu >= SURE_ARTERIAL_AORTA_HU:
        return True
    if spleen_hu is None:
        return aorta_hu > ARTERIAL_TO_LIVER * liver_hu
    return aorta_hu > ARTERIAL_TO_SPLEEN * spleen_hu


def _of_liver(liver_hu: float, reference: ReferenceTissue) -> str | None:
    """What a dark liver means: with the aorta as in the portal phase it is the liver that is so."""
    if liver_hu >= PORTAL_LIVER_HU[0]:
        return None
    if reference.aorta_hu is None:
        return (
            f"below {PORTAL_LIVER_HU[0]:.0f} HU, so probably not the portal-venous phase, or a "
            "fatty liver"
        )
    if reference.spleen_hu is None and reference.aorta_hu >= ARTERIAL_AORTA_HU:
        return "the arterial phase, or a fatty liver in the portal-venous phase"
    return "blood as in the portal-venous phase, so probably a fatty liver"


def _of_vessels(contrast_hu: float) -> str | None:
    """What the vessels in the liver tell; nothing where there are none (NaN)."""
    if not contrast_hu < PORTAL_VESSEL_CONTRAST_HU:
        return None
    if contrast_hu < 0:
        compared = f"{-contrast_hu:.0f} HU darker than the liver"
    else:
        compared = f"{contrast_hu:.0f} HU brighter than the liver"
    return (
        f"its vessels are {compared} (expected {PORTAL_VESSEL_CONTRAST_HU:.0f} or more brighter), "
        "so probably not the portal-venous phase"
    )
