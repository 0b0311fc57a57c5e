"""DICOM Segmentations as masks: those that segment writes, and what other programs store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from segment_runs import GEOMETRY
from toy_recipe import Patient

from livertumor_cli.cli.app import run
from livertumor_cli.errors import InputError
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.dicom_seg_in import read_segmentation
from livertumor_cli.io.formats import read_volume
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.io.mask_in import read_mask


@pytest.fixture(scope="module")
def results(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `series/` and the results of it in `binary/` and `labelmap/`."""
    folder = tmp_path_factory.mktemp("seg")
    write_ct_series(folder / "series", Patient().scan(GEOMETRY), seed="s")
    for kind in ("binary", "labelmap"):
        engine = ["--engine", "onnxruntime", "--device", "cpu", "--threads", "1", "-q"]
        seg = ["--dicom", "seg", "--seg-type", kind, "-o", str(folder / kind)]
        assert run(["segment", str(folder / "series"), "--recipe", str(toy), *engine, *seg]) == 0
    return folder


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_what_segment_wrote_comes_back(results: Path, kind: str) -> None:
    expected = read_label_map(results / kind / "mask.nii.gz")
    scan = read_volume(results / "series").geometry
    found = read_mask(results / kind / "segmentation.dcm", scan=scan).label_map
    # The series and its mask file may count slices from different ends.
    assert np.count_nonzero(found.labels) == np.count_nonzero(expected.labels)
    assert np.array_equal(
        found.labels, read_mask(results / kind / "mask.nii.gz", scan=scan).label_map.labels
    )
    assert set(np.unique(found.labels)) == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_slices_without_a_frame_are_not_missing(results: Path, kind: str) -> None:
    path = results / kind / "segmentation.dcm"
    scan = read_volume(results / "series").geometry
    depth, height, width = read_segmentation(path).geometry.shape
    assert depth < scan.shape[0]
    assert (height, width) == scan.shape[1:]
    assert read_mask(path, scan=scan).note == ""
    wider = read_mask(path, scan=scan.grown((0, 2, 0))).note
    percent = 100 * scan.shape[1] / (scan.shape[1] + 4)
    assert wider.startswith(f"segmentation.dcm covers {percent:.1f} %")


def changed(results: Path, path: Path, change: Callable[[Dataset], None]) -> Path:
    dataset = dcmread(results / "binary" / "segmentation.dcm")
    change(dataset)
    dataset.save_as(path)
    return path


def test_names_stand_in_for_codes(results: Path, tmp_path: Path) -> None:
    def rename(dataset: Dataset) -> None:
        names = ("Foie", "Läsion 1", "Vasi epatici")
        for item, name in zip(dataset.SegmentSequence, names, strict=True):
            item.SegmentLabel = name
            item.SegmentedPropertyTypeCodeSequence[0].CodeValue = "85756007"
            item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Tissue"

    path = changed(results, tmp_path / "renamed.dcm", rename)
    expected = read_segmentation(results / "binary" / "segmentation.dcm")
    assert np.array_equal(read_segmentation(path).labels, expected.labels)


def test_other_structures_are_refused(results: Path, tmp_path: Path) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.SegmentSequence[0].SegmentLabel = "Spleen"
        dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "78961009"
        dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Spleen"

    with pytest.raises(InputError, match=r"segment 1 \(Spleen\), which is neither"):
        read_segmentation(changed(results, tmp_path / "spleen.dcm", rename))


def test_an_image_is_no_segmentation(results: Path) -> None:
    image = next((results / "series").iterdir())
    with pytest.raises(InputError, match="no DICOM Segmentation"):
        read_segmentation(image)


def test_a_damaged_one_is_refused(results: Path, tmp_path: Path) -> None:
    def damage(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence

    with pytest.raises(InputError, match="cannot be read"):
        read_segmentation(changed(results, tmp_path / "damaged.dcm", damage))


def test_measured_from_the_command_line(results: Path, tmp_path: Path) -> None:
    mask = results / "binary" / "segmentation.dcm"
    assert (
        run(["measure", str(results / "series"), str(mask), "-o", str(tmp_path / "o"), "-q"]) == 0
    )
