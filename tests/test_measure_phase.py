"""One sentence on the contrast phase, with the numbers it rests on, where something is unusual."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from bodies import ARTERIAL, DELAYED, GEOMETRY, NATIVE, PORTAL
from report_cases import FINDINGS, NIFTI, RECORD
from report_cases import GEOMETRY as SCAN_GRID

from livertumor_cli.findings import CaseFindings, ReferenceTissue
from livertumor_cli.measure.case import measure_case
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.phase import phase_sentence
from livertumor_cli.measure.quality import quality_flags
from livertumor_cli.report.json_report import build_report
from livertumor_cli.report.stored_report import report_fault
from livertumor_cli.report.tables import summary_rows

PORTAL_BLOOD = ReferenceTissue(150.0, 115.0)
USUAL = CaseFindings(1500.0, 0.0, 20.0, 105.0, (), vessel_mean_hu=150.0, reference=PORTAL_BLOOD)


def sentence(liver_hu, aorta_hu=None, spleen_hu=None, vessel_hu=math.nan):
    reference = ReferenceTissue(aorta_hu, spleen_hu)
    return phase_sentence(
        replace(USUAL, liver_mean_hu=liver_hu, vessel_mean_hu=vessel_hu, reference=reference)
    )


@pytest.mark.parametrize(
    ("liver_hu", "aorta_hu", "spleen_hu", "vessel_hu"),
    [
        (105, 150, 115, 150),
        (105, None, None, math.nan),
        (105, None, 115, 150),
        (105, 150, None, 150),
        (77, 106, 104, 100),  # little contrast agent
        (120, 183, 120, 160),  # much
        (130, 200, 140, 180),
        (110, 220, None, 160),
    ],
)
def test_portal_scans_have_none(liver_hu, aorta_hu, spleen_hu, vessel_hu):
    assert sentence(liver_hu, aorta_hu, spleen_hu, vessel_hu) is None


@pytest.mark.parametrize(
    ("densities", "expected"),
    [
        (
            (62, 48, 50),
            "Liver 62 HU, aorta 48 HU, spleen 50 HU: probably not the portal-venous phase (no "
            "contrast agent seen).",
        ),
        ((90, 45, None), "no contrast agent seen"),  # iron in the liver
        ((60, None, 50), "Liver 60 HU, spleen 50 HU: probably not the portal-venous phase (no"),
        ((68, 320, 130), "probably the arterial and not"),
        ((95, 270, 160), "probably the arterial and not"),
        ((63, 190, 94), "probably the arterial and not"),
        ((63, 190, None), "probably the arterial and not"),
        ((74, 185, None), "probably the arterial and not"),
        ((92, 98, 90), "probably a delayed and not"),
        (
            (30, 121, 84),
            "Liver 30 HU, aorta 121 HU, spleen 84 HU: blood as in the portal-venous phase, so "
            "probably a fatty liver.",
        ),
        ((60, None, None), "Liver 60 HU: below 75 HU, so probably not the portal-venous phase, or"),
        ((60, None, 100), "Liver 60 HU, spleen 100 HU: below 75 HU, so probably not the portal"),
        ((100, 150, 110, 105), "its vessels are 5 HU brighter than the liver (expected 15 or"),
        ((100, None, None, 90), "Liver 100 HU: its vessels are 10 HU darker than the liver"),
        ((200, 150, 110), "200 HU is above 170 HU"),
    ],
)
def test_what_is_unusual(densities, expected):
    found = sentence(*densities)
    assert found is not None
    assert expected in found


def test_without_a_liver_nothing_is_said():
    assert sentence(math.nan, 45, 50) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (PORTAL, ""),
        (NATIVE, "no contrast agent seen"),
        (ARTERIAL, "probably the arterial"),
        (DELAYED, "probably a delayed"),
        (replace(PORTAL, liver=40), "probably a fatty liver"),
    ],
)
def test_from_the_scan_to_one_flag(body, words):
    hu, labels = body.scan()
    findings = measure_case(hu, labels, number_lesions(labels == 2), geometry=GEOMETRY)
    flags = quality_flags(findings, labels, geometry=GEOMETRY)
    assert len(flags) == bool(words)
    assert all(words in flag for flag in flags)


def test_reports_tell_the_densities():
    report = build_report(
        replace(FINDINGS, reference=ReferenceTissue(151.26, None)),
        source=NIFTI,
        geometry=SCAN_GRID,
        record=RECORD,
    )
    assert report["reference_tissue"] == {"aorta_hu": 151.3, "spleen_hu": None}
    assert ("Density of aorta / spleen", "151 / - HU") in summary_rows(report)
    assert report_fault(report) == ""
    del report["reference_tissue"]  # as in reports of earlier forms
    assert report_fault(report) == ""


def test_reports_are_silent_where_neither_was_found():
    report = build_report(FINDINGS, source=NIFTI, geometry=SCAN_GRID, record=RECORD)
    assert report["reference_tissue"] == {"aorta_hu": None, "spleen_hu": None}
    assert not any("aorta" in name for name, _ in summary_rows(report))
