"""`livertumor measure --segments`: a network, a file or nobody tells the Couinaud segments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from segment_runs import GEOMETRY, assert_refused, names
from toy_recipe import Patient, dice, write_toy_recipe

from livertumor_cli.case_files import RESULT_FILES, SEGMENTS
from livertumor_cli.cli.app import run
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.formats import write_label_map
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.report.json_report import load_schema
from livertumor_cli.volume import LabelMap

TRUTH = Patient().truth(GEOMETRY)
Capture = pytest.CaptureFixture[str]
Measure = Callable[..., int]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its segments stage says II where the liver is, III in the tumor, IV in the vessel."""
    folder = tmp_path_factory.mktemp("recipes") / "toy"
    write_toy_recipe(folder, segments=True)
    return folder


@pytest.fixture
def measure(scan: Path, tmp_path: Path) -> Measure:
    """`livertumor measure` of labels into `out`; returns the exit code."""

    def call(labels: np.ndarray, *more: str, out: str = "out") -> int:
        mask = tmp_path / "corrected.nii.gz"
        write_label_map(mask, LabelMap(labels, GEOMETRY))
        engine = ["--engine", "onnxruntime", "--device", "cpu", "--threads", "1", "-q"]
        return run(["measure", str(scan), str(mask), *engine, "-o", str(tmp_path / out), *more])

    return call


def write_segments(path: Path, segments: np.ndarray, geometry: Geometry = GEOMETRY) -> Path:
    write_label_map(path, LabelMap(segments.astype(np.uint8), geometry))
    return path


def halves() -> np.ndarray:
    """V on one side of the tumor's middle, VIII on the other, all over the scan."""
    segments = np.full(GEOMETRY.shape, 5, np.uint8)
    segments[:, :, int(np.argwhere(TRUTH == 2)[:, 2].mean()) :] = 8
    return segments


def report_in(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    return report


def segments_in(folder: Path) -> np.ndarray:
    return np.asarray(read_label_map(folder / SEGMENTS).labels)


def test_a_network_tells_the_segments_inside_the_mask(
    measure: Measure, recipe: Path, tmp_path: Path
) -> None:
    assert measure(TRUTH, "--recipe", str(recipe)) == 0
    assert names(tmp_path / "out") == RESULT_FILES | {SEGMENTS}
    found = segments_in(tmp_path / "out")
    assert np.array_equal(found > 0, TRUTH > 0)
    assert dice(found == 2, TRUTH == 1) > 0.95
    assert dice(found == 3, TRUTH == 2) > 0.8  # a ball of 13 mm on a grid of 4 mm
    report = report_in(tmp_path / "out")
    volumes = [segment["volume_ml"] for segment in report["segments"]]
    voxel_ml = GEOMETRY.voxel_ml
    assert volumes == pytest.approx(
        [np.count_nonzero(found == number) * voxel_ml for number in range(1, 9)], abs=1e-3
    )
    assert sum(volumes) == pytest.approx(report["liver"]["volume_ml"], abs=1e-2)
    assert sum(report["lesions"][0]["couinaud_shares"].values()) == pytest.approx(1, abs=2e-3)


def test_what_ran_is_told(measure: Measure, recipe: Path, tmp_path: Path) -> None:
    assert measure(TRUTH, "--recipe", str(recipe)) == 0
    report = report_in(tmp_path / "out")
    mask, weights = tmp_path / "corrected.nii.gz", recipe / "segments.onnx"
    assert report["recipe"] == {
        "name": "mask file",
        "version": "",
        "title": "Labels read from a file; Couinaud segments by the recipe toy 1.0",
        "license": "Apache-2.0",
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (mask, weights)
        },
    }
    assert (report["device"], report["precision"], report["scales"]) == ("cpu", "f32", [])
    assert report["engine"].startswith("onnxruntime")
    assert report["segments_by"] == "network"
    told = "The labels come from a file; the recipe toy 1.0 told the Couinaud segments."
    assert report["flags"][0] == told
    assert {"open_networks", "find_segments"} <= set(report["timings_s"])
    assert report["lesions"][0]["mean_probability"] is None


def test_segments_are_those_that_segment_tells(
    measure: Measure, segment: Callable[..., int], scan: Path, recipe: Path, tmp_path: Path
) -> None:
    assert segment(scan, "--recipe", str(recipe), "-o", str(tmp_path / "one"), "-q") == 0
    labels = np.asarray(read_label_map(tmp_path / "one" / "mask.nii.gz").labels)
    assert measure(labels, "--recipe", str(recipe)) == 0
    one, two = (segments_in(tmp_path / name) for name in ("one", "out"))
    assert np.count_nonzero(one != two) < 0.02 * np.count_nonzero(labels)
    reports = [report_in(tmp_path / name) for name in ("one", "out")]
    assert set(reports[0]) == set(reports[1])
    assert reports[0]["method"] == reports[1]["method"]


