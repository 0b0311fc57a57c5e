"""`livertumor evaluate` in-process: scores, refusals, and only JSON on stdout with --json."""

import json
import math

import nibabel as nib
import numpy as np
import pytest

from livertumor_cli.cli.app import run
from livertumor_cli.errors import InputError, Reason, UnsupportedFormatError
from livertumor_cli.io.label_maps import read_label_map

AFFINE = np.array([[-0.8, 0, 0, 5], [0, -0.8, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1.0]])


def reference_labels():
    labels = np.zeros((6, 30, 30), np.uint8)
    labels[1:5, 2:28, 2:28] = 1
    labels[2, 5:9, 5:11] = 2
    labels[4, 20, 20] = 2
    return labels


def saved(folder, name, labels, affine=AFFINE):
    path = folder / name
    nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), affine), path)
    return str(path)


@pytest.fixture
def pair(tmp_path):
    reference = reference_labels()
    prediction = reference.copy()
    prediction[4, 20, 20] = 1
    prediction[2, 5, 5:11] = 1
    return saved(tmp_path, "p.nii.gz", prediction), saved(tmp_path, "r.nii", reference)


def test_json(pair, capsys):
    assert run(["evaluate", *pair, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["prediction"], document["reference"]) == ("p.nii.gz", "r.nii")
    assert set(document["structures"]) == {"liver", "tumor"}
    assert document["structures"]["liver"]["dice"] == 1
    assert document["structures"]["tumor"]["dice"] == pytest.approx(36 / 43, abs=1e-4)
    large, small = document["lesions"]
    assert large["longest_axial_diameter_mm"] == pytest.approx(0.8 * math.hypot(4, 6), abs=0.01)
    assert (large["found_fraction"], small["found_fraction"]) == (0.75, 0)
    assert document["detection"]["plain"]["recall"] == 0.5


def test_tables(pair, capsys):
    assert run(["evaluate", *pair]) == 0
    output = capsys.readouterr().out
    assert "liver" in output
    assert "0.837" in output
    assert "Lesions found: 1 of 2" in output
    assert max(map(len, output.splitlines())) <= 80


def test_vessels_are_compared_when_the_reference_has_them(tmp_path, capsys):
    reference = reference_labels()
    reference[3, 15, 15:20] = 3
    files = (saved(tmp_path, f"{name}.nii", reference) for name in "ab")
    assert run(["evaluate", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["structures"]["vessel"]["dice"] == 1


def test_no_tumor_in_either(tmp_path, capsys):
    labels = np.minimum(reference_labels(), 1)
    files = [saved(tmp_path, f"{name}.nii", labels) for name in "ab"]
    assert run(["evaluate", *files, "--json"]) == 0
    tumor = json.loads(capsys.readouterr().out)["structures"]["tumor"]
    assert (tumor["dice"], tumor["assd_mm"]) == (1, None)
    assert run(["evaluate", *files]) == 0
    assert "The reference has no tumor." in capsys.readouterr().out


@pytest.mark.parametrize("shift", [np.diag([1, 1, 1.01, 1]), np.diag([-1, 1, 1, 1])])
def test_other_grids_are_refused(tmp_path, shift, capsys):
    labels = reference_labels()
    files = saved(tmp_path, "a.nii", labels), saved(tmp_path, "b.nii", labels, AFFINE @ shift)
    assert run(["evaluate", *files]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert "different grids" in output.err


def test_refusal_of_other_grids_has_a_stable_reason(tmp_path):
    from livertumor_cli.cli.evaluate import evaluate

    files = (
        saved(tmp_path, "a.nii", reference_labels()),
        saved(tmp_path, "b.nii", reference_labels()[1:]),
    )
    with pytest.raises(InputError) as caught:
        evaluate.main(list(files), standalone_mode=False)
    assert caught.value.reason is Reason.GRIDS_DIFFER


def test_sheared_grids_are_refused(tmp_path, capsys):
    affine = AFFINE.copy()
    affine[1, 2] = 0.5
    files = [saved(tmp_path, f"{name}.nii", reference_labels(), affine) for name in "ab"]
    assert run(["evaluate", *files]) == 3
    assert "right angles" in capsys.readouterr().err


def test_a_missing_file_is_an_input_error(tmp_path, capsys):
    assert run(["evaluate", str(tmp_path / "none.nii"), str(tmp_path / "none.nii")]) == 3
    assert "does not exist" in capsys.readouterr().err


def test_label_map_is_read_on_its_grid(tmp_path):
    path = tmp_path / "a.nii"
    saved(tmp_path, "a.nii", reference_labels())
    label_map = read_label_map(path)
    assert label_map.labels.dtype == np.uint8
    assert np.array_equal(label_map.labels, reference_labels())
    assert label_map.geometry.axis_codes() == "SPL"
    assert np.allclose(label_map.geometry.origin_mm, (-5, -6, 7))
    assert np.allclose(label_map.geometry.spacing_mm, (2, 0.8, 0.8))


def test_labels_stored_as_floats_are_read_if_whole(tmp_path):
    saved(tmp_path, "a.nii", reference_labels().astype(np.float32))
    assert np.array_equal(read_label_map(tmp_path / "a.nii").labels, reference_labels())


@pytest.mark.parametrize("value", [0.5, -1.0, 300.0, np.nan])
def test_other_values_are_no_labels(tmp_path, value):
    labels = reference_labels().astype(np.float32)
    labels[0, 0, 0] = value
    saved(tmp_path, "a.nii", labels)
    with pytest.raises(UnsupportedFormatError, match="no label map"):
        read_label_map(tmp_path / "a.nii")


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "a.nii.gz"
    saved(tmp_path, "a.nii.gz", np.random.default_rng(0).integers(0, 4, (9, 40, 40), np.uint8))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError):
        read_label_map(path)
    text = tmp_path / "b.nii"
    text.write_text("no image")
    with pytest.raises(UnsupportedFormatError):
        read_label_map(text)


def test_more_than_three_axes_are_refused(tmp_path):
    four = np.zeros((4, 4, 4, 2), np.uint8)
    nib.save(nib.Nifti1Image(four, AFFINE), tmp_path / "a.nii")
    with pytest.raises(UnsupportedFormatError) as caught:
        read_label_map(tmp_path / "a.nii")
    assert caught.value.reason is Reason.FOUR_DIMENSIONAL
    nib.save(nib.Nifti1Image(four[..., :1], AFFINE), tmp_path / "b.nii")
    assert read_label_map(tmp_path / "b.nii").labels.shape == (4, 4, 4)
