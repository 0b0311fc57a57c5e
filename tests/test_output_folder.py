"""Results appear whole or not at all, and nothing that is no earlier result is ever replaced."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from livertumor_cli.errors import OutputError
from livertumor_cli.io.atomic import output_error
from livertumor_cli.io.output_folder import OutputFolder, ResultFiles, require_writable

FILES = ResultFiles(
    proof="report.json", names=frozenset({"report.json", "mask.txt", "pages/*.png"})
)
RESULT = ["mask.txt", "pages", "report.json"]
PROOF = '{"program": {"name": "livertumor"}}'

needs_links = pytest.mark.skipif(
    sys.platform == "win32", reason="making a link needs a privilege there"
)


def write_result(target: Path, text: str = "new", *, overwrite: bool = False) -> None:
    """A result of one file, its proof and a picture."""
    with OutputFolder(target, files=FILES, overwrite=overwrite) as folder:
        (folder / "mask.txt").write_text(text, encoding="utf-8")
        (folder / "pages").mkdir()
        (folder / "pages" / f"{text}.png").write_bytes(b"")
        (folder / "report.json").write_text(PROOF, encoding="utf-8")


def names(folder: Path) -> list[str]:
    """Names in a folder, hidden ones too."""
    return sorted(entry.name for entry in folder.iterdir())


def test_results_appear_at_the_end(tmp_path: Path):
    target = tmp_path / "patients" / "one"
    with OutputFolder(target, files=FILES) as folder:
        (folder / "mask.txt").write_text("new", encoding="utf-8")
        assert not target.exists()
        assert folder.parent == target.parent
    assert names(target) == ["mask.txt"]
    assert names(target.parent) == ["one"]


def _fail(target: Path, error: BaseException, *, overwrite: bool = False) -> None:
    with OutputFolder(target, files=FILES, overwrite=overwrite) as folder:
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
        OutputFolder(tmp_path / "out", files=FILES),
    ):
        pytest.fail("the block must not run")
    assert "--overwrite" in caught.value.hint
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "old"


def test_overwrite_replaces_the_whole_earlier_result(tmp_path: Path):
    write_result(tmp_path / "out", "old")
    (tmp_path / "out" / ".DS_Store").write_bytes(b"of a file manager")
    write_result(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path / "out") == RESULT
    assert names(tmp_path / "out" / "pages") == ["new.png"]
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["out"]


def test_overwrite_never_replaces_a_folder_of_something_else(tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(OutputError, match="no earlier result"):
        write_result(tmp_path / "home", overwrite=True)
    assert names(tmp_path / "home") == ["thesis.tex"]
    assert names(tmp_path) == ["home"]


@pytest.mark.parametrize(
    "name", ["scan.nii.gz", "notes/idea.txt", "empty/", "pages/holiday.jpg", "pages/mask.txt"]
)
def test_a_file_of_the_user_beside_results_is_never_removed(tmp_path: Path, name: str):
    target = tmp_path / "out"
    write_result(target, "old")
    mine = target / name
    mine.parent.mkdir(exist_ok=True)
    mine.mkdir() if name.endswith("/") else mine.write_text("mine", encoding="utf-8")
    before = sorted(target.rglob("*"))
    for write in (lambda: write_result(target, overwrite=True), lambda: require(target)):
        with pytest.raises(OutputError, match=f"also holds {name}") as caught:
            write()
        assert "\n" not in caught.value.message
    assert sorted(target.rglob("*")) == before
    assert (target / "mask.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out"]


def require(target: Path, *inputs: Path) -> None:
    """What a command asks before its work."""
    require_writable(target, files=FILES, overwrite=True, inputs=inputs)


def test_many_foreign_files_are_counted(tmp_path: Path):
    write_result(tmp_path / "out")
    for number in range(5):
        (tmp_path / "out" / f"{number}.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"holds 0\.txt, 1\.txt, 2\.txt and 2 more\.$"):
        require(tmp_path / "out")


@pytest.mark.parametrize("text", [None, "mine", "[]", '{"program": {"name": "other"}}'])
def test_known_names_alone_prove_no_result(tmp_path: Path, text: str | None):
    write_result(tmp_path / "out", "old")
    if text is None:
        (tmp_path / "out" / "report.json").unlink()
    else:
        (tmp_path / "out" / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(OutputError, match=r"no earlier result.*report\.json"):
        write_result(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "old"


def test_a_file_added_during_the_work_is_kept(tmp_path: Path):
    target = tmp_path / "out"
    write_result(target, "old")
    with pytest.raises(OutputError, match=r"holds mine\.txt"):
        _write_while_the_user_does(target)
    assert names(target) == sorted([*RESULT, "mine.txt"])


def _write_while_the_user_does(target: Path) -> None:
    with OutputFolder(target, files=FILES, overwrite=True) as folder:
        (folder / "mask.txt").write_text("new", encoding="utf-8")
        (target / "mine.txt").write_text("mine", encoding="utf-8")


def test_an_input_in_the_folder_is_refused(tmp_path: Path):
    write_result(tmp_path / "out")
    inside = tmp_path / "out" / "mask.txt"
    with pytest.raises(OutputError, match=r"mask\.txt lies in .*out"):
        require(tmp_path / "out", tmp_path / "scan.nii.gz", inside)
    require(tmp_path / "out", tmp_path / "scan.nii.gz")


@needs_links
def test_an_input_is_found_through_links(tmp_path: Path):
    write_result(tmp_path / "out")
    (tmp_path / "scan").symlink_to(tmp_path / "out" / "mask.txt")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for target, path in (("out", "scan"), ("link", "out/mask.txt"), ("out", "link/mask.txt")):
        with pytest.raises(OutputError, match="lies in"):
            require(tmp_path / target, tmp_path / path)


@needs_links
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path):
    write_result(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    write_result(tmp_path / "link", "new", overwrite=True)
    assert names(tmp_path) == ["link", "real"]
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "mask.txt").read_text(encoding="utf-8") == "new"


@needs_links
def test_a_link_among_the_results_is_foreign(tmp_path: Path):
    write_result(tmp_path / "out")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "old.png").write_bytes(b"mine")
    (tmp_path / "out" / "pages" / "new.png").unlink()
    (tmp_path / "out" / "pages").rmdir()
    (tmp_path / "out" / "pages").symlink_to(tmp_path / "pictures", target_is_directory=True)
    with pytest.raises(OutputError, match="holds pages"):
        write_result(tmp_path / "out", overwrite=True)
    assert names(tmp_path / "pictures") == ["old.png"]


@needs_links
def test_a_link_in_a_circle_is_refused(tmp_path: Path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises(OutputError, match="no folder for results"):
        write_result(tmp_path / "one", overwrite=True)
    assert names(tmp_path) == ["one", "two"]


def test_errors_name_the_folder_that_the_user_knows(tmp_path: Path):
    with (
        pytest.raises(OutputError) as caught,
        OutputFolder(tmp_path / "out", files=FILES) as folder,
    ):
        raise output_error(OSError(errno.ENOSPC, ""), path=folder / "mask.txt")
    assert (
        caught.value.message
        == f"{tmp_path / 'out' / 'mask.txt'} cannot be written: the disk is full."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every path is text")
def test_a_path_that_is_no_text_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="UTF-8"):
        require(tmp_path / "new" / os.fsdecode(b"M\xfcller"))
    assert names(tmp_path) == []


def _write_while_another_run_does(target: Path) -> None:
    with OutputFolder(target, files=FILES) as folder:
        (folder / "mask.txt").write_text("new", encoding="utf-8")
        target.mkdir()
        (target / "mask.txt").write_text("of another run", encoding="utf-8")


def test_a_folder_filled_meanwhile_is_not_replaced(tmp_path: Path):
    with pytest.raises(OutputError, match="exists already"):
        _write_while_another_run_does(tmp_path / "out")
    kept = tmp_path / "out" / "mask.txt"
    assert kept.read_text(encoding="utf-8") == "of another run"


def test_an_empty_folder_is_used(tmp_path: Path):
    (tmp_path / "out").mkdir()
    write_result(tmp_path / "out")
    assert names(tmp_path / "out") == RESULT


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_file_in_the_way(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("text", encoding="utf-8")
    with pytest.raises(OutputError, match="file"):
        write_result(tmp_path / name)


def test_the_earlier_result_comes_back_if_the_swap_fails(tmp_path: Path, monkeypatch):
    write_result(tmp_path / "out", "old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".partial-" in self.name and (self / "mask.txt").read_text("utf-8") == "new":
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="not permitted"):
        write_result(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "mask.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out"]
