"""CSV and terminal tables with no, one and many lesions."""

import csv
import io
import math
from dataclasses import replace

import pytest
from report_cases import DICOM, FINDINGS, GEOMETRY, NIFTI, RECORD, SEGMENTED, lesion

from livertumor_cli.cli.case_table import MOST_LESIONS, print_case_table
from livertumor_cli.findings import Axis
from livertumor_cli.report.json_report import build_report
from livertumor_cli.report.tables import (
    CSV_COLUMNS,
    TERMINAL_COLUMNS,
    TERMINAL_LEGEND,
    lesion_table,
    lesions_csv,
    main_segments,
    segment_rows,
    summary_rows,
)

MANY = replace(FINDINGS, lesions=tuple(lesion(number) for number in range(1, 41)))
NONE = replace(FINDINGS, lesions=(), tumor_volume_ml=0.0)


def report_of(findings, **changes):
    record = replace(RECORD, **changes)
    return build_report(findings, source=NIFTI, geometry=GEOMETRY, record=record)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_one_row_per_lesion():
    rows = rows_of(lesions_csv(MANY, source=DICOM))
    assert [row["id"] for row in rows] == [str(number) for number in range(1, 41)]
    first = rows[0]
    assert first["volume_ml"] == "1.235"
    assert first["longest_axial_diameter_mm"] == "14.14"
    assert first["sop_instance_uid"] == "1.2.3.3"
    assert first["longest_end_2_x_lps_mm"] == "10.0"
    assert first["perpendicular_end_1_y_lps_mm"] == "0.0"
    assert first["centroid_z_lps_mm"] == "5.0"
    assert (first["volume_range_low_ml"], first["volume_range_high_ml"]) == ("1.1", "1.4")
    assert first["volume_range_scales_low_ml"] == ""
    assert first["flags"] == "touches_border borderline"
    assert first["couinaud_shares"] == "8:0.75 5:0.25"


def test_csv_without_lesions_is_the_header():
    text = lesions_csv(NONE, source=NIFTI)
    assert text == ",".join(CSV_COLUMNS) + "\n"


def test_csv_leaves_what_does_not_exist_empty():
    findings = replace(FINDINGS, lesions=(replace(lesion(), mean_hu=math.nan),))
    (row,) = rows_of(lesions_csv(findings, source=NIFTI))
    assert (row["mean_hu"], row["sop_instance_uid"]) == ("", "")


def test_csv_columns_carry_their_unit():
    units = ("_ml", "_mm", "_mm2", "_hu", "_index", "_uid")
    without = {"id", "couinaud_shares", "mean_probability", "flags"}
    assert all(name in without or name.endswith(units) for name in CSV_COLUMNS)


def test_vessels_not_labeled_are_said_once():
    surroundings = replace(lesion().surroundings, vessel_contact_mm2=None)
    unlabeled = replace(lesion(), surroundings=surroundings)
    findings = replace(FINDINGS, vessel_volume_ml=None, lesions=(unlabeled,))
    assert dict(summary_rows(report_of(findings)))["Vessel volume"] == "not labeled"
    columns, (row,) = lesion_table(report_of(findings))
    assert columns == tuple(title for title in TERMINAL_COLUMNS if title not in ("Segm.", "Vessel"))
    assert row == ("1", "1.24", "14.1", "7.0", "20.0", "12.3", "3", "61", "eb")
    (line,) = rows_of(lesions_csv(findings, source=NIFTI))
    assert (line["vessel_distance_mm"], line["vessel_contact_mm2"]) == ("", "")
    assert (
        dict(summary_rows(report_of(replace(FINDINGS, vessel_volume_ml=0.0))))["Vessel volume"]
        == "0.0 ml"
    )


def test_terminal_rows():
    columns, (row,) = lesion_table(report_of(FINDINGS))
    assert row == ("1", "1.24", "14.1", "7.0", "20.0", "12.3", "-", "3", "61", "eb")
    assert columns == tuple(title for title in TERMINAL_COLUMNS if title != "Segm.")
    summary = dict(summary_rows(report_of(FINDINGS)))
    assert summary["Tumor burden"] == "1.0 %"
    assert summary["Candidate targets (lesion 1), sum"] == "14.1 mm"
    assert summary["Lesions longer than 2 / 3 / 5 cm"] == "0 / 0 / 0"
    assert "Longest diameter" not in dict(summary_rows(report_of(NONE)))


def test_terminal_rows_with_segments():
    columns, (row,) = lesion_table(report_of(SEGMENTED))
    assert columns == TERMINAL_COLUMNS
    assert row[columns.index("Segm.")] == "VIII+"
    assert segment_rows(report_of(FINDINGS)) == []
    names, volumes, tumors = segment_rows(report_of(SEGMENTED))
    assert names == ("Segment", "I", "II", "III", "IV", "V", "VI", "VII", "VIII")
    assert volumes == ("Volume ml", "50", "100", "150", "200", "250", "300", "350", "400")
    assert tumors == ("Tumors ml", "0.0", "0.0", "0.0", "0.0", "0.3", "0.0", "0.0", "0.9")


def test_a_small_share_is_no_segment_of_a_lesion():
    for shares, names, text in (
        (((4, 0.9), (3, 0.1), (2, 0.099)), ["IV", "III"], "IV+"),
        (((4, 0.91), (2, 0.09)), ["IV"], "IV"),
        ((), [], "-"),
    ):
        part = replace(lesion().surroundings, couinaud_shares=shares)
        findings = replace(SEGMENTED, lesions=(replace(lesion(), surroundings=part),))
        report = report_of(findings)
        columns, (row,) = lesion_table(report)
        assert main_segments(report["lesions"][0]) == names
        assert row[columns.index("Segm.")] == text


def test_the_largest_numbers_fit_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    line = Axis(199.9, ((0.0, 0.0, 0.0), (199.9, 0.0, 0.0)))
    big = replace(lesion(), volume_ml=1234.56, longest_axis=line, perpendicular_axis=line)
    big = replace(big, id=199, max_3d_diameter_mm=250.0, mean_hu=-12.0, slice_index=1023)
    print_case_table(report_of(replace(SEGMENTED, lesions=(big,))))
    output = capsys.readouterr().out
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= 80
    assert "VIII+" in output


def test_terminal_rows_show_what_does_not_exist():
    findings = replace(FINDINGS, liver_mean_hu=math.nan)
    assert dict(summary_rows(report_of(findings)))["Liver mean density"] == "-"


@pytest.mark.parametrize("findings", [NONE, FINDINGS, MANY, SEGMENTED])
def test_printed_table_fits_80_columns(findings, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_case_table(report_of(findings, flags=("A long sentence [0.5, 1.0] " * 6,)))
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line in lines for line in TERMINAL_LEGEND) == bool(findings.lesions)
    assert "1500.1 ml" in output.out
    assert "20.0 ml" in output.out
    assert "[0.5, 1.0]" in output.out
    assert "Research use only, not a medical device." in output.out
    assert "…" not in output.out
    found = [line for line in lines if line.strip().endswith("61     eb")]
    assert len(found) == min(len(findings.lesions), MOST_LESIONS)
    assert ("smaller lesions are in lesions.csv" in output.out) == (findings is MANY)
    assert ("No tumor was found." in output.out) == (not findings.lesions)
    assert ("approximate" in output.out) == (findings.segments is not None)
