"""`livertumor evaluate` on folders: which cases belong together, and figures over all of them."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from livertumor_cli.cli.app import run
from livertumor_cli.io.label_folders import find_label_files, read_labels

AFFINE = np.diag([-0.8, -0.8, 2.0, 1.0])


def reference_labels():
    labels = np.zeros((6, 30, 30), np.uint8)
    labels[1:5, 2:28, 2:28] = 1
    labels[2, 5:9, 5:11] = 2
    return labels


def save(path, labels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), affine), path)


@pytest.fixture
def folders(tmp_path):
    """Two cases: one perfect, as `segment` writes it, and one whose tumor was missed."""
    reference = reference_labels()
    missed = np.minimum(reference, 1)
    save(tmp_path / "results/a_livertumor/mask.nii.gz", reference)
    save(tmp_path / "results/a_livertumor/lesions.nii.gz", reference * 9)
    save(tmp_path / "results/b.nii", missed)
    (tmp_path / "results/notes.txt").write_text("nothing")
    save(tmp_path / "truth/a.nii.gz", reference)
    save(tmp_path / "truth/b/labels.nii.gz", reference)
    vessels = np.zeros_like(reference)
    vessels[3, 15, 5:25] = vessels[2, 5, 5] = 1
    save(tmp_path / "truth/b/vessels.nii.gz", vessels)
    return tmp_path / "results", tmp_path / "truth"


def evaluated(capsys, *words):
    assert run(["evaluate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_cases_are_matched_by_name(folders, capsys):
    document = evaluated(capsys, *folders)
    first, second = document["cases"]
    assert (first["case"], first["prediction"], first["reference"]) == (
        "a", "mask.nii.gz", "a.nii.gz",
    )  # fmt: skip
    assert (second["case"], second["prediction"]) == ("b", "b.nii")
    assert first["structures"]["tumor"]["dice"] == 1
    assert "vessel" not in first["structures"]
    # The vessel voxel inside the tumor stays tumor.
    assert second["structures"]["vessel"]["reference_ml"] == pytest.approx(20 * 1.28e-3, abs=1e-4)
    assert second["structures"]["tumor"]["dice"] == 0
    assert second["structures"]["tumor"]["hd95_mm"] is None


def test_summary(folders, capsys):
    summary = evaluated(capsys, *folders)["summary"]
    tumor = summary["structures"]["tumor"]
    assert summary["cases"] == 2
    assert tumor["means"]["dice"] == {"mean": 0.5, "defined": 2, "undefined": 0}
    assert tumor["dice_global"] == pytest.approx(2 / 3, abs=1e-4)
    assert tumor["means"]["hd95_mm"] == {"mean": 0, "defined": 1, "undefined": 1}
    assert summary["structures"]["vessel"]["cases"] == 1
    assert summary["detection"]["plain"]["recall"] == 0.5
    burden = summary["burden_error_percent"]
    assert burden["max_absolute_percent"] == pytest.approx(2400 / 2704, abs=1e-3)


def test_tables_fit_80_columns(folders, capsys):
    long = "a_case_with_a_name_that_no_terminal_of_eighty_columns_can_show_beside_its_figures"
    for folder in folders:
        save(folder / f"{long}.nii.gz", reference_labels())
    assert run(["evaluate", *map(str, folders)]) == 0
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    for text in ("0.667", "0 of 1", "under 10 mm", "RMSE", "Recall 0.667, precision 1.000"):
        assert text in output


def test_a_burden_that_does_not_exist_is_told(folders, capsys):
    assert run(["evaluate", *map(str, folders)]) == 0
    assert "lack a liver" not in capsys.readouterr().out
    save(folders[0] / "b.nii", np.zeros_like(reference_labels()))
    assert run(["evaluate", *map(str, folders)]) == 0
    output = capsys.readouterr().out
    assert "RMSE 0.00, largest error 0.00" in output
    assert "Of 1 of 2 cases; the others lack a liver." in output


def test_of_two_files_of_one_name_the_bad_one_is_told(folders, capsys):
    for folder in folders:
        save(folder / "c" / "labels.nii.gz", reference_labels())
    damaged = folders[1] / "c" / "labels.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    assert run(["evaluate", *map(str, folders)]) == 3
    assert f"{damaged} is cut off or damaged" in capsys.readouterr().err


def test_files(folders, tmp_path, capsys):
    target = tmp_path / "scores"
    assert run(["evaluate", *map(str, folders), "-o", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    assert {path.name for path in target.iterdir()} == {
        "evaluation.json", "cases.csv", "lesions.csv",
    }  # fmt: skip
    document = json.loads((target / "evaluation.json").read_text(encoding="utf-8"))
    assert "hd95_mm" in document["definitions"]
    with (target / "cases.csv").open(encoding="utf-8", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["case"], first["tumor_dice"], first["vessel_dice"]) == ("a", "1.0", "")
    assert (second["tumor_hd95_mm"], second["plain_false_negatives"]) == ("", "1")
    with (target / "lesions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    sides = [(row["case"], row["side"], row["is_matched"]) for row in rows]
    assert sides == [("a", "reference", "1"), ("a", "prediction", "1"), ("b", "reference", "0")]
    assert run(["evaluate", *map(str, folders), "-o", str(target)]) == 6
    assert run(["evaluate", *map(str, folders), "-o", str(target), "--overwrite"]) == 0


@pytest.mark.parametrize(("side", "word"), [(0, "reference"), (1, "prediction")])
def test_a_case_of_one_folder_only_is_refused(folders, side, word, capsys):
    save(folders[side] / "lonely.nii.gz", reference_labels())
    assert run(["evaluate", *map(str, folders)]) == 3
    refusal = capsys.readouterr()
    assert refusal.out == ""
    assert f"lacks the {word} of lonely" in refusal.err
    assert len(evaluated(capsys, *folders, "--common")["cases"]) == 2


def test_nothing_in_common_and_nothing_at_all(folders, tmp_path, capsys):
    save(tmp_path / "other/c.nii.gz", reference_labels())
    assert run(["evaluate", str(folders[0]), str(tmp_path / "other"), "--common"]) == 3
    assert "no case of" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["evaluate", str(folders[0]), str(tmp_path / "empty")]) == 3
    assert "holds no label map" in capsys.readouterr().err


def test_a_file_and_a_folder_are_refused(folders, capsys):
    assert run(["evaluate", str(folders[0] / "b.nii"), str(folders[1])]) == 3
    assert "not of one kind" in capsys.readouterr().err


def test_a_result_folder_against_a_label_map(folders, capsys):
    document = evaluated(capsys, folders[0] / "a_livertumor", folders[1] / "a.nii.gz")
    assert document["structures"]["tumor"]["dice"] == 1


def test_the_refusal_of_a_grid_names_the_case(folders, capsys):
    save(folders[0] / "b.nii", reference_labels(), AFFINE @ np.diag([1.01, 1, 1, 1]))
    assert run(["evaluate", *map(str, folders)]) == 3
    assert "of b lie on different grids" in capsys.readouterr().err


def test_vessels_on_another_grid_are_refused(folders, capsys):
    save(folders[1] / "b/vessels.nii.gz", reference_labels()[1:])
    assert run(["evaluate", *map(str, folders)]) == 3
    assert "vessels.nii.gz" in capsys.readouterr().err


def test_labels_of_another_program_are_refused(folders, capsys):
    save(folders[0] / "b.nii", reference_labels() * 5)
    assert run(["evaluate", *map(str, folders)]) == 3
    assert "has the value 10" in capsys.readouterr().err


def test_a_case_that_is_there_twice_is_refused(folders, capsys):
    save(folders[0] / "a.nii.gz", reference_labels())
    assert run(["evaluate", *map(str, folders)]) == 3
    assert "'a' twice" in capsys.readouterr().err


def test_an_empty_label_map_is_read(tmp_path):
    save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.uint8))
    (files,) = find_label_files(tmp_path).values()
    assert not read_labels(files).labels.any()