def test_the_default_is_the_default_recipe(
    scan: Path, measure: Measure, tmp_path: Path, capsys: Capture
) -> None:
    assert measure(TRUTH) == 0
    report = report_in(tmp_path / "out")
    assert "the recipe uca-net-sfan" in report["flags"][0]
    assert len(report["segments"]) == 8


def test_vessels_that_were_left_out_of_the_liver_make_no_hole_for_the_network(
    measure: Measure, recipe: Path, tmp_path: Path
) -> None:
    cut = np.where(TRUTH == 3, 0, TRUTH)
    assert measure(cut, "--recipe", str(recipe)) == 0
    assert measure(TRUTH, "--recipe", str(recipe), out="whole") == 0
    found, whole = (segments_in(tmp_path / name) for name in ("out", "whole"))
    assert np.array_equal(found, np.where(cut > 0, whole, 0))


def test_a_file_tells_the_segments(measure: Measure, tmp_path: Path) -> None:
    file = write_segments(tmp_path / "couinaud.nii.gz", halves())
    assert measure(TRUTH, "--segments", str(file)) == 0
    expected = np.where(TRUTH > 0, halves(), 0)
    assert np.array_equal(segments_in(tmp_path / "out"), expected)
    report = report_in(tmp_path / "out")
    voxel_ml = GEOMETRY.voxel_ml
    for number in range(1, 9):
        entry = report["segments"][number - 1]
        inside = expected == number
        assert entry["volume_ml"] == pytest.approx(inside.sum() * voxel_ml, abs=1e-3)
        tumor_ml = (inside & (TRUTH == 2)).sum() * voxel_ml
        assert entry["tumor_ml"] == pytest.approx(tumor_ml, abs=1e-3)
    share = (expected[TRUTH == 2] == 8).mean()
    assert report["lesions"][0]["couinaud_shares"] == {
        "8": pytest.approx(share, abs=1e-3),
        "5": pytest.approx(1 - share, abs=1e-3),
    }
    assert report["segments_by"] == "file"
    assert report["flags"][0].endswith("Couinaud segments come from files; no network ran.")
    assert not any("have no segment" in flag for flag in report["flags"])
    assert report["method"]["couinaud_segments"].startswith("as a file tells them")
    assert set(report["recipe"]["files"]) == {"corrected.nii.gz", "couinaud.nii.gz"}
    assert (report["device"], report["engine"], report["recipe"]["license"]) == ("", "", "")
    assert "(from a file)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_liver_without_a_segment_is_said(measure: Measure, tmp_path: Path) -> None:
    file = write_segments(tmp_path / "part.nii.gz", np.where(halves() == 5, 5, 0))
    assert measure(TRUTH, "--segments", str(file)) == 0
    report = report_in(tmp_path / "out")
    untold = 100 * ((TRUTH > 0) & (halves() == 8)).sum() / (TRUTH > 0).sum()
    assert f"{untold:.0f} % of the liver have no segment in part.nii.gz." in report["flags"]
    assert list(report["lesions"][0]["couinaud_shares"]) == ["5"]


