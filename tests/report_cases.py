"""One made-up case for the tests of the reports."""

from dataclasses import replace
from pathlib import Path

from livertumor_cli.findings import (
    Axis,
    CaseFindings,
    Density,
    Lesion,
    LesionFlag,
    SegmentFinding,
    Surroundings,
)
from livertumor_cli.geometry import Geometry
from livertumor_cli.report.run_record import RecipeIdentity, RunRecord
from livertumor_cli.volume import Source

GEOMETRY = Geometry.from_spacing((5, 8, 9), spacing_mm=(2.5, 0.7, 0.7), origin_mm=(-1, 2, 3))
RECORD = RunRecord(
    recipe=RecipeIdentity(
        "uca-net", "1.0", "Cascade with cross-attention", "CC-BY-4.0", {"liver.onnx": "0" * 64}
    ),
    device="cpu",
    engine="openvino 2026.4.1",
    precision="bf16",
    scales=(0.5, 1.0),
    timings_s={"read": 0.51234, "liver": 3.0},
    peak_memory_mb=1234.56,
    flags=("The liver touches the edge of the scan.",),
)
NIFTI = Source(Path("/archive/MUELLER^HANS/19500101/scan.nii.gz"), "nifti", notes=("A note.",))
DICOM = Source(
    Path("/archive/MUELLER^HANS"),
    "dicom",
    series_uid="1.2.3",
    sop_instance_uids=tuple(f"1.2.3.{index}" for index in range(5)),
)


def lesion(number=1, slice_index=3):
    return Lesion(
        id=number,
        volume_ml=1.23456,
        longest_axis=Axis(14.14159, ((0.0, 0.0, 5.0), (10.0, 10.00049, 5.0))),
        perpendicular_axis=Axis(7.005, ((10.0, 0.0, 5.0), (-0.0001, 10.0, 5.0))),
        slice_index=slice_index,
        max_3d_diameter_mm=20.0,
        centroid_lps_mm=(5.0, 5.0, 5.0),
        mean_hu=61.26,
        volume_range_ml=(1.1, 1.4),
        density=Density(12.0, 20.0, 100.0, 60.0),
        surroundings=Surroundings(12.345, None, 0.0, ((8, 0.75), (5, 0.25))),
        mean_probability=0.876,
        flags=(LesionFlag.TOUCHES_BORDER, LesionFlag.BORDERLINE),
    )


SEGMENTS = tuple(
    SegmentFinding(number, 50.0 * number, {5: 0.30864, 8: 0.92592}.get(number, 0.0))
    for number in range(1, 9)
)
FINDINGS = CaseFindings(1500.12345, 15.0, 20.0, 110.04, (lesion(),))
SEGMENTED = replace(FINDINGS, segments=SEGMENTS)
