"""Labeled scans of a data folder on a task's grid, once and for all."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch")

from training_cases import TINY_LESION, TINY_LIVER

from livertumor_cli.anatomy import CLASS_NAMES
from livertumor_cli.errors import GeometryError, InputError, OutputError, Reason
from livertumor_cli.training import cache as cache_module
from livertumor_cli.training.cache import OUTSIDE_HU, TrainingCase, load_cases
from livertumor_cli.training.tasks import Task

SPACING_MM = (3.0, 1.0, 1.0)
"""Along z, y, x; the tasks' grid has 2 mm."""


@dataclass(frozen=True)
class Folder:
    """A data folder and the cache beside it."""

    data: Path
    cache: Path

    def load(self, split: str, task: Task = TINY_LESION) -> list[TrainingCase]:
        return load_cases(self.data, task=task, split=split, cache=self.cache)


def write_nifti(path: Path, array: np.ndarray, *, flipped: bool = False) -> None:
    """An array z, y, x along the patient's axes; `flipped` stores x the other way round."""
    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    if flipped:
        affine[0, 3] = affine[0, 0] * (array.shape[2] - 1)
        affine[0, 0] *= -1
        array = array[:, :, ::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.ascontiguousarray(array.T), affine).to_filename(path)


def a_scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU that rise along x, labels with liver and tumor, vessels that leave the liver."""
    shape = (16, 32, 40)
    hu = np.broadcast_to(np.arange(40) * 4 - 80, shape).astype(np.int16)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[4:14, 6:26, 8:32] = 1
    labels[6:10, 10:18, 12:20] = 2
    vessels = np.zeros(shape, dtype=np.uint8)
    vessels[10:12, 12:16, 4:36] = 1
    vessels[6:8, 12:16, 14:18] = 1
    return hu, labels, vessels


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Two training cases, of which the second has vessels, and one for validation."""
    hu, labels, vessels = a_scan()
    data = tmp_path / "data"
    for name in ("one", "two", "three"):
        write_nifti(data / name / "ct.nii.gz", hu)
        write_nifti(data / name / "labels.nii.gz", labels)
    write_nifti(data / "two" / "vessels.nii.gz", vessels)
    write_nifti(data / "one" / "wide_ct.nii.gz", np.full_like(hu, -100))
    write_nifti(data / "one" / "wide_labels.nii.gz", labels)
    splits = {"one": "train", "two": "train", "three": "validation"}
    entries = [{"case": name, "split": split, "source": "drawn"} for name, split in splits.items()]
    (data / "cases.json").write_text(json.dumps(entries), encoding="utf-8")
    return Folder(data, tmp_path / "cache")


def test_splits_are_respected(folder: Folder):
    assert [case.name for case in folder.load("train")] == ["one", "two"]
    assert [case.name for case in folder.load("validation")] == ["three"]
    assert folder.load("test") == []


def test_cases_stand_on_the_grid_of_the_task(folder: Folder):
    case = folder.load("train")[0]
    assert case.hu.shape == case.labels.shape == (24, 16, 20)
    assert case.hu.dtype == np.int16
    assert case.labels.dtype == np.uint8
    assert not case.is_phantom
    # HU rise by 4 per mm: by 8 per voxel of 2 mm, from the mean of the first two.
    assert np.array_equal(case.hu[12, 8, 1:-1], np.arange(20)[1:-1] * 8 - 78)


def test_volumes_survive_the_resampling(folder: Folder):
    _, labels, vessels = a_scan()
    case = folder.load("train")[1]
    liver, vessel = labels == 1, vessels > 0
    for value, expected in ((1, liver & ~vessel), (2, labels == 2), (3, liver & vessel)):
        found_ml = (case.labels == value).sum() * 8 / 1000
        assert found_ml == pytest.approx(expected.sum() * 3 / 1000, rel=0.01)


def test_vessels_are_labeled_inside_the_liver_and_outside_tumors(folder: Folder):
    without, with_vessels = folder.load("train")
    assert not without.has_vessels
    assert set(np.unique(without.labels)) == {0, 1, 2}
    assert with_vessels.has_vessels
    assert set(np.unique(with_vessels.labels)) == {0, 1, 2, 3}
    assert np.array_equal(without.labels > 0, with_vessels.labels > 0)
    assert np.array_equal(without.labels == 2, with_vessels.labels == 2)


def test_thin_vessels_do_not_vanish(folder: Folder):
    """A vessel that fills 0.44 of its voxels stays; at a half it would be gone."""
    vessels = np.zeros_like(a_scan()[2])
    vessels[10, 12:14, 10:30] = 1  # 3 x 2 mm: two thirds of the slices that it touches
    write_nifti(folder.data / "two" / "vessels.nii.gz", vessels)
    assert (folder.load("train")[1].labels == 3).any()


def test_liver_task_reads_whole_scans_and_one_structure(folder: Folder):
    (case,) = folder.load("train", TINY_LIVER)
    assert case.name == "one"
    assert np.array_equal(np.unique(case.hu), [-100])
    assert set(np.unique(case.labels)) == {0, 1}
    assert not case.has_vessels


