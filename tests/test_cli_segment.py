"""`livertumor segment`: what it writes, what it prints, and how it refuses."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import nibabel as nib
import numpy as np
import pytest
from toy_recipe import Patient, centered_grid, write_toy_recipe

from livertumor_cli import pipeline
from livertumor_cli.cli.app import run
from livertumor_cli.errors import NoLiverError
from livertumor_cli.io.formats import write_volume
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.report.json_report import load_schema

GEOMETRY = centered_grid((36, 48, 48), spacing_mm=(3.5, 2.5, 2.5))
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes") / "toy"
    write_toy_recipe(folder)
    return folder


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    write_volume(path, Patient().scan(GEOMETRY))
    return path


@pytest.fixture
def segment(toy: Path) -> Callable[..., int]:
    """`livertumor segment` with the toy recipe on one thread; returns the exit code."""

    def call(scan: Path, *more: str) -> int:
        engine = ["--engine", "onnxruntime", "--device", "cpu", "--threads", "1"]
        recipe = [] if "--recipe" in more else ["--recipe", str(toy)]
        return run(["segment", str(scan), *engine, *recipe, *more])

    return call


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_refused(capsys: Capture, words: str) -> None:
    """One sentence on stderr, perhaps a hint, nothing on stdout, no traceback."""
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not line.startswith("[")]  # progress
    assert lines[0].startswith("Error: ")
    assert words in lines[0]
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("Hint: "))


def test_results_appear_beside_the_scan(
    segment: Callable[..., int], scan: Path, capsys: Capture
) -> None:
    assert segment(scan) == 0
    folder = scan.parent / "scan_livertumor"
    assert names(folder) == pipeline.RESULT_FILES
    assert names(scan.parent) == {"scan.nii.gz", "scan_livertumor"}
    mask, lesions = (read_label_map(folder / f"{name}.nii.gz") for name in ("mask", "lesions"))
    assert mask.geometry.is_same_grid(GEOMETRY)
    assert np.array_equal(lesions.labels > 0, mask.labels == 2)
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(folder)
    assert "Tumor burden" in out
    assert max(map(len, out.splitlines()[:-1])) <= 80
    for words in ("Reading the scan", "Finding the liver", "Writing"):
        assert words in err


def test_the_report_is_valid_and_agrees_with_the_masks(
    segment: Callable[..., int], scan: Path, tmp_path: Path
) -> None:
    assert segment(scan, "-o", str(tmp_path / "out")) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    mask = np.asarray(read_label_map(tmp_path / "out" / "mask.nii.gz").labels)
    assert report["liver"]["volume_ml"] == pytest.approx(
        (mask > 0).sum() * GEOMETRY.voxel_ml, abs=1e-3
    )
    assert report["input"]["shape_zyx"] == list(GEOMETRY.shape)
    assert report["recipe"]["name"] == "toy"
    assert set(report["timings_s"]) == {
        "read",
        "open_networks",
        "find_liver",
        "segment_lesions",
        "back_to_scan",
        "measure",
        "write",
    }
    with (tmp_path / "out" / "lesions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["volume_ml"]) for row in rows] == [
        lesion["volume_ml"] for lesion in report["lesions"]
    ]


def test_json_prints_the_report_and_nothing_else(
    segment: Callable[..., int], scan: Path, capsys: Capture
) -> None:
    assert segment(scan, "--json") == 0
    out, err = capsys.readouterr()
    written = (scan.parent / "scan_livertumor" / "report.json").read_text(encoding="utf-8")
    assert json.loads(out) == json.loads(written)
    assert err == ""


def test_quiet_prints_the_folder_only(
    segment: Callable[..., int], scan: Path, capsys: Capture
) -> None:
    assert segment(scan, "--quiet") == 0
    out, err = capsys.readouterr()
    assert out == f"{scan.parent / 'scan_livertumor'}\n"
    assert err == ""


def test_no_tumor_is_exit_0(segment: Callable[..., int], tmp_path: Path, capsys: Capture) -> None:
    write_volume(tmp_path / "a.nii", Patient(tumor=None, vessel=None).scan(GEOMETRY))
    assert segment(tmp_path / "a.nii") == 0
    assert "No tumor was found." in capsys.readouterr().out
    report = json.loads((tmp_path / "a_livertumor" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    assert report["lesions"] == []


def test_scales_change_the_result(segment: Callable[..., int], scan: Path, tmp_path: Path) -> None:
    for name, scales in (("one", "1"), ("three", "0.5,1.0,1.5")):
        assert segment(scan, "--scales", scales, "-o", str(tmp_path / name), "-q") == 0
    one, three = (tmp_path / name / "mask.nii.gz" for name in ("one", "three"))
    assert not np.array_equal(read_label_map(one).labels, read_label_map(three).labels)
    report = json.loads((tmp_path / "three" / "report.json").read_text(encoding="utf-8"))
    assert report["scales"] == [0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    "option",
    [
        ("--recipe", "another"),
        ("--device", "cpu"),
        ("--engine", "openvino"),
        ("--precision", "f32"),
        ("--scales", "0.5,1"),
        ("--threads", "3"),
    ],
    ids=lambda option: option[0],
)
def test_every_network_option_reaches_the_pipeline(
    scan: Path, option: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[pipeline.SegmentOptions] = []

    def remember(_path: Path, *, options: pipeline.SegmentOptions, **_more: Any) -> None:
        asked.append(options)
        raise NoLiverError("none.")

    monkeypatch.setattr(pipeline, "segment_case", remember)
    assert run(["segment", str(scan), *option, "-q"]) == 3
    defaults = asdict(pipeline.SegmentOptions())
    changed = {name for name, value in asdict(asked[0]).items() if value != defaults[name]}
    assert changed == {option[0].removeprefix("--")}


@pytest.mark.parametrize("scales", ["", "one", "0", "-1", "nan", "5", "1,1", "1,", "0.5;1"])
def test_bad_scales_are_usage_errors(
    segment: Callable[..., int], scan: Path, scales: str, capsys: Capture
) -> None:
    assert segment(scan, "--scales", scales) == 2
    assert "--scales" in capsys.readouterr().err
    assert names(scan.parent) == {"scan.nii.gz"}


@pytest.mark.parametrize(
    "option", [("--threads", "0"), ("--device", "tpu"), ("--engine", "torch"), ("--precision", "8")]
)
def test_other_bad_options_are_usage_errors(
    segment: Callable[..., int], scan: Path, option: tuple[str, str]
) -> None:
    assert run(["segment", str(scan), *option]) == 2


def test_an_unknown_recipe(segment: Callable[..., int], scan: Path, capsys: Capture) -> None:
    assert segment(scan, "--recipe", "nothing", "-q") == 4
    assert_refused(capsys, "nothing")
    assert names(scan.parent) == {"scan.nii.gz"}


def test_altered_weights(
    segment: Callable[..., int], scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    recipe = tmp_path / "recipe"
    write_toy_recipe(recipe)
    with (recipe / "lesion.onnx").open("ab") as stream:
        stream.write(b"more")
    assert segment(scan, "--recipe", str(recipe), "-q") == 4
    assert_refused(capsys, "SHA-256")
    assert not (tmp_path / "scan_livertumor").exists()


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(array, np.diag([-2.0, -2, 3, 1]) if affine is None else affine), path)
    return path


def missing(folder: Path) -> Path:
    return folder / "none.nii.gz"


def missing_with_folder(folder: Path) -> Path:
    return folder / "none" / "neither" / "scan.nii.gz"


def text_file(folder: Path) -> Path:
    (folder / "notes.txt").write_text("not a scan\n" * 100, encoding="utf-8")
    return folder / "notes.txt"


def text_named_nifti(folder: Path) -> Path:
    (folder / "scan.nii.gz").write_text("not a scan\n" * 100, encoding="utf-8")
    return folder / "scan.nii.gz"


def two_dimensional(folder: Path) -> Path:
    return nifti(folder / "slice.nii", np.full((40, 40), 30, dtype=np.int16))


def color(folder: Path) -> Path:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nifti(folder / "color.nii", np.zeros((20, 20, 20), dtype=kind))


def cut_off(folder: Path) -> Path:
    hu = np.random.default_rng(0).integers(-1000, 300, (40, 40, 40), dtype=np.int16)
    whole = nifti(folder / "whole.nii", hu).read_bytes()
    (folder / "whole.nii").unlink()
    packed = gzip.compress(whole)
    (folder / "scan.nii.gz").write_bytes(packed[: len(packed) // 2])
    return folder / "scan.nii.gz"


def not_a_number(folder: Path) -> Path:
    hu = Patient().scan(GEOMETRY).hu.astype(np.float32)
    hu[10, 10, 10] = np.nan
    return nifti(folder / "nan.nii", hu)


def all_air(folder: Path) -> Path:
    return nifti(folder / "air.nii", np.full((40, 40, 40), -1000, dtype=np.int16))


def constant_zero(folder: Path) -> Path:
    return nifti(folder / "zero.nii", np.zeros((40, 40, 40), dtype=np.int16))


def like_mr(folder: Path) -> Path:
    values = np.abs(np.random.default_rng(0).normal(400, 200, (40, 40, 40)))
    return nifti(folder / "mr.nii", values.astype(np.int16))


def folder_without_images(folder: Path) -> Path:
    inner = folder / "folder"
    inner.mkdir()
    (inner / "readme.txt").write_text("nothing here", encoding="utf-8")
    return inner


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def without_liver(folder: Path) -> Path:
    patient = Patient(liver=None, tumor=None, vessel=None)
    write_volume(folder / "thorax.nii.gz", patient.scan(GEOMETRY))
    return folder / "thorax.nii.gz"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, "does not exist"),
        (missing_with_folder, "does not exist"),
        (text_file, "notes.txt"),
        (text_named_nifti, "scan.nii.gz"),
        (two_dimensional, ""),
        (color, ""),
        (cut_off, ""),
        (not_a_number, "NaN"),
        (all_air, "empty"),
        (constant_zero, "empty"),
        (like_mr, "Hounsfield"),
        (folder_without_images, ""),
        (empty_folder, ""),
        (without_liver, "no liver"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
@pytest.mark.filterwarnings("default")  # nibabel may remark on a damaged file
def test_bad_input_is_one_sentence_and_exit_3(
    segment: Callable[..., int],
    tmp_path: Path,
    make: Callable[[Path], Path],
    words: str,
    capsys: Capture,
) -> None:
    path = make(tmp_path)
    before = {found: found.stat().st_mtime_ns for found in tmp_path.rglob("*")}
    assert segment(path) == 3
    assert_refused(capsys, words)
    assert {found: found.stat().st_mtime_ns for found in tmp_path.rglob("*")} == before


def test_an_earlier_result_is_kept_unless_told_otherwise(
    segment: Callable[..., int], scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    target = tmp_path / "out"
    assert segment(scan, "-o", str(target), "-q") == 0
    (target / "report.json").write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert segment(scan, "-o", str(target)) == 6
    assert_refused(capsys, "exists already")
    assert (target / "report.json").read_text(encoding="utf-8") == "mine"
    assert segment(scan, "-o", str(target), "--overwrite", "-q") == 0
    assert names(target) == pipeline.RESULT_FILES
    assert (target / "report.json").read_text(encoding="utf-8") != "mine"


def test_a_foreign_folder_is_refused_before_the_work(
    segment: Callable[..., int],
    scan: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "segment_case", None)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("mine", encoding="utf-8")
    assert segment(scan, "-o", str(tmp_path / "documents"), "--overwrite") == 6
    assert_refused(capsys, "no earlier result")
    assert names(tmp_path / "documents") == {"thesis.txt"}


def test_a_file_in_the_way(
    segment: Callable[..., int], scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        assert segment(scan, "-o", str(target), "--overwrite") == 6
        assert_refused(capsys, "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user"
)
def test_a_folder_that_may_not_be_written(
    segment: Callable[..., int], scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert segment(scan, "-o", str(locked / "out")) == 6
    assert_refused(capsys, "permitted")


def test_a_disk_that_fills_up(
    segment: Callable[..., int],
    scan: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    assert segment(scan, "-o", str(tmp_path / "deep" / "out")) == 6
    assert_refused(capsys, "disk is full")
    assert names(tmp_path) == {"scan.nii.gz"}


def test_a_disk_that_fills_up_keeps_the_earlier_result(
    segment: Callable[..., int], scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    assert segment(scan, "-o", str(target), "-q") == 0
    before = (target / "report.json").read_bytes()

    def fail(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    assert segment(scan, "-o", str(target), "--overwrite", "-q") == 6
    assert names(tmp_path) == {"scan.nii.gz", "out"}
    assert (target / "report.json").read_bytes() == before


@pytest.mark.parametrize("step", ["run_cascade", "write_label_map"])
def test_an_interrupt_leaves_nothing(
    segment: Callable[..., int],
    scan: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def interrupt(*_arguments: Any, **_named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, step, interrupt)
    assert segment(scan, "-q") == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert names(scan.parent) == {"scan.nii.gz"}


def test_out_of_memory_is_a_sentence(
    segment: Callable[..., int], scan: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_named: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(pipeline, "run_cascade", fail)
    assert segment(scan, "-q") == 5
    assert_refused(capsys, "memory")


@pytest.mark.parametrize(
    ("scan_path", "folder"),
    [
        ("/a/scan.nii.gz", "/a/scan_livertumor"),
        ("/a/SCAN.NII", "/a/SCAN_livertumor"),
        ("/a/series", "/a/series_livertumor"),
        ("/a/study.v1.zip", "/a/study.v1_livertumor"),
        ("/", "/_livertumor"),
    ],
)
def test_default_folder(scan_path: str, folder: str) -> None:
    from livertumor_cli.cli.segment import default_output

    assert default_output(Path(scan_path)) == Path(folder)


def test_default_folder_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from livertumor_cli.cli.segment import default_output

    (tmp_path / "series" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "series")
    assert default_output(Path()) == tmp_path / "series_livertumor"
    monkeypatch.chdir(tmp_path / "series" / "inner")
    assert default_output(Path("..")) == tmp_path / "series_livertumor"
