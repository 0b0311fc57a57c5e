"""Results appear whole or not at all, and nothing that is no earlier result is ever replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from livertumor_cli.errors import OutputError
from livertumor_cli.io.output_folder import OutputFolder


def write_result(target: Path, text: str = "new", *, overwrite: bool = False) -> None:
    """A result of one file."""
    with OutputFolder(target, overwrite=overwrite) as folder:
        (folder / "mask.txt").write_text(text, encoding="utf-8")


def names(folder: Path) -> list[str]:
    """Names in a folder, hidden ones too."""
    return sorted(entry.name for entry in folder.iterdir())


def test_results_appear_at_the_end(tmp_path: Path):
    target = tmp_path / "patients" / "one"
    with OutputFolder(target) as folder:
        (folder / "mask.txt").write_text("new", encoding="utf-8")
        assert not target.exists()
        assert folder.parent == target.parent
    assert names(target) == ["mask.txt"]
    assert names(target.parent) == ["one"]


def _fail(target: Path, error: BaseException, *, overwrite: bool = False) -> None:
    with OutputFolder(target, overwrite=overwrite) as folder:
        (folder / "mask.txt").write_text("half", encoding="utf-8")
        raise error


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: BaseException):
    with pytest.raises(type(error)):
        _fail(tmp_path / "out", error)
    assert names(tmp_path) == []


def test_an_error_leaves_the_earlier_result(tmp_path: Path):
    write_result(tmp_path / "out", "old")
    with pytest.raises(ValueError, match="broken"):
        _fail(tmp_path / "out", ValueError("broken"), overwrite=True)
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out"]


def test_an_existing_result_is_refused_before_any_work(tmp_path: Path):
    write_result(tmp_path / "out", "old")
    with (
        pytest.raises(OutputError, match="exists already") as caught,
        OutputFolder(tmp_path / "out"),
    ):
        pytest.fail("the block must not run")
    assert "--overwrite" in caught.value.hint
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "old"


def test_overwrite_replaces_the_whole_earlier_result(tmp_path: Path):
    write_result(tmp_path / "out", "old")
    (tmp_path / "out" / "stale.txt").write_text("of the old run", encoding="utf-8")
    write_result(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path / "out") == ["mask.txt"]
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["out"]


def test_overwrite_never_replaces_a_folder_of_something_else(tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(OutputError, match="no earlier result"):
        write_result(tmp_path / "home", overwrite=True)
    assert names(tmp_path / "home") == ["thesis.tex"]
    assert names(tmp_path) == ["home"]


def _write_while_another_run_does(target: Path) -> None:
    with OutputFolder(target) as folder:
        (folder / "mask.txt").write_text("new", encoding="utf-8")
        target.mkdir()
        (target / "mask.txt").write_text("of another run", encoding="utf-8")


def test_a_folder_filled_meanwhile_is_not_replaced(tmp_path: Path):
    with pytest.raises(OutputError, match="no earlier result"):
        _write_while_another_run_does(tmp_path / "out")
    kept = tmp_path / "out" / "mask.txt"
    assert kept.read_text(encoding="utf-8") == "of another run"


def test_an_empty_folder_is_used(tmp_path: Path):
    (tmp_path / "out").mkdir()
    write_result(tmp_path / "out")
    assert names(tmp_path / "out") == ["mask.txt"]


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_file_in_the_way(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("text", encoding="utf-8")
    with pytest.raises(OutputError, match="file"):
        write_result(tmp_path / name)


def test_the_earlier_result_comes_back_if_the_swap_fails(tmp_path: Path, monkeypatch):
    write_result(tmp_path / "out", "old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".partial-" in self.name and self.joinpath("mask.txt").read_text("utf-8") == "new":
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="not permitted"):
        write_result(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out"]