def test_tasks_that_know_less_share_what_is_stored(folder: Folder):
    """Vessels are liver for a task without vessels, and so are tumors for one without tumors."""
    _, case = folder.load("train")
    stored = {path.name: path.read_bytes() for path in folder.cache.iterdir()}
    _, without_vessels = folder.load("train", replace(TINY_LESION, classes=CLASS_NAMES[:3]))
    _, liver_alone = folder.load("train", replace(TINY_LESION, classes=CLASS_NAMES[:2]))
    assert np.array_equal(without_vessels.labels, np.where(case.labels == 3, 1, case.labels))
    assert np.array_equal(liver_alone.labels, case.labels > 0)
    assert {path.name: path.read_bytes() for path in folder.cache.iterdir()} == stored


def test_storage_order_makes_no_difference(folder: Folder):
    expected = folder.load("train")[0]
    hu, labels, _ = a_scan()
    write_nifti(folder.data / "one" / "ct.nii.gz", hu, flipped=True)
    write_nifti(folder.data / "one" / "labels.nii.gz", labels, flipped=True)
    shutil.rmtree(folder.cache)
    case = folder.load("train")[0]
    assert np.array_equal(case.hu, expected.hu)
    assert np.array_equal(case.labels, expected.labels)


def test_cases_are_prepared_once(folder: Folder):
    first = folder.load("train")
    for name in ("one", "two"):
        (folder.data / name / "ct.nii.gz").write_bytes(b"gone bad")
    again = folder.load("train")
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.hu, other.hu)
        assert np.array_equal(one.labels, other.labels)
        assert one.has_vessels == other.has_vessels
    assert [path.name for path in sorted(folder.cache.iterdir())] == [
        "one-liver-2x2x2.npz",
        "two-liver-2x2x2.npz",
    ]


def test_what_is_prepared_is_told_case_by_case(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache_module, "PHANTOM_SEEDS", ())
    told: list[tuple[str, int, int]] = []
    for split in ("train", "phantom", "validation"):
        load_cases(
            folder.data,
            task=TINY_LESION,
            split=split,
            cache=folder.cache,
            progress=lambda *words: told.append(words),
        )
    assert told == [("prepare train", 0, 2), ("prepare train", 1, 2), ("prepare validation", 0, 1)]


def test_tasks_do_not_share_prepared_cases(folder: Folder):
    fine = replace(TINY_LESION, spacing_mm=(1.0, 1.0, 1.0))
    sizes = {case.hu.shape for task in (TINY_LESION, fine) for case in folder.load("train", task)}
    assert sizes == {(24, 16, 20), (48, 32, 40)}


def test_phantoms_are_drawn_with_vessels(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache_module, "PHANTOM_SEEDS", (100,))
    coarse = replace(TINY_LESION, spacing_mm=(6.0, 4.0, 4.0))
    (case,) = folder.load("phantom", coarse)
    assert case.name == "phantom-100"
    assert case.is_phantom
    assert case.has_vessels
    assert set(np.unique(case.labels)) == {0, 1, 2, 3}
    liver = np.median(case.hu[case.labels == 1])
    assert 80 < liver < 130
    assert np.median(case.hu[case.labels == 2]) < liver - 20
    assert case.hu.min() >= -1024


def test_outside_the_scan_is_below_every_window():
    assert TINY_LESION.hu_window[0] >= OUTSIDE_HU


# Refusals


def test_a_folder_without_cases_is_refused(folder: Folder):
    (folder.data / "cases.json").unlink()
    with pytest.raises(InputError, match=r"no cases\.json") as caught:
        folder.load("train")
    assert caught.value.reason is Reason.NOT_FOUND


@pytest.mark.parametrize("text", ["{", "[1]", '[{"case": "one"}]', "3"])
def test_a_case_list_of_another_form_is_refused(folder: Folder, text: str):
    (folder.data / "cases.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is no list of entries"):
        folder.load("train")


def test_no_training_case_is_refused(folder: Folder):
    (folder.data / "cases.json").write_text('[{"case": "three", "split": "validation"}]')
    with pytest.raises(InputError, match="no training case"):
        folder.load("train")


def test_labels_on_another_grid_are_refused(folder: Folder):
    _, labels, _ = a_scan()
    write_nifti(folder.data / "one" / "labels.nii.gz", labels[:-1])
    with pytest.raises(GeometryError, match="grid of its scan"):
        folder.load("train")


@pytest.mark.parametrize("name", ["ct.nii.gz", "labels.nii.gz"])
def test_damaged_files_are_named(folder: Folder, name: str):
    path = folder.data / "one" / name
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=str(path)):
        folder.load("train")


def test_missing_labels_are_named(folder: Folder):
    path = folder.data / "one" / "labels.nii.gz"
    path.unlink()
    with pytest.raises(InputError, match=str(path)):
        folder.load("train")


def test_several_volumes_in_one_file_are_refused(folder: Folder):
    hu, _, _ = a_scan()
    path = folder.data / "one" / "ct.nii.gz"
    nib.Nifti1Image(np.stack([hu, hu]).T, np.eye(4)).to_filename(path)
    with pytest.raises(InputError, match="3D"):
        folder.load("train")


def test_a_damaged_cache_says_what_to_delete(folder: Folder):
    folder.load("train")
    path = folder.cache / "one-liver-2x2x2.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="damaged") as caught:
        folder.load("train")
    assert "Delete" in caught.value.hint


def test_a_cache_that_cannot_be_made_is_an_output_error(folder: Folder):
    folder.cache.write_text("a file")
    with pytest.raises(OutputError):
        folder.load("train")
