"""The cases in a zip: what a folder of the same content would be searched for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from livertumor_cli.batch.case import BatchCase, is_folder_of_results
from livertumor_cli.batch.look import Kind, Member
from livertumor_cli.batch.studies import studies_of


@dataclass(frozen=True, slots=True)
class Inside:
    """What a zip holds.

    Attributes:
        cases: One for each study with CT and each volume file. A zip in which nothing was found,
            or which cannot be opened, is one case, so that somebody hears of it.
        ignored: Number of files beside them that are no images.
        without_ct: Number of DICOM studies without a CT image.
        results: Number of folders of earlier results.
    """

    cases: tuple[BatchCase, ...]
    ignored: int = 0
    without_ct: int = 0
    results: int = 0


def cases_in_zip(path: Path, members: Sequence[Member]) -> Inside:
    """The cases in a zip.

    Args:
        path: The zip.
        members: What lies in it; empty if it cannot be opened.
    """
    results = _folders_of_results(members)
    searched = {
        path / PurePosixPath(member.name): member
        for member in members
        if not results.intersection(PurePosixPath(member.name).parents)
    }
    looks = [(place, member.look) for place, member in searched.items()]
    studies = studies_of(looks)
    cases = [
        _case(path, [searched[place]], place=place)
        for place, look in looks
        if look.kind in (Kind.VOLUME, Kind.CLOSED)
    ]
    for study in studies:
        if study.has_ct:
            case = _case(path, [searched[file] for file in study.files], place=study.folder)
            notes = tuple(sorted(study.notes))
            cases.append(replace(case, study_uid=study.uid, notes=notes))
    without_ct = sum(not study.has_ct for study in studies)
    if not (cases or without_ct or results):
        return Inside((BatchCase(path=path, source="", files=(path,)),))
    if len(cases) == 1:
        # Users know it by the zip's name.
        cases = [replace(cases[0], path=path)]
    ignored = sum(look.kind is Kind.OTHER for _, look in looks)
    return Inside(tuple(cases), ignored, without_ct, len(results))


def _folders_of_results(members: Sequence[Member]) -> set[PurePosixPath]:
    names: dict[PurePosixPath, set[str]] = defaultdict(set)
    for member in members:
        place = PurePosixPath(member.name)
        names[place.parent].add(place.name)
    return {folder for folder, inside in names.items() if is_folder_of_results(inside)}


def _case(path: Path, members: Sequence[Member], *, place: Path) -> BatchCase:
    return BatchCase(
        path=place,
        source="",
        files=(path,),
        members=tuple(member.name for member in members),
        size_bytes=sum(member.size_bytes for member in members),
    )
