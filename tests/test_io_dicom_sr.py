"""The structured report: the numbers of the findings, coded, tied to segments and images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from derived_cases import ROTATIONS, Case, code, items, make_case, pixel_places, some_labels
from pydicom.dataset import Dataset
from test_io_dicom_seg import halved, to_enhanced

from livertumor_cli.findings import Axis
from livertumor_cli.io.dicom_derived import lesion_id
from livertumor_cli.io.dicom_results import DicomObject

SR = (DicomObject.SR,)
MEASUREMENT_OF = {
    "Volume": ("118565006", "SCT"),
    "Long axis": ("103339001", "SCT"),
    "Short axis": ("103340004", "SCT"),
    "Maximum 3D Diameter of a Mesh": ("L0JK", "IBSI"),
    "Attenuation Coefficient": ("112031", "DCM"),
    "Distance": ("121206", "DCM"),
    "Probability": ("122157", "DCM"),
}
QUALIFIED_BY = ("Derivation", "Finding Site")
"""What tells measurements of one name apart."""


def groups(sr: Dataset) -> list[Dataset]:
    [measurements] = items(sr, meaning="Imaging Measurements")
    return items(measurements, meaning="Measurement Group")


def tracking(group: Dataset) -> tuple[str, str]:
    [name] = items(group, meaning="Tracking Identifier")
    [uid] = items(group, meaning="Tracking Unique Identifier")
    return name.TextValue, uid.UID


def numbers(group: Dataset) -> dict[str, tuple[float, str]]:
    """Value and unit by the meaning of the name, with its derivation or site after a comma."""
    found = {}
    for item in items(group, kind="NUM"):
        [measured] = item.MeasuredValueSequence
        [unit] = measured.MeasurementUnitsCodeSequence
        assert unit.CodingSchemeDesignator == "UCUM"
        name = item.ConceptNameCodeSequence[0]
        assert code(name) == MEASUREMENT_OF.get(name.CodeMeaning, code(name))
        words = [name.CodeMeaning]
        for meaning in QUALIFIED_BY:
            words += [
                one.ConceptCodeSequence[0].CodeMeaning for one in items(item, meaning=meaning)
            ]
        assert ", ".join(words) not in found
        found[", ".join(words)] = (float(measured.NumericValue), unit.CodeValue)
    return found


def lesion_groups(sr: Dataset, name: str) -> tuple[Dataset, Dataset]:
    """Volumetric and planar group of a lesion."""
    volume, axes = (group for group in groups(sr) if tracking(group)[0] == name)
    assert tracking(volume) == tracking(axes)
    return volume, axes


def test_every_number_of_a_lesion_is_there_with_its_unit(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SR)
    assert len(case.findings.lesions) == 2
    for lesion in case.findings.lesions:
        volume, axes = lesion_groups(case.read("sr"), f"L{lesion.id:02d}")
        assert numbers(volume) == {
            "Volume": (round(lesion.volume_ml, 3), "cm3"),
            "Maximum 3D Diameter of a Mesh": (round(lesion.max_3d_diameter_mm, 2), "mm"),
            "Attenuation Coefficient, Mean": hounsfield(lesion.mean_hu),
            "Attenuation Coefficient, Standard Deviation": hounsfield(lesion.density.sd_hu),
            "Attenuation Coefficient, Minimum": hounsfield(lesion.density.min_hu),
            "Attenuation Coefficient, Maximum": hounsfield(lesion.density.max_hu),
            "Attenuation Coefficient, Median": hounsfield(lesion.density.median_hu),
            "Distance, Liver": (round(lesion.surroundings.capsule_distance_mm, 2), "mm"),
            "Distance, Blood vessel": (round(lesion.surroundings.vessel_distance_mm, 2), "mm"),
            "Probability, Mean": (0.812, "1"),
        }
        assert numbers(axes) == {
            "Long axis": (round(lesion.longest_axis.length_mm, 2), "mm"),
            "Short axis": (round(lesion.perpendicular_axis.length_mm, 2), "mm"),
        }


def hounsfield(value_hu: float) -> tuple[float, str]:
    return round(value_hu, 1), "[hnsf'U]"


def test_derivations_and_methods_have_their_codes(tmp_path: Path) -> None:
    volume, _ = lesion_groups(make_case(tmp_path, objects=SR).read("sr"), "L01")
    derivations = [
        code(items(density, meaning="Derivation")[0].ConceptCodeSequence[0])
        for density in items(volume, meaning="Attenuation Coefficient")
    ]
    assert derivations == [
        (value, "SCT") for value in ("373098007", "386136009", "255605001", "56851009", "373099004")
    ]
    methods = [
        code(items(distance, meaning="Measurement Method")[0].ConceptCodeSequence[0])
        for distance in items(volume, meaning="Distance")
    ]
    assert methods == [("TO_LIVER_SURFACE", "99LIVERTUMOR"), ("TO_VESSEL", "99LIVERTUMOR")]


def test_a_volume_states_how_far_it_may_lie_off(tmp_path: Path) -> None:
    """The range of the findings comes back as value minus the lower, plus the upper part."""
    case = make_case(tmp_path, objects=SR)
    for lesion in case.findings.lesions:
        volume, _ = lesion_groups(case.read("sr"), f"L{lesion.id:02d}")
        [measured] = items(volume, meaning="Volume")
        off = {
            code(item.ConceptNameCodeSequence[0])[0]: float(
                item.MeasuredValueSequence[0].NumericValue
            )
            for item in items(measured, kind="NUM")
        }
        low, high = lesion.volume_ml - off["371885007"], lesion.volume_ml + off["371886008"]
        assert (low, high) == pytest.approx(lesion.volume_range_ml, abs=1e-3)
        assert low < lesion.volume_ml < high


def test_no_probability_is_made_up_where_no_network_ran(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SR, mean_probability=None)
    volume, _ = lesion_groups(case.read("sr"), "L01")
    assert not items(volume, meaning="Probability")


def test_groups_are_coded_as_the_template_says(tmp_path: Path) -> None:
    sr = make_case(tmp_path, objects=SR).read("sr")
    assert sr.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    [template] = sr.ContentTemplateSequence
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")
    [procedure] = items(sr, meaning="Procedure reported")
    assert code(procedure.ConceptCodeSequence[0]) == ("25045-6", "LN")
    volume, axes = lesion_groups(sr, "L01")
    assert volume.ContentTemplateSequence[0].TemplateIdentifier == "1411"
    assert axes.ContentTemplateSequence[0].TemplateIdentifier == "1501"
    for group in (volume, axes):
        [finding] = items(group, meaning="Finding")
        assert code(finding.ConceptCodeSequence[0]) == ("52988006", "SCT")
        [site] = items(group, meaning="Finding Site")
        assert site.RelationshipType == "HAS CONCEPT MOD"
        assert code(site.ConceptCodeSequence[0]) == ("10200004", "SCT")
        [name] = items(group, meaning="Algorithm Name")
        assert name.TextValue == "livertumor toy 1.0"
        assert items(group, meaning="Algorithm Version")
    for axis in items(axes, kind="NUM"):
        [method] = items(axis, meaning="Measurement Method")
        assert method.RelationshipType == "HAS CONCEPT MOD"
        assert code(method.ConceptCodeSequence[0]) == ("112029", "DCM")
    assert (sr.CompletionFlag, sr.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


def test_every_group_with_a_segment_names_the_one_of_its_tracking_uid(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SR)
    seg = case.read("seg")  # written although only the report was asked for
    segments = {one.SegmentNumber: one for one in seg.SegmentSequence}
    named = []
    for group in groups(case.read("sr")):
        for item in items(group, meaning="Referenced Segment"):
            [reference] = item.ReferencedSOPSequence
            assert reference.ReferencedSOPInstanceUID == seg.SOPInstanceUID
            assert reference.ReferencedSOPClassUID == seg.SOPClassUID
            segment = segments[reference.ReferencedSegmentNumber]
            named.append(segment.SegmentNumber)
            if "TrackingUID" in segment:
                assert tracking(group) == (segment.TrackingID, segment.TrackingUID)
            [series] = items(group, meaning="Source Series for Segmentation")
            assert case.slices[0].SeriesInstanceUID == series.UID
    assert sorted(named) == sorted(segments)


def test_the_evidence_is_the_source_and_the_segmentation(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SR)
    sr = case.read("sr")
    [study] = sr.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == case.slices[0].StudyInstanceUID
    listed = {
        series.SeriesInstanceUID: {
            item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence
        }
        for series in study.ReferencedSeriesSequence
    }
    seg = case.read("seg")
    assert listed == {
        case.slices[0].SeriesInstanceUID: {one.SOPInstanceUID for one in case.slices},
        seg.SeriesInstanceUID: {seg.SOPInstanceUID},
    }


@pytest.mark.parametrize("rotation", [name for name in ROTATIONS if name != "coronal"])
def test_lines_in_the_image_are_those_of_the_findings(tmp_path: Path, rotation: str) -> None:
    case = make_case(tmp_path, rotation, objects=SR)
    slices = {one.SOPInstanceUID: one for one in case.slices}
    for axis, scoord in lines(case):
        assert scoord.ValueType == "SCOORD"
        [image] = scoord.ContentSequence
        [reference] = image.ReferencedSOPSequence
        source = slices[reference.ReferencedSOPInstanceUID]
        pixels = np.array(scoord.GraphicData).reshape(2, 2)
        assert np.allclose(in_patient(source, pixels), axis.ends_lps_mm, rtol=0, atol=1e-2)


def lines(case: Case) -> list[tuple[Axis, Dataset]]:
    """Each axis of the findings and the coordinates below its measurement."""
    found = []
    for lesion in case.findings.lesions:
        _, axes = lesion_groups(case.read("sr"), f"L{lesion.id:02d}")
        for name, axis in (
            ("Long axis", lesion.longest_axis),
            ("Short axis", lesion.perpendicular_axis),
        ):
            [measurement] = items(axes, meaning=name)
            [line] = [item for item in measurement.ContentSequence if "SCOORD" in item.ValueType]
            assert line.GraphicType == "POLYLINE"
            found.append((axis, line))
    return found


def in_patient(source: Dataset, pixels: np.ndarray) -> np.ndarray:
    """LPS mm of column, row as SCOORD counts them: 0.5, 0.5 is the first pixel's center."""
    places = pixel_places(source)
    column_step, row_step = places[0, 1] - places[0, 0], places[1, 0] - places[0, 0]
    columns, rows = (pixels - 0.5).T[..., None]
    return np.asarray(places[0, 0] + columns * column_step + rows * row_step)


