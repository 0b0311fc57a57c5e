"""How `livertumor segment` refuses: one sentence, an exit code, and nothing left behind."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from segment_runs import GEOMETRY, Capture, assert_refused, names
from toy_recipe import Patient, write_toy_recipe

from livertumor_cli import case_files, pipeline, steps
from livertumor_cli.cli.app import run
from livertumor_cli.io.formats import write_volume


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


def test_a_precision_that_cannot_be_had(
    segment: Callable[..., int], scan: Path, capsys: Capture
) -> None:
    assert segment(scan, "--engine", "onnxruntime", "--precision", "bf16", "-q") == 5
    assert_refused(capsys, "bf16 was asked for")
    assert names(scan.parent) == {"scan.nii.gz"}


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
    (target / "lesions.csv").write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert segment(scan, "-o", str(target)) == 6
    assert_refused(capsys, "exists already")
    assert (target / "lesions.csv").read_text(encoding="utf-8") == "mine"
    assert segment(scan, "-o", str(target), "--overwrite", "-q") == 0
    assert names(target) == case_files.RESULT_FILES
    assert (target / "lesions.csv").read_text(encoding="utf-8") != "mine"


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


@pytest.mark.parametrize(
    ("module", "step"),
    [(steps, "run_cascade"), (steps, "measure_case"), (case_files, "write_label_map")],
)
def test_an_interrupt_leaves_nothing(
    segment: Callable[..., int],
    scan: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    step: str,
) -> None:
    begun = []

    def interrupt(*_arguments: Any, **_named: Any) -> None:
        begun.extend(scan.parent.glob(".*.partial-*"))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, step, interrupt)
    assert segment(scan, "-q") == 130
    assert bool(begun) == (step != "run_cascade")  # masks are on their way before they are measured
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

    monkeypatch.setattr(steps, "run_cascade", fail)
    assert segment(scan, "-q") == 5
    assert_refused(capsys, "memory")