def test_two_files_of_one_name_are_both_told(measure: Measure, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    file = write_segments(tmp_path / "other" / "corrected.nii.gz", halves())
    assert measure(TRUTH, "--segments", str(file)) == 0
    files = report_in(tmp_path / "out")["recipe"]["files"]
    assert set(files) == {"corrected.nii.gz", "corrected.nii.gz (segments)"}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert files["corrected.nii.gz (segments)"] == digest


def test_nobody_tells_them(measure: Measure, tmp_path: Path) -> None:
    assert measure(TRUTH, "--segments", "none") == 0
    report = report_in(tmp_path / "out")
    assert (report["segments"], report["segments_by"]) == (None, None)
    assert report["lesions"][0]["couinaud_shares"] is None
    assert report["flags"][0] == "The labels come from a file; no network ran."
    assert names(tmp_path / "out") == RESULT_FILES


def thin() -> np.ndarray:
    """A liver of one slice is less than 20 ml."""
    labels = np.zeros(GEOMETRY.shape, np.uint8)
    labels[18] = np.where(TRUTH[18] > 0, 1, 0)
    return labels


@pytest.mark.parametrize("labels", [np.where(TRUTH == 2, 2, 0).astype(np.uint8), thin()])
def test_without_a_liver_there_is_a_report_without_segments(
    labels: np.ndarray, measure: Measure, recipe: Path, tmp_path: Path
) -> None:
    assert measure(labels, "--recipe", str(recipe)) == 0
    report = report_in(tmp_path / "out")
    assert report["segments"] is None
    assert report["flags"][:2] == [
        "The labels come from a file; no network ran.",
        "The mask has less than 20 ml of liver: no Couinaud segments.",
    ]
    assert report["tumor"]["count"] == int((labels == 2).any())
    assert (report["engine"], report["recipe"]["title"]) == ("", "Labels read from a file")


def test_damaged_weights_are_refused_and_may_be_done_without(
    measure: Measure, tmp_path: Path, capsys: Capture
) -> None:
    write_toy_recipe(tmp_path / "toy", segments=True)
    (tmp_path / "toy" / "segments.onnx").write_bytes(b"damaged")
    assert measure(TRUTH, "--recipe", str(tmp_path / "toy")) == 4
    out, err = capsys.readouterr()
    assert "is not the file that the recipe names" in err
    assert err.strip().endswith("--segments none measures without Couinaud segments.")
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_networks_that_do_not_run_need_not_be_whole(
    measure: Measure, recipe: Path, tmp_path: Path
) -> None:
    write_toy_recipe(tmp_path / "toy", segments=True)
    for name in ("lesion.onnx", "liver.onnx"):
        (tmp_path / "toy" / name).unlink()
    assert measure(TRUTH, "--recipe", str(tmp_path / "toy")) == 0


def test_a_store_without_the_recipe(
    measure: Measure, recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIVERTUMOR_WEIGHTS", str(tmp_path / "nowhere"))
    assert measure(TRUTH) == 4
    assert_refused(capsys, "is no folder")
    assert measure(TRUTH, "--segments", "none") == 0


def test_a_recipe_without_segments_is_refused(measure: Measure, toy: Path, capsys: Capture) -> None:
    assert measure(TRUTH, "--recipe", str(toy)) == 2
    assert_refused(capsys, "the recipe 'toy' has no stage that tells Couinaud segments")


@pytest.mark.parametrize("source", ["none", "couinaud.nii.gz"])
def test_a_recipe_that_would_not_run_is_refused(
    source: str, measure: Measure, recipe: Path, capsys: Capture
) -> None:
    assert measure(TRUTH, "--recipe", str(recipe), "--segments", source) == 2
    assert "--recipe" in capsys.readouterr().err


def moved() -> Geometry:
    affine = GEOMETRY.affine_lps.copy()
    affine[0, 3] += 1.0
    return Geometry(GEOMETRY.shape, affine)


def far() -> np.ndarray:
    segments = np.zeros(GEOMETRY.shape, np.uint8)
    segments[0, 0, 0] = 5
    return segments


@pytest.mark.parametrize(
    ("segments", "geometry", "words"),
    [
        (halves(), moved(), "different grids"),
        (halves() + 1, GEOMETRY, "is no map of Couinaud segments: it has the values 9"),
        (halves() * 0, GEOMETRY, "has no labeled voxel"),
        (far(), GEOMETRY, "has no segment inside the liver"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    segments: np.ndarray,
    geometry: Geometry,
    words: str,
    measure: Measure,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    file = write_segments(tmp_path / "couinaud.nii.gz", segments, geometry)
    assert measure(TRUTH, "--segments", str(file)) == 3
    assert_refused(capsys, words)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there(measure: Measure, tmp_path: Path, capsys: Capture) -> None:
    assert measure(TRUTH, "--segments", str(tmp_path / "couinaud.nii.gz")) == 3
    assert_refused(capsys, "does not exist")
    assert measure(TRUTH, "--segments", "") == 2


def test_a_file_in_the_folder_of_results_is_kept(
    measure: Measure, tmp_path: Path, capsys: Capture
) -> None:
    assert measure(TRUTH, "--segments", "none") == 0
    file = write_segments(tmp_path / "out" / SEGMENTS, halves())
    kept = file.read_bytes()
    capsys.readouterr()
    assert measure(TRUTH, "--segments", str(file), "--overwrite") == 6
    assert file.read_bytes() == kept


def test_compare_takes_measured_results(
    measure: Measure, recipe: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert measure(TRUTH, "--recipe", str(recipe), out="first") == 0
    without = np.where(TRUTH == 3, 1, TRUTH).astype(np.uint8)
    assert measure(without, "--segments", "none", out="second") == 0
    capsys.readouterr()
    folders = [str(tmp_path / name) for name in ("first", "second")]
    assert run(["compare", *folders, "-o", str(tmp_path / "both"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