@pytest.mark.parametrize("how", ["coronal", "resampled"])
def test_lines_off_the_source_images_lie_in_the_patient(tmp_path: Path, how: str) -> None:
    resampled = how == "resampled"
    case = make_case(
        tmp_path,
        "oblique" if resampled else "coronal",
        objects=SR,
        resample=halved if resampled else None,
    )
    for axis, scoord in lines(case):
        assert scoord.ValueType == "SCOORD3D"
        frame = scoord.ReferencedFrameOfReferenceUID
        assert frame == case.slices[0].FrameOfReferenceUID
        points = np.array(scoord.GraphicData).reshape(2, 3)
        assert np.allclose(points, axis.ends_lps_mm, rtol=0, atol=1e-3)


def test_a_line_in_an_enhanced_ct_names_its_frame(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SR, change=to_enhanced)
    lesion = case.findings.lesions[0]
    frames = {
        scoord.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber
        for axis, scoord in lines(case)[:2]
    }
    assert frames == {case.labels.shape[0] - lesion.slice_index}


def liver_numbers(case: Case) -> dict[str, dict[str, tuple[float, str]]]:
    return {tracking(group)[0]: numbers(group) for group in groups(case.read("sr"))}


def test_liver_and_vessels_have_groups_of_their_own(tmp_path: Path) -> None:
    case = make_case(tmp_path, objects=SR)
    findings = case.findings
    found = liver_numbers(case)
    assert found["Liver with lesions and vessels"] == {
        "Volume": (round(findings.liver_volume_ml, 3), "cm3"),
        "Tumor volume in percent of liver volume": (round(findings.tumor_burden_percent, 2), "%"),
        "Number of lesions": (2, "1"),
    }
    parenchyma_ml = (case.labels == 1).sum() * case.volume.geometry.voxel_ml
    assert found["Liver without lesions and vessels"] == {
        "Volume": (round(parenchyma_ml, 3), "cm3"),
        "Attenuation Coefficient, Mean": hounsfield(findings.liver_mean_hu),
    }
    assert found["Intrahepatic vessels"] == {
        "Volume": (round(findings.vessel_volume_ml, 3), "cm3"),
        "Attenuation Coefficient, Mean": hounsfield(findings.vessel_mean_hu),
    }


