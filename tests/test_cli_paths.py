"""A path that cannot be used is the same error whatever was to be done with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from livertumor_cli.cli.app import run

Capture = pytest.CaptureFixture[str]

INPUTS = {
    "segment": ["segment", "{}", "-o", "out"],
    "batch": ["batch", "{}", "-o", "out"],
    "watch": ["watch", "{}", "-o", "out"],
    "inspect": ["inspect", "{}"],
    "series": ["series", "{}"],
    "convert": ["convert", "{}", "out.nii.gz"],
    "measure the scan": ["measure", "{}", "there", "-o", "out"],
    "measure the mask": ["measure", "there", "{}", "-o", "out"],
    "measure the segments": ["measure", "there", "there", "--segments", "{}", "-o", "out"],
    "compare the baseline": ["compare", "{}", "there"],
    "send": ["send", "{}", "--to", "ARCHIVE@127.0.0.1:1"],
    "evaluate the prediction": ["evaluate", "{}", "there", "-o", "out"],
    "evaluate the reference": ["evaluate", "there", "{}", "-o", "out"],
    "train": ["train", "uca-net/lesion", "--data", "{}", "-o", "out"],
}
"""Command lines that need something at the path that stands for {}."""

FOLDERS = ["batch", "watch", "compare the baseline", "train"]
"""Those whose input is a folder."""

OUTPUTS = {
    "segment": ["segment", "there", "-o", "{}"],
    "demo": ["demo", "-o", "{}"],
    "convert": ["convert", "there", "{}"],
    "evaluate": ["evaluate", "there", "there", "-o", "{}"],
    "compare": ["compare", "there", "there", "-o", "{}"],
    "export": ["export", "there", "-o", "{}"],
}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder with one empty folder and one file."""
    (tmp_path / "there").mkdir()
    (tmp_path / "file.txt").write_text("no scan", encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def command_line(words: list[str], path: str) -> list[str]:
    return [word.format(path) for word in words]


def nothing_was_made(folder: Path) -> bool:
    return {path.name for path in folder.rglob("*")} == {"there", "file.txt"}


@pytest.mark.parametrize("name", list(INPUTS))
@pytest.mark.parametrize("path", ["missing", "file.txt/scan.nii"])
def test_a_missing_input_is_exit_3(name: str, path: str, tmp_path: Path, capsys: Capture) -> None:
    assert run(command_line(INPUTS[name], path)) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert f"Error: {Path(path)} does not exist.\n" in err
    assert nothing_was_made(tmp_path)


@pytest.mark.parametrize("name", list(INPUTS))
def test_a_path_that_no_system_takes_is_exit_3(name: str, tmp_path: Path, capsys: Capture) -> None:
    path = "a" * 5000
    assert run(command_line(INPUTS[name], path)) == 3
    assert f"Error: {path} " in capsys.readouterr().err
    assert nothing_was_made(tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_is_no_folder(name: str, tmp_path: Path, capsys: Capture) -> None:
    assert run(command_line(INPUTS[name], "file.txt")) == 3
    assert "Error: file.txt is no folder.\nHint: Give " in capsys.readouterr().err
    assert nothing_was_made(tmp_path)


@pytest.mark.parametrize("words", [*INPUTS.values(), *OUTPUTS.values()], ids=" ".join)
def test_an_empty_path_is_not_the_current_folder(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert run(command_line(words, "")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.rstrip().endswith("the path is empty.")
    assert nothing_was_made(tmp_path)


@pytest.mark.parametrize("words", [["batch", "there", "-o"], ["listen", "--from", "A", "--spool"]])
def test_a_file_where_results_should_go_is_exit_6(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "there" / "scan.nii").write_bytes(b"")
    assert run([*words, "file.txt"]) == 6
    assert "Error: file.txt cannot be written: a file of that name is in the way." in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["inspect", "series", "segment"])
def test_the_current_folder_has_a_name(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path / "there")
    assert run([command, "."]) == 3
    assert "Error: . holds no DICOM image." in capsys.readouterr().err


def test_an_empty_name_of_a_recipe_is_not_the_default(capsys: Capture) -> None:
    assert run(["segment", "there", "-o", "out", "--recipe", ""]) == 4
    assert "there is no recipe ''" in capsys.readouterr().err
