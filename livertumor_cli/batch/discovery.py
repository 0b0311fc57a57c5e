"""From a folder of patients to its cases: volume files, zips, and DICOM studies wherever they lie.

A folder in a zip is searched like any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from livertumor_cli.batch.case import BatchCase, is_folder_of_results, stamp_files
from livertumor_cli.batch.look import Kind, Look, Looker, Stamp, stamp_of
from livertumor_cli.batch.studies import Study, studies_of
from livertumor_cli.batch.zips import cases_in_zip
from livertumor_cli.io.itk import detached_voxels

_HEADERS_ONLY = (".mhd", ".nhdr")


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds.

    Attributes:
        cases: In the order of their paths.
        ignored: Number of files that are no images.
        without_ct: Number of DICOM studies without a CT image.
        results: Number of folders of earlier results, which were not searched.
    """

    cases: tuple[BatchCase, ...]
    ignored: int = 0
    without_ct: int = 0
    results: int = 0


def find_cases(folder: Path, *, leave_out: Path | None = None, looker: Looker) -> Found:
    """Search a folder and all folders in it; only headers are read.

    Hidden files and folders, and folders of earlier results, are passed over. A DICOM file that
    cannot be read goes to the study beside it, which is then refused: it may be one of its slices.

    Args:
        folder: Where to search.
        leave_out: A folder in it that is not searched.
        looker: Remembers what it saw, for searches again and again.
    """
    walk = _Walk(leave_out.absolute() if leave_out else None)
    seen: list[tuple[Path, Stamp, Look]] = []
    for path in walk.files(folder.absolute()):
        stamp = stamp_of(path)
        seen.append((path, stamp, looker.look(path, stamp)))
    looker.keep_only(path for path, _, _ in seen)
    stamps = {path: stamp for path, stamp, _ in seen}
    looks = [(path, look) for path, _, look in seen]
    studies = studies_of(looks)
    zips = [cases_in_zip(path, look.members) for path, look in looks if look.kind is Kind.ZIP]
    alone = [path for path, look in looks if look.kind in (Kind.VOLUME, Kind.CLOSED)]
    cases = [_file_case(path) for path in (*alone, *walk.closed)]
    cases += [_study_case(study) for study in studies if study.has_ct]
    cases += [case for inside in zips for case in inside.cases]
    finished = [_finished(case, root=folder.absolute(), stamps=stamps) for case in cases]
    return Found(
        tuple(sorted(finished, key=lambda case: (case.source, case.study_uid))),
        ignored=sum(look.kind is Kind.OTHER for _, look in looks)
        + sum(inside.ignored for inside in zips),
        without_ct=sum(not study.has_ct for study in studies)
        + sum(inside.without_ct for inside in zips),
        results=walk.results + sum(inside.results for inside in zips),
    )


class _Walk:
    """Every file below a folder, without hidden ones and results.

    Attributes:
        closed: Folders that may not be entered.
        results: Number of folders of results.
    """

    def __init__(self, leave_out: Path | None) -> None:
        self._leave_out = leave_out
        self.closed: list[Path] = []
        self.results = 0

    def files(self, root: Path) -> Iterator[Path]:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError:
                self.closed.append(folder)
                continue
            if is_folder_of_results({entry.name for entry in entries}):
                self.results += 1
                continue
            shown = [entry for entry in entries if not entry.name.startswith(".")]
            # No link to a folder is followed, so that no circle of links holds it up.
            inner = [Path(one.path) for one in shown if one.is_dir(follow_symlinks=False)]
            waiting += [path for path in reversed(inner) if path != self._leave_out]
            yield from (Path(one.path) for one in shown if one.is_file() or _is_dead_link(one))


def _is_dead_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not Path(entry.path).exists()


def _file_case(path: Path) -> BatchCase:
    files = [path]
    if path.suffix.lower() in _HEADERS_ONLY:
        voxels = _voxels_of(path)
        files += [voxels] if voxels else []
    return BatchCase(path=path, source="", files=tuple(files))


def _voxels_of(path: Path) -> Path | None:
    try:
        return detached_voxels(path)
    except OSError:
        return None  # said when it is read


def _study_case(study: Study) -> BatchCase:
    return BatchCase(
        path=study.folder,
        source="",
        files=tuple(study.files),
        is_study=True,
        study_uid=study.uid,
        notes=tuple(sorted(study.notes)),
    )


def _finished(case: BatchCase, *, root: Path, stamps: dict[Path, Stamp]) -> BatchCase:
    stamped = [(file, stamps.get(file) or stamp_of(file)) for file in case.files]
    place = case.path.relative_to(root).as_posix()
    return replace(
        case,
        source=root.name if place == "." else place,
        size_bytes=case.size_bytes or sum(max(0, size) for _, (size, _) in stamped),
        stamp=stamp_files(stamped, members=case.members),
    )