def without_tumor() -> np.ndarray:
    return (some_labels() > 0).astype(np.uint8)


def tumor_only() -> np.ndarray:
    return (2 * (some_labels() == 2)).astype(np.uint8)


@pytest.mark.parametrize(("labels", "count"), [(without_tumor, 0), (tumor_only, 2)])
def test_no_tumor_and_nothing_but_tumor_are_results(
    tmp_path: Path, labels: Callable[[], np.ndarray], count: int
) -> None:
    found = liver_numbers(make_case(tmp_path, labels=labels(), objects=SR))
    assert found["Liver with lesions and vessels"]["Number of lesions"] == (count, "1")
    assert {name for name in found if name.startswith("L0")} == {
        f"L{number:02d}" for number in range(1, count + 1)
    }


def test_of_many_lesions_the_largest_are_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_case(tmp_path / "whole", objects=SR).read("sr")
    assert whole.CompletionFlag == "COMPLETE"
    assert "CompletionFlagDescription" not in whole
    monkeypatch.setattr("livertumor_cli.io.dicom_sr.MOST_DESCRIBED", 1)
    case = make_case(tmp_path / "part", objects=SR)
    part = case.read("sr")
    names, every = ([tracking(group)[0] for group in groups(sr)] for sr in (part, whole))
    smaller = lesion_id(2)
    assert every.count(smaller) == 2
    assert names == [name for name in every if name != smaller]
    assert part.CompletionFlag == "PARTIAL"
    assert part.CompletionFlagDescription == "The 1 largest of 2 lesions are described"
    assert numbers(groups(part)[0])["Number of lesions"] == (2, "1")
    assert len([one for one in case.read("seg").SegmentSequence if "TrackingID" in one]) == 2
