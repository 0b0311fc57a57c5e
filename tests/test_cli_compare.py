"""`livertumor compare`: two results in, tables, JSON, CSV and HTML out."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from segment_runs import GEOMETRY, assert_refused, names
from toy_recipe import Ball, Patient

from livertumor_cli.cli.app import run
from livertumor_cli.follow_up import COMPARISON_FILES
from livertumor_cli.io.formats import write_label_map, write_volume
from livertumor_cli.volume import LabelMap

PATIENT = Patient()
SECOND = Ball((8.0, -8.0, -8.0), 7.0)


def result(folder, patient, *, second=None):
    """What `measure` writes for the truth of a patient."""
    folder.mkdir()
    write_volume(folder / "scan.nii.gz", patient.scan(GEOMETRY, edge_mm=0))
    labels = patient.truth(GEOMETRY)
    if second is not None:
        points = GEOMETRY.index_to_lps(np.stack(np.indices(GEOMETRY.shape), -1).astype(float))
        labels[second.depth_mm(points) > 0] = 2
    write_label_map(folder / "mask.nii.gz", LabelMap(labels, GEOMETRY))
    files = [str(folder / name) for name in ("scan.nii.gz", "mask.nii.gz")]
    assert run(["measure", *files, "-o", str(folder / "result"), "-q"]) == 0
    return folder / "result"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The same patient: one tumor; it grown and another one new; none."""
    folder = tmp_path_factory.mktemp("results")
    grown = replace(PATIENT, tumor=replace(PATIENT.tumor, radius_mm=17.0))
    return {
        "first": result(folder / "first", PATIENT),
        "grown": result(folder / "grown", grown, second=SECOND),
        "cured": result(folder / "cured", replace(PATIENT, tumor=None, vessel=None)),
    }


