"""The DICOM studies among files, in a folder or in a zip.

A DICOM study is known by its StudyInstanceUID, not by its folder: exports put a study into one
folder or one per series, or the files of all patients into a single one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from livertumor_cli.batch.look import Kind, Look

_MAYBE_A_SLICE = "A file beside this scan cannot be read, and may have been a slice of it."


@dataclass(slots=True)
class Study:
    """The files of one study so far.

    Attributes:
        uid: StudyInstanceUID; empty if there is none.
        files: In a zip, the place that they have there.
        has_ct: Whether one of them is, or may have been, a CT image.
        notes: Sentences that its report must carry.
    """

    uid: str
    files: list[Path] = field(default_factory=list)
    has_ct: bool = False
    notes: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """The deepest folder that holds all of it."""
        return Path(os.path.commonpath([file.parent for file in self.files]))


def studies_of(files: Sequence[tuple[Path, Look]]) -> list[Study]:
    """The studies among some files.

    A DICOM file that cannot be read goes to the study beside it, which is then refused: it may be
    one of its slices. Where there is no such study, or several, the damaged files of a folder are
    a study of their own.
    """
    studies = _by_uid(files)
    damaged = [path for path, look in files if look.kind is Kind.DAMAGED]
    return studies + _share_damaged(studies, damaged)


def _by_uid(files: Sequence[tuple[Path, Look]]) -> list[Study]:
    """The DICOM images by study; those that name none by folder."""
    studies: dict[str | Path, Study] = {}
    for path, look in files:
        if look.kind is Kind.DICOM:
            key = look.study_uid or path.parent
            study = studies.setdefault(key, Study(look.study_uid))
            study.files.append(path)
            study.has_ct |= look.has_ct
    return list(studies.values())


def _share_damaged(studies: Sequence[Study], damaged: Sequence[Path]) -> list[Study]:
    """Give each damaged file to the study that it may belong to; the others are cases by folder.

    Where it lies among files of several studies none of them is refused for it, but all are
    flagged: one bad file must not stop a whole export.
    """
    inside: dict[Path, list[Study]] = defaultdict(list)
    around: dict[Path, list[Study]] = defaultdict(list)
    for study in studies:
        for folder in {file.parent for file in study.files}:
            inside[folder].append(study)
        around[study.folder].append(study)
    orphans: dict[Path, Study] = {}
    for path in damaged:
        near = inside.get(path.parent) or next(
            (around[parent] for parent in path.parents if parent in around), []
        )
        if len(near) == 1:
            near[0].files.append(path)
            continue
        orphans.setdefault(path.parent, Study("", has_ct=True)).files.append(path)
        for study in near:
            study.notes.add(_MAYBE_A_SLICE)
    return list(orphans.values())
