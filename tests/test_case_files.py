"""Masks that are handed over early come into the same folder, and leave none behind alone."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Timer

import nibabel as nib
import numpy as np
import pytest
from toy_recipe import Patient, centered_grid, silent, toy_options

from livertumor_cli import steps
from livertumor_cli.case_files import RESULT_FILES, CaseResult, CaseWriter, write_case
from livertumor_cli.errors import OutputError
from livertumor_cli.io.formats import write_volume
from livertumor_cli.pipeline import segment_case
from livertumor_cli.volume import LabelMap


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_volume(path, Patient().scan(centered_grid((40, 64, 64), spacing_mm=(3.0, 2.0, 2.0))))
    return path


@pytest.fixture(scope="module")
def result(scan: Path, toy: Path) -> CaseResult:
    return segment_case(scan, options=toy_options(toy), progress=silent)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_pipeline_hands_over_the_masks_before_it_measures(
    scan: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early: dict[str, LabelMap] = {}
    measure_case = steps.measure_case

    def measure(*arguments, **named):
        assert early
        return measure_case(*arguments, **named)

    monkeypatch.setattr(steps, "measure_case", measure)
    found = segment_case(scan, options=toy_options(toy), progress=silent, on_masks=early.update)
    assert early == found.label_maps()
    assert found.mask.labels.any()


def test_early_masks_make_the_same_files(result: CaseResult, tmp_path: Path) -> None:
    with CaseWriter(tmp_path / "early", overwrite=False) as writer:
        writer.write_masks(result.label_maps())
        writer.finish(result)
    write_case(result, tmp_path / "late", overwrite=False)
    assert names(tmp_path / "early") == names(tmp_path / "late") == RESULT_FILES
    for name in result.label_maps():
        early, late = (nib.load(tmp_path / folder / name) for folder in ("early", "late"))
        np.testing.assert_array_equal(early.affine, late.affine)
        np.testing.assert_array_equal(early.dataobj, late.dataobj)


def test_nothing_is_there_before_the_masks(tmp_path: Path) -> None:
    with CaseWriter(tmp_path / "out", overwrite=False):
        assert not names(tmp_path)
    assert not names(tmp_path)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, OutputError("the disk is full.")])
def test_masks_alone_are_no_result(result: CaseResult, tmp_path: Path, error) -> None:
    target = tmp_path / "new" / "out"

    def leave_early() -> None:
        with CaseWriter(target, overwrite=False) as writer:
            writer.write_masks(result.label_maps())
            if error is not None:
                raise error

    if error is None:
        leave_early()
    else:
        with pytest.raises(error if isinstance(error, type) else type(error)):
            leave_early()
    assert not names(tmp_path)


def test_an_interrupt_waits_for_one_mask_and_not_for_all(
    result: CaseResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, written = Event(), Event(), []

    def write(path: Path, _label_map: LabelMap) -> None:
        begun.set()
        goes_on.wait(30)
        written.append(path.name)

    monkeypatch.setattr("livertumor_cli.case_files._write_proved", write)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with CaseWriter(tmp_path / "out", overwrite=False) as writer:
            writer.write_masks(result.label_maps())
            assert begun.wait(30)
            Timer(0.2, goes_on.set).start()
            raise KeyboardInterrupt
    assert written == ["mask.nii.gz"]
    assert not names(tmp_path)


def test_a_mask_that_does_not_read_back_is_told_in_the_end(
    result: CaseResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _label_map: LabelMap) -> None:
        raise OutputError(f"{path} did not read back as written.")

    monkeypatch.setattr("livertumor_cli.case_files.verify_written", refuse)
    with pytest.raises(OutputError) as told:
        write_case(result, tmp_path / "out", overwrite=False)
    assert told.value.message == f"{tmp_path / 'out' / 'mask.nii.gz'} did not read back as written."
    assert not names(tmp_path)