def compared(results, one, other, capsys, *more):
    assert run(["compare", str(results[one]), str(results[other]), "--json", *more]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def report_of(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_growth_and_a_new_lesion(results, capsys):
    found = compared(results, "first", "grown", capsys)
    before, after = (report_of(results[name]) for name in ("first", "grown"))
    (pair,) = found["matched"]
    assert (pair["baseline_id"], pair["follow_up_id"]) == (1, 1)
    length = pair["longest_axial_diameter_mm"]
    assert length["baseline"] == before["lesions"][0]["longest_axial_diameter_mm"]
    assert length["follow_up"] == after["lesions"][0]["longest_axial_diameter_mm"]
    assert length["change"] == pytest.approx(8, abs=3.6)  # one pixel diagonal
    assert pair["volume_ml"]["change_percent"] == pytest.approx(100 * ((17 / 13) ** 3 - 1), abs=12)
    assert pair["within_uncertainty"] is False
    assert [lesion["id"] for lesion in found["new"]] == [2]
    assert found["vanished"] == []
    assert found["lesion_count"] == {
        "baseline": 1,
        "follow_up": 2,
        "change": 1,
        "change_percent": 100,
    }
    assert found["target_sum_mm"]["follow_up"] == length["follow_up"]
    assert found["alignment"]["residual_mm"] < 2.0


def test_a_vanished_lesion_counts_nothing(results, capsys):
    found = compared(results, "first", "cured", capsys)
    assert (found["matched"], found["new"]) == ([], [])
    assert [lesion["id"] for lesion in found["vanished"]] == [1]
    assert found["target_sum_mm"]["follow_up"] == 0
    assert found["target_sum_mm"]["change_percent"] == -100


def test_the_same_twice_has_no_change(results, capsys):
    found = compared(results, "grown", "grown", capsys)
    assert len(found["matched"]) == 2
    assert all(pair["within_uncertainty"] for pair in found["matched"])
    assert found["tumor_volume_ml"]["change"] == 0
    # Corners of voxels of 3.5 mm stand out of the smooth surface between them.
    assert found["alignment"]["residual_mm"] < 2.0
    assert found["alignment"]["rotation_degrees"] < 1.0


def test_without_any_lesion(results, capsys):
    assert run(["compare", str(results["cured"]), str(results["cured"])]) == 0
    assert "Neither scan has a lesion." in capsys.readouterr().out
    found = compared(results, "cured", "grown", capsys)
    assert len(found["new"]) == 2
    assert found["target_sum_mm"]["change_percent"] is None


def test_table_and_files(results, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    target = tmp_path / "out"
    arguments = ["compare", str(results["first"]), str(results["grown"]), "-o", str(target)]
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(target)
    assert max(map(len, lines[:-1])) <= 80
    assert any("Sum of candidate targets" in line for line in lines)
    assert any(line.split()[:2] == ["new", "2"] for line in lines)
    assert not any(line.startswith("   1") and line.endswith("~") for line in lines)
    assert names(target) == COMPARISON_FILES.names
    with (target / "compare.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["baseline_id"], row["follow_up_id"]) for row in rows] == [("1", "1"), ("", "2")]
    pair = json.loads((target / "compare.json").read_text(encoding="utf-8"))["matched"][0]
    assert float(rows[0]["length_change_mm"]) == pair["longest_axial_diameter_mm"]["change"] > 0
    assert float(rows[0]["volume_follow_up_ml"]) == pair["volume_ml"]["follow_up"]
    assert [row["volume_ranges_overlap"] for row in rows] == ["false", ""]
    page = (target / "compare.html").read_text(encoding="utf-8")
    assert "Research use only" in page
    assert "http" not in page
    assert run(arguments) == 6
    assert_refused(capsys, "exists already")
    assert run([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no readable report.json"),
        ("{", "no readable report.json"),
        ("[]", "of another form"),
        ('{"schema_version": "1.0", "tumor": {}}', "older version"),
        ('{"schema_version": "1.1", "tumor": {"candidate_target_ids": []}}', "'liver' is a"),
        ("NaN", "no readable report.json"),
    ],
)
def test_what_is_no_result_is_refused(results, tmp_path, capsys, content, words):
    if content is not None:
        (tmp_path / "report.json").write_text(content, encoding="utf-8")
    assert run(["compare", str(tmp_path), str(results["first"])]) == 3
    assert_refused(capsys, words)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("liver", "volume_ml"), None, "liver/volume_ml"),
        (("tumor", "candidate_target_ids"), ["1"], "tumor/candidate_target_ids/0"),
        (("lesions", 0, "volume_range_ml"), 3, "lesions/0/volume_range_ml"),
        (("lesions", 0, "id"), 2, "numbers are not 1, 2, 3"),
        (("lesions",), None, "lesions"),
        (("tumor",), [], "tumor"),
    ],
)
def test_a_report_that_was_edited_is_refused(results, tmp_path, capsys, place, value, words):
    report = report_of(results["first"])
    inner = report
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (tmp_path / "mask.nii.gz").write_bytes((results["first"] / "mask.nii.gz").read_bytes())
    assert run(["compare", str(tmp_path), str(results["first"])]) == 3
    assert_refused(capsys, words)


def test_reports_of_an_earlier_and_a_later_form(results, tmp_path, capsys):
    report = report_of(results["first"])
    del report["segments"], report["lesions"][0]["couinaud_shares"]
    report.update(schema_version="1.1", something_new=1)
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (tmp_path / "mask.nii.gz").write_bytes((results["first"] / "mask.nii.gz").read_bytes())
    assert run(["compare", str(tmp_path), str(results["first"])]) == 0


def test_a_missing_folder_is_an_input_error(results, tmp_path, capsys):
    assert run(["compare", str(results["first"]), str(tmp_path / "none")]) == 3
    assert_refused(capsys, "does not exist")


def test_a_mask_that_was_changed_is_refused(results, tmp_path, capsys):
    for name in ("report.json", "mask.nii.gz"):
        source = results["first" if name == "report.json" else "grown"] / name
        (tmp_path / name).write_bytes(source.read_bytes())
    assert run(["compare", str(tmp_path), str(results["first"])]) == 3
    assert_refused(capsys, "do not belong together")


def test_the_page_tells_which_scans_and_what_their_reports_flag(results, tmp_path, capsys):
    for name, flags, file_name in (
        ("before", ["The liver reaches the border.", "Thick slices."], "early <1>.nii.gz"),
        ("after", ["Thick slices.", "An arterial phase."], None),
    ):
        (tmp_path / name).mkdir()
        report = report_of(results["first"])
        report["flags"] = flags
        report["input"] |= {"file_name": file_name, "series_uid": None if file_name else "1.2.3"}
        (tmp_path / name / "report.json").write_text(json.dumps(report), encoding="utf-8")
        mask = (results["first"] / "mask.nii.gz").read_bytes()
        (tmp_path / name / "mask.nii.gz").write_bytes(mask)
    folders = [str(tmp_path / name) for name in ("before", "after")]
    assert run(["compare", *folders, "-o", str(tmp_path / "out")]) == 0
    assert "! Follow-up: An arterial phase." in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert found["flags"] == [
        "Both scans: Thick slices.",
        "Baseline: The liver reaches the border.",
        "Follow-up: An arterial phase.",
    ]
    assert found["input"]["baseline"]["file_name"] == "early <1>.nii.gz"
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "early &lt;1&gt;.nii.gz, voxels " in page
    assert "series 1.2.3, voxels" in page
    assert "Both scans: Thick slices." in page


def test_what_rounds_to_nothing_has_no_sign_and_small_volumes_keep_a_digit(results):
    from livertumor_cli.report.follow_up_report import build_comparison, comparison_rows

    before, after = (report_of(results["first"]) for _ in range(2))
    lesion = {"longest_axial_diameter_mm": 3.5, "volume_ml": 0.024, "volume_range_ml": [0.01, 0.05]}
    before["lesions"][0] |= lesion
    after["lesions"][0] |= lesion | {"longest_axial_diameter_mm": 3.49, "volume_ml": 0.02}
    (row,) = comparison_rows(
        build_comparison(before, after, pairs=[(1, 1)], residual_mm=0, rotation_degrees=0)
    )
    assert row == ("1", "1", "3.5", "3.5", "0.0", "0", "0.024", "0.020", "-0.004", "-17", "~")


def test_livers_that_do_not_fit_are_flagged():
    from livertumor_cli.report.follow_up_report import build_comparison, comparison_html

    empty = {
        "lesions": [],
        "liver": {"volume_ml": 1500.0},
        "tumor": {
            "volume_ml": 0.0,
            "count": 0,
            "candidate_target_ids": [],
            "candidate_target_sum_mm": 0.0,
        },
    }
    fits, apart = (
        build_comparison(empty, empty, pairs=(), residual_mm=left, rotation_degrees=turn)
        for left, turn in ((2.0, 5.0), (7.0, 30.0))
    )
    assert fits["flags"] == []
    assert [flag.split(":")[0] for flag in apart["flags"]] == [
        "The livers' surfaces stay 7.0 mm apart",
        "The liver was turned by 30°",
    ]
    assert "turned by 30°" in comparison_html(apart)
